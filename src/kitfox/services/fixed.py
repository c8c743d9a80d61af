"""The methods that every server has, whatever library it serves."""

from collections.abc import Callable
from dataclasses import replace

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
from kitfox.interfaces.runtime.management import (
    ClearQuarantineRequest,
    ClearQuarantineResponse,
    ListModelsRequest,
    ListModelsResponse,
    ModelDescription,
    ModelIdRequest,
    ModelPart,
    PromoteModelRequest,
    QuarantineResponse,
    RollBackModelRequest,
)
from kitfox.interfaces.runtime.trainings import (
    ArchivePart,
    FollowTrainingRequest,
    ListTrainingsRequest,
    ListTrainingsResponse,
    PinTrainingRequest,
    RepeatTrainingRequest,
    TrainingDescription,
    TrainingEvent,
    TrainingIdRequest,
    TrainingLog,
    TrainingLogRequest,
)
from kitfox.services.methods import BodyStyle, Method, Purpose, Route

__all__ = [
    "MODELS_SERVICE",
    "TRAININGS_SERVICE",
    "fixed_methods",
    "management_methods",
    "training_methods",
]

MODELS_SERVICE = "kitfox.models.Models"
"""The full name of the service that manages models."""

TRAININGS_SERVICE = "kitfox.trainings.Trainings"
"""The full name of the service that manages trainings."""

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


def management_methods(prefix: str) -> list[Method]:
    """The rows of the service that manages models, which servers have and libraries do not.

    Args:
        prefix: What its routes begin with, `/api/v1`.
    """
    row, one = (
        _rows(MODELS_SERVICE, f"{prefix}/management/models"),
        (ModelIdRequest, ModelDescription),
    )
    return [
        row(
            "List",
            Purpose.MODEL_LIST,
            (ListModelsRequest, ListModelsResponse),
            ("GET", ""),
            "The models that there are, loaded or not, a page at a time.",
        ),
        row("Show", Purpose.MODEL_SHOW, one, ("GET", "/show"), "All that is known of a model."),
        row(
            "Load",
            Purpose.MODEL_LOAD,
            one,
            ("POST", "/load"),
            "Loads a model, and answers when it is ready.",
        ),
        row(
            "Unload",
            Purpose.MODEL_UNLOAD,
            one,
            ("POST", "/unload"),
            "Unloads a model; its files stay, and calls that run finish.",
        ),
        row(
            "Reload",
            Purpose.MODEL_RELOAD,
            one,
            ("POST", "/reload"),
            "Loads a model anew; the old one serves until the new one is ready.",
        ),
        replace(
            row(
                "Upload",
                Purpose.MODEL_UPLOAD,
                (ModelPart, ModelInfo),
                ("POST", "/upload"),
                "Adds a model, or with `name@version` a version, from a zip file of any size.",
                style=BodyStyle.QUERY,
            ),
            input_streaming=True,
            is_upload=True,
        ),
        row(
            "Promote",
            Purpose.MODEL_PROMOTE,
            (PromoteModelRequest, ModelDescription),
            ("POST", "/promote"),
            "Makes a version the one that the model's name means, without a call that fails.",
        ),
        row(
            "RollBack",
            Purpose.MODEL_ROLL_BACK,
            (RollBackModelRequest, ModelDescription),
            ("POST", "/roll-back"),
            "Makes the version current that was so before.",
        ),
        row(
            "ListQuarantine",
            Purpose.QUARANTINE_LIST,
            (ModelIdRequest, QuarantineResponse),
            ("GET", "/quarantine"),
            "The requests that a model refuses because they ended its processes.",
        ),
        row(
            "ClearQuarantine",
            Purpose.QUARANTINE_CLEAR,
            (ClearQuarantineRequest, ClearQuarantineResponse),
            ("POST", "/quarantine/clear"),
            "Has such requests run again.",
        ),
    ]


def training_methods(prefix: str) -> list[Method]:
    """The rows of the service that manages trainings, which servers have and libraries do not.

    Args:
        prefix: What its routes begin with, `/api/v1`.
    """
    row = _rows(TRAININGS_SERVICE, f"{prefix}/management/trainings")
    one = TrainingIdRequest, TrainingDescription
    return [
        row(
            "List",
            Purpose.TRAINING_LIST,
            (ListTrainingsRequest, ListTrainingsResponse),
            ("GET", ""),
            "The trainings that there are, a page at a time.",
        ),
        row(
            "Show", Purpose.TRAINING_SHOW, one, ("GET", "/show"), "All that is known of a training."
        ),
        replace(
            row(
                "Follow",
                Purpose.TRAINING_FOLLOW,
                (FollowTrainingRequest, TrainingEvent),
                ("GET", "/follow"),
                "How a training goes, now and at each change, until it has ended.",
            ),
            output_streaming=True,
        ),
        row(
            "Log",
            Purpose.TRAINING_LOG,
            (TrainingLogRequest, TrainingLog),
            ("GET", "/log"),
            "What a training has printed and logged, a part at a time.",
        ),
        row(
            "Stop",
            Purpose.TRAINING_STOP,
            one,
            ("POST", "/stop"),
            "Ends a training early and keeps what it has made so far.",
        ),
        row(
            "Retry",
            Purpose.TRAINING_RETRY,
            one,
            ("POST", "/retry"),
            "Takes up again a training that failed or was ended, from its last checkpoint.",
        ),
        row(
            "Repeat",
            Purpose.TRAINING_REPEAT,
            (RepeatTrainingRequest, TrainingDescription),
            ("POST", "/repeat"),
            "Trains again with the parameters and the data of an earlier training.",
        ),
        row(
            "Pin",
            Purpose.TRAINING_PIN,
            (PinTrainingRequest, TrainingDescription),
            ("POST", "/pin"),
            "Keeps a training and its model for ever, or no longer.",
        ),
        row(
            "Delete",
            Purpose.TRAINING_DELETE,
            (TrainingIdRequest, TrainingIdRequest),
            ("POST", "/delete"),
            "Forgets a training that has ended and removes its log and its model.",
        ),
        replace(
            row(
                "Download",
                Purpose.TRAINING_DOWNLOAD,
                (TrainingIdRequest, ArchivePart),
                ("GET", "/download"),
                "The model that a training has made, as a zip file.",
            ),
            output_streaming=True,
            is_download=True,
        ),
    ]


def _rows(service: str, place: str) -> Callable[..., Method]:
    """Makes rows of a service whose routes lie below a place."""

    def row(
        name: str,
        purpose: Purpose,
        types: tuple[type[DataObjectBase], type[DataObjectBase]],
        route: tuple[str, str],
        description: str,
        style: BodyStyle | None = None,
    ) -> Method:
        verb, path = route
        style = style or (BodyStyle.QUERY if verb == "GET" else BodyStyle.MESSAGE)
        return _row(
            (service, name, purpose),
            types,
            Route(verb=verb, path=f"{place}{path}", style=style),
            description,
        )

    return row


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
