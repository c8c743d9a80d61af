"""What a training has made becomes the current version, once, whatever happens meanwhile."""

import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.services.courses import CoursesServer, Hold, courses
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

PROMOTE = {"kitfox-promote": "true"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoursesServer]:
    folder = tmp_path_factory.mktemp("courses")
    with courses(folder, TRAINING_AUTO_PROMOTE="true") as running:
        yield running


def promoted(server: CoursesServer, training_id: str) -> str:
    """What has become of the promotion of a training that has ended well."""
    server.ended(training_id)

    def found() -> str:
        promotion = server.show(training_id)["promotion"]
        return "" if promotion == "wanted" else str(promotion)

    return str(wait_for(found, what="the promotion"))


def is_completed(server: CoursesServer, training_id: str) -> bool:
    """Whether caikit's own method says so."""
    answer = server.http("GET", f"/management/trainings?training_id={training_id}")
    return bool(answer.json["state"] == "COMPLETED")


def version(server: CoursesServer, model: str) -> str:
    answer = server.http("GET", f"/api/v1/management/models/show?model_id={model}")
    assert answer.status == 200, answer.body
    return str(answer.json["version"])


def test_a_new_version_takes_over_without_a_call_that_fails(server: CoursesServer) -> None:
    first = server.begin("one", name="fox")
    assert promoted(server, first) == "done"
    assert server.recited("fox") == "one"
    answers: list[str] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            answer = server.recite("fox")
            answers.append(answer.json["text"] if answer.status == 200 else str(answer.body))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for text in ("two", "three"):
            training = server.begin(text, name="fox")
            assert promoted(server, training) == "done"
            assert version(server, "fox") == training
            assert server.recited("fox") == text
            wait_for(partial(answers.count, text), what="the answers of those who ask")
    finally:
        is_over.set()
        for thread in threads:
            thread.join(30)
    assert set(answers) == {"one", "two", "three"}
    assert server.recited(first) == "one"


def test_who_knows_of_the_end_is_answered_by_the_new_version(server: CoursesServer) -> None:
    for text in ("one", "two"):
        training = server.begin(text, name="prompt")
        wait_for(partial(is_completed, server, training), what="the end")
        assert server.recited("prompt") == text


def test_a_training_without_a_name_is_not_promoted(server: CoursesServer) -> None:
    training = server.begin("one")
    assert server.ended(training)["promotion"] is None
    training = server.begin("one", name="aside", headers={"kitfox-promote": "false"})
    assert server.ended(training)["promotion"] is None
    assert server.recite("aside").status == 404
    assert server.recited(f"aside@{training}") == "one"


def test_a_later_version_is_not_replaced_by_an_earlier_one(
    server: CoursesServer, tmp_path: Path
) -> None:
    hold = Hold(tmp_path / "hold")
    slow = server.begin("slow", name="race", hold=str(hold))
    hold.begun()
    quick = server.begin("quick", name="race")
    assert promoted(server, quick) == "done"
    hold.release()
    assert promoted(server, slow) == "done"
    assert version(server, "race") == quick
    assert server.recited("race") == "quick"


def test_what_cannot_be_promoted_says_so(server: CoursesServer) -> None:
    training = server.begin("one", name="odd@name")
    assert promoted(server, training) == "failed"
    assert f"Training {training} does not become the current version" in server.log
    assert server.recited(training) == "one"


def test_a_server_that_was_killed_promotes_later(tmp_path: Path) -> None:
    hold = Hold(tmp_path / "hold")
    with courses(tmp_path) as server:
        first = server.begin("one", name="fox", headers=PROMOTE)
        assert promoted(server, first) == "done"
        held = server.begin("two", name="fox", hold=str(hold), headers=PROMOTE)
        hold.begun()
        server.kill()
        hold.release()
        place = tmp_path / "courses_project" / "training_output" / held / "fox"
        wait_for(place.exists, what="the model, made while there is no server")
        server.start()
        assert promoted(server, held) == "done"
        assert server.recited("fox") == "two"
        assert version(server, "fox") == held


def test_a_server_killed_while_it_promotes_is_made_good_by_the_next(tmp_path: Path) -> None:
    with courses(tmp_path) as server:
        promoted(server, server.begin("start", name="fox", headers=PROMOTE))
        for number, moment in enumerate((0.0, 0.004, 0.02)):
            assert server.recite("fox").status == 200  # loaded, so that the switch takes a while
            training = server.begin(f"text {number}", name="fox", headers=PROMOTE)
            for event in server.events(training):
                if event["state"] == "COMPLETED":
                    time.sleep(moment)
                    server.kill()
                    break
            server.start()
            assert promoted(server, training) == "done"
            assert version(server, "fox") == training
            assert server.recited("fox") == f"text {number}"
