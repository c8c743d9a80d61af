"""Following a training from a command: to its end, or until Ctrl-C, after which it goes on."""

import sys
from typing import Any

from kitfox.cli.follow_view import follow_view
from kitfox.cli.trainings import Trainings
from kitfox.errors import KitfoxError

__all__ = ["follow_to_end"]

STATUS = {"COMPLETED": 0, "ERRORED": 1, "CANCELED": 2}
"""The exit status for each end."""
_INTERRUPTED = 130


def follow_to_end(trainings: Trainings, training_id: str) -> int:
    """Shows how a training goes; gives the exit status.

    Args:
        trainings: Where it is found.
        training_id: Which.
    """
    try:
        with follow_view() as view:
            for event in trainings.follow(training_id, on_away=view.note):
                view.show(event)
    except KeyboardInterrupt:
        print(
            f"kitfox: the training goes on; to see it again: kitfox jobs follow {training_id}",
            file=sys.stderr,
        )
        return _INTERRUPTED
    found = trainings.show(training_id)
    if found["state"] == "COMPLETED":
        seconds = found.get("duration_seconds")
        print(f"in {seconds:.1f} s: {found.get('path')}" if seconds is not None else found["path"])
    for change in _changes(trainings, found):
        print(change)
    return STATUS[found["state"]]


def _changes(trainings: Trainings, found: dict[str, Any]) -> "list[str]":
    """What a training that repeats another was made from that the other one was not."""
    if not found.get("again_of"):
        return []
    try:
        then = trainings.show(found["again_of"]).get("data") or []
    except KitfoxError:  # it has been removed since
        return []
    before = {item["parameter"]: item for item in then}
    return [
        f"{item['parameter']}: {item['name']} is not what training {found['again_of']} had"
        for item in found.get("data") or []
        if _differ(before.get(item["parameter"]), item)
    ]


def _differ(before: dict[str, Any] | None, now: dict[str, Any]) -> bool:
    """Whether two records of data are of different data, as far as can be told."""
    if before is None:
        return True
    keys = ("sha256",) if before.get("sha256") and now.get("sha256") else ("size", "changed")
    return any(before.get(key) != now.get(key) for key in keys)
