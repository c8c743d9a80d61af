"""Links of an OpenAPI document: which operations take the id that an answer gives."""

from collections.abc import Iterable, Mapping

from kitfox.export.json_schemas import JsonSchema
from kitfox.services import Method, Purpose

__all__ = ["links_of"]

_JOB = {
    Purpose.JOB_STATUS: "status",
    Purpose.JOB_RESULT: "result",
    Purpose.JOB_CANCEL: "cancel",
}
_TRAINING = {
    Purpose.TRAINING_STATUS: "status",
    Purpose.TRAINING_CANCEL: "cancel",
    Purpose.TRAINING_SHOW: "show",
    Purpose.TRAINING_FOLLOW: "follow",
    Purpose.TRAINING_LOG: "log",
    Purpose.TRAINING_DOWNLOAD: "download",
}


def links_of(method: Method, names: Mapping[str, str], methods: Iterable[Method]) -> JsonSchema:
    """The links of the answer of a method that starts a job or a training; none of others.

    Args:
        method: The method.
        names: The operations' names by RPC path.
        methods: All methods that are in the document.
    """
    field, followers = {
        Purpose.JOB_START: ("prediction_id", _JOB),
        Purpose.TRAINING: ("training_id", _TRAINING),
    }.get(method.purpose, ("", {}))
    return {
        followers[other.purpose]: {
            "operationId": names[other.path],
            "parameters": {field: f"$response.body#/{field}"},
            "description": other.description,
        }
        for other in methods
        if other.purpose in followers and other.task in (method.task, None)
    }
