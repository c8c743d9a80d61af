"""Real servers whose disk is full: they answer, refuse, tell why, and go on when there is room."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.services.courses import CoursesServer, Hold, courses
from tests.waiting import wait_for

from .small_disks import SIZE, fill, small_disk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WEIGHT = SIZE // 4
"""Bytes of a model: more than a job store keeps in reserve."""
ROOM = r"at least ([\d,]+) bytes needed, ([\d,]+) bytes free at "


@contextmanager
def asking(server: CoursesServer, model: str) -> Iterator[None]:
    """Has a model answer, again and again, until the end of the block; it must each time."""
    statuses: list[int] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            statuses.append(server.recite(model).status)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
        before = len(statuses)
        wait_for(lambda: len(statuses) > before + 1, seconds=60, what="an answer")
    finally:
        is_over.set()
        thread.join(60)
    assert set(statuses) == {200}


def check(sentence: str, what: str, place: Path) -> None:
    """A sentence says how much room is needed for what, how much there is, and where."""
    found = re.match(rf"The disk is full while {what}: {ROOM}{re.escape(str(place))}", sentence)
    assert found, sentence
    needed, free = (int(number.replace(",", "")) for number in found.groups())
    assert needed > free


@pytest.mark.parametrize("full", [("models",), ("store",), ("models", "store")], ids="+".join)
def test_a_server_whose_disk_is_full(tmp_path: Path, full: tuple[str, ...]) -> None:
    """It answers meanwhile; what needs room fails with the figures, what needs none ends well."""
    with small_disk(tmp_path / "disk") as disk:
        places = {name: disk if name in full else tmp_path / name for name in ("models", "store")}
        places["store"].mkdir(exist_ok=True)
        store = places["store"] / "jobs.sqlite3"
        options = {
            "RUNTIME_TRAINING_OUTPUT_DIR": str(places["models"]),
            "TRAINING_STORE": f"sqlite:///{store}",
        }
        with courses(tmp_path, **options) as server:
            old, other = server.begin("old"), server.begin("other")
            for training in (old, other):
                server.ended(training)
            assert server.recited(old) == "old"
            hold = Hold(tmp_path / "hold")
            running = server.begin("held", hold=str(hold), weight=WEIGHT)
            hold.begun()
            ballast = fill(disk)
            with asking(server, old):
                answer = server.train("late")
                if "store" in full:
                    assert answer.status == 429, answer.body
                    check(answer.json["details"], "writing the job store", store)
                else:
                    late = server.ended(answer.json["training_id"], "ERRORED")
                    check(late["reasons"][0], "saving the model", disk)
                hold.release()
                if "models" in full:
                    shown = server.ended(running, "ERRORED")
                    check(shown["reasons"][0], "saving the model", disk)
                else:
                    server.ended(running)
                assert server.recited(other) == "other"  # one that was not loaded
                assert server.show(old)["state"] == "COMPLETED"
                ballast.unlink()
                later = server.begin("later", weight=WEIGHT)
                server.ended(later)
                assert server.recited(later) == "later"
