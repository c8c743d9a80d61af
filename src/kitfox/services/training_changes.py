"""What is to be different when a training is repeated, checked before it is accepted."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from kitfox.data import Codec, codec_of
from kitfox.errors import ValidationError
from kitfox.modules import module_registry
from kitfox.modules.parameters import training_parameters

__all__ = ["check_changes"]


def check_changes(module_id: str, changes: Mapping[str, Any]) -> None:
    """Looks whether parameters have the types that `train` wants; null stands for the default.

    Args:
        module_id: The module; one that is not imported here is left to the worker.
        changes: JSON values by the parameter's name, as in a request or as in a training's record.

    Raises:
        ValidationError: There is no such parameter, or its value does not fit; the field is named.
    """
    codec = _codec(module_id)
    if codec is None:
        return
    for name, value in changes.items():
        if value is None:
            continue
        try:
            codec.convert_json({name: value})
        except ValidationError as error:
            if not _is_as_recorded(codec, name, value):
                raise error.below("parameters") from None


def _is_as_recorded(codec: "Codec[Any]", name: str, value: Any) -> bool:
    """Whether a value fits as records have it: unions under the name of the member."""
    try:
        codec.convert_protobuf_json({name: value})
    except ValidationError:
        return False
    return True


@lru_cache(maxsize=256)
def _codec(module_id: str) -> "Codec[Any] | None":
    module = module_registry().get(module_id)
    if module is None or module.TRAIN_SIGNATURE is None:
        return None
    package = f"kitfox.trainings.{module.__module__}"
    return codec_of(training_parameters(module, name=f"{module.__name__}Changes", package=package))
