"""The methods that every server has, whatever library it serves."""

from kitfox.data import DataObjectBase
from kitfox.interfaces.runtime.data_model import (
    DeployModelRequest,
    ModelInfo,
    ModelInfoRequest,
    ModelInfoResponse,
    RuntimeInfoRequest,
    RuntimeInfoResponse,
    TrainingInfoRequest,
    TrainingStatusResponse,
    UndeployModelRequest,
)
from kitfox.services.methods import BodyStyle, Method, Purpose, Route

__all__ = ["fixed_methods"]

_INFO = "caikit.runtime.info.InfoService"
_MODELS = "caikit.runtime.models.ModelManagement"
_TRAINING = "caikit.runtime.training.TrainingManagement"


def fixed_methods(*, inference: bool = True, training: bool = True) -> list[Method]:
    """The rows, in the order of their services.

    Args:
        inference: Whether models are served: with it comes their management.
        training: Whether models are trained: with it comes the management of trainings.
    """
    query, message = BodyStyle.QUERY, BodyStyle.MESSAGE
    rows = [
        _row(
            (_INFO, "GetRuntimeInfo", Purpose.RUNTIME_INFO),
            (RuntimeInfoRequest, RuntimeInfoResponse),
            Route(verb="GET", path="/info/version", style=query),
            "Versions of the server and of its packages.",
        ),
        _row(
            (_INFO, "GetModelsInfo", Purpose.MODELS_INFO),
            (ModelInfoRequest, ModelInfoResponse),
            Route(verb="GET", path="/info/models", style=query),
            "The models that are loaded, or those that are named.",
        ),
    ]
    if inference:
        rows += [
            _row(
                (_MODELS, "DeployModel", Purpose.DEPLOY),
                (DeployModelRequest, ModelInfo),
                Route(verb="POST", path="/management/models", style=message),
                "Adds a model from its files.",
            ),
            _row(
                (_MODELS, "UndeployModel", Purpose.UNDEPLOY),
                (UndeployModelRequest, UndeployModelRequest),
                Route(verb="DELETE", path="/management/models", style=query),
                "Removes a model and its files.",
            ),
        ]
    if training:
        rows += [
            _row(
                (_TRAINING, "GetTrainingStatus", Purpose.TRAINING_STATUS),
                (TrainingInfoRequest, TrainingStatusResponse),
                Route(verb="GET", path="/management/trainings", style=query),
                "How a training goes.",
            ),
            _row(
                (_TRAINING, "CancelTraining", Purpose.TRAINING_CANCEL),
                (TrainingInfoRequest, TrainingStatusResponse),
                Route(verb="DELETE", path="/management/trainings", style=query),
                "Ends a training.",
            ),
        ]
    return rows


def _row(
    what: tuple[str, str, Purpose],
    types: tuple[type[DataObjectBase], type[DataObjectBase]],
    route: Route,
    description: str,
) -> Method:
    service, name, purpose = what
    request, response = types
    return Method(
        service=service,
        name=name,
        request=request,
        response=response,
        purpose=purpose,
        route=route,
        description=description,
    )
