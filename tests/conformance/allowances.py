"""In what every answer may differ from the recorded one, each with its reason.

An `Allowance` removes the thing from both answers before they are compared. One that no exchange
needs any more fails `test_recorded.py`, so that this list stays as short as it can be.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Allowance", "allowances"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowance:
    """One difference that any exchange may show."""

    name: str
    """Says it in a word or two."""
    reason: str
    """Why ours is not to be changed."""
    remove: Callable[[dict[str, Any]], None]
    """Takes the thing out of an answer."""
    by_chance: bool = False
    """Whether it shows on some runs only, so that it may be there without being needed."""


def allowances(engine: str, library: str) -> list[Allowance]:
    """What may differ on an engine, in a library's exchanges."""
    found = [*_ALWAYS]
    if engine == "envoy":
        found.append(_DATE)
    if library == "trainlab":
        found.append(_UNSET)
    if library == "example":
        found.append(_TRAINED_SIZE)
    return found


def _media_type_of_errors(answer: dict[str, Any]) -> None:
    if answer.get("status", 0) >= 400:
        answer["headers"].pop("content-type", None)


def _sentence_of_errors(answer: dict[str, Any]) -> None:
    body = answer.get("body")
    if isinstance(body, dict):
        body.pop("detail", None)
    elif isinstance(body, str) and "event: error" in body:
        answer["body"] = _SSE_ERROR.sub(_without_details, body)


_SSE_ERROR = re.compile(r"(event: error\r\ndata: )(\{.*\})(\r\n)")


def _without_details(event: re.Match[str]) -> str:
    data = json.loads(event[2])
    data.pop("details", None)
    return f"{event[1]}{json.dumps(data)}{event[3]}"


def _reasons(answer: dict[str, Any]) -> None:
    for status in _values(answer):
        if status.get("reasons"):
            status["reasons"] = len(status["reasons"])


def _end_of_failures(answer: dict[str, Any]) -> None:
    for status in _values(answer):
        if status.get("state") in ("ERRORED", "CANCELED"):
            status.pop("completion_timestamp", None)


def _waiting(answer: dict[str, Any]) -> None:
    for status in _values(answer):
        if status.get("state") == "QUEUED":
            status["state"] = "RUNNING"


def _trained_sizes(answer: dict[str, Any]) -> None:
    for value in _values(answer):
        for model in value.get("models", []):
            if model.get("name") in _TRAINED_THERE:
                model.pop("size", None)


_TRAINED_THERE = {"t1"}
"""The models whose files are not the recording's, but written by the training."""


def _unset_numbers(answer: dict[str, Any]) -> None:
    for value in _values(answer):
        if "'weight': " in str(value.get("text")):
            value["text"] = value["text"].replace("'weight': None", "'weight': 0.0")
            value["compared"] = "without the message's bytes"


def _without(*names: str) -> Callable[[dict[str, Any]], None]:
    """Takes metadata out of the answers of gRPC."""

    def remove(answer: dict[str, Any]) -> None:
        for key in ("initial_metadata", "trailing_metadata"):
            if key in answer:
                answer[key] = [pair for pair in answer[key] if pair[0] not in names]

    return remove


def _values(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The JSON objects of an answer; a message's bytes are compared by its JSON instead."""
    if isinstance(answer.get("body"), dict):
        yield answer["body"]
    for message in answer.get("messages", []):
        if isinstance(message.get("json"), dict):
            before = json.dumps(message["json"])
            yield message["json"]
            if json.dumps(message["json"]) != before:
                message.pop("hex", None)


_ALWAYS = [
    Allowance(
        name="media type of errors",
        reason="the JSON of an error says that it is JSON; recorded were answers without a type",
        remove=_media_type_of_errors,
    ),
    Allowance(
        name="sentence of errors",
        reason="statuses and shapes are binding, sentences are ours",
        remove=_sentence_of_errors,
    ),
    Allowance(
        name="details of errors",
        reason="a refusal says as google.rpc.Status too which field is at fault",
        remove=_without("grpc-status-details-bin"),
    ),
    Allowance(
        name="reasons",
        reason="why a job failed is said in sentences of ours; one is still one",
        remove=_reasons,
    ),
    Allowance(
        name="end of failures",
        reason="a job that failed or was cancelled has its time of completion; recorded were none",
        remove=_end_of_failures,
    ),
    Allowance(
        name="waiting",
        reason="a job waits for a worker process for a moment; recorded were threads",
        remove=_waiting,
        by_chance=True,
    ),
]

_DATE = Allowance(
    name="date",
    reason="Envoy gives every answer its date, which gRPC clients take for metadata, and knows no "
    "way to leave it out",
    remove=_without("date"),
)
_UNSET = Allowance(
    name="unset numbers",
    reason="an optional number of a data object that was not set is None; recorded was zero",
    remove=_unset_numbers,
)
_TRAINED_SIZE = Allowance(
    name="size of a trained model",
    reason="it comes from the bytes of its files, and the text of its config.yml is ours",
    remove=_trained_sizes,
)
