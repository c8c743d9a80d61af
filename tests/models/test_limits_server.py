"""The limits of loading and of memory, as the clients of a running server meet them."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from kitfox.modules.manifest import seal
from tests.conftest import Answer
from tests.models.queues_server import QueuesServer, queues_server
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

SIZE = 10_000
NAMES = ["ant", "bee", "cat", "dog", "eel"]
CLIENTS = 6
TURNS = 25


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueuesServer]:
    """A server with five models, and room for two of them."""
    runtime = {"load_new_local_models": False, "metrics": {"enabled": True}}
    limits = {"memory_budget": 5 * SIZE // 2, "memory_wait_seconds": 0.3}
    with queues_server(tmp_path_factory.mktemp("full"), runtime, **limits) as server:
        for name in NAMES:
            server.add(name, size=SIZE)
        yield server


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueuesServer]:
    """A server whose models have little time to load, and three attempts."""
    runtime = {"load_new_local_models": False, "lazy_load_retries": 2}
    with queues_server(tmp_path_factory.mktemp("strict"), runtime, load_seconds=6) as server:
        yield server


def test_a_model_for_which_there_is_no_room_is_refused_and_told_when_to_come_back(
    full: QueuesServer, tmp_path: Path
) -> None:
    gate = tmp_path / "go"
    with ThreadPoolExecutor(2) as pool:
        calls: list[Future[Answer]] = []
        for name in ("ant", "bee"):
            begun = tmp_path / name
            calls.append(pool.submit(full.say, name, f"hold {gate} {begun}"))
            wait_for(begun.exists, what="the call")
        refused = full.say("cat")
        code, details, seconds = full.say_wrong("cat")
        gate.touch()
        assert [call.result().status for call in calls] == [200, 200]
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    assert (code, seconds) == (grpc.StatusCode.RESOURCE_EXHAUSTED, 1.0)
    for text in (refused.json["details"], details):
        assert "models.memory_budget" in text
    assert full.say("cat").status == 200


def test_what_never_fits_is_not_told_to_come_back(full: QueuesServer) -> None:
    full.add("whale", size=3 * SIZE)
    code, details, seconds = full.say_wrong("whale")
    assert (code, seconds) == (grpc.StatusCode.RESOURCE_EXHAUSTED, None)
    assert "models.memory_budget" in details


def test_the_budget_holds_whatever_is_called(full: QueuesServer) -> None:
    """Five models in room for two: each call is answered, or told that there is no room."""
    seen: Counter[tuple[str, int]] = Counter()

    def call(number: int) -> None:
        choice = random.Random(number)  # noqa: S311 -- which model is called next
        for _ in range(TURNS):
            name = choice.choice(NAMES)
            answer = full.say(name, name)
            seen[name, answer.status] += 1
            if answer.status == 200:
                assert answer.json["text"] == name
            else:
                assert answer.status == 429
                assert "models.memory_budget" in answer.json["details"]

    with ThreadPoolExecutor(CLIENTS) as pool:
        calls = [pool.submit(call, number) for number in range(CLIENTS)]
        while not all(item.done() for item in calls):
            # A list of the models is made one by one; this is of one moment.
            assert full.metric("total_loaded_models") <= 2
            time.sleep(0.02)
        for item in calls:
            item.result()
    assert all(seen[name, 200] for name in NAMES), seen


def test_a_load_that_takes_too_long_is_given_up(strict: QueuesServer) -> None:
    folder = strict.add("closed", closed="")
    assert strict.say("closed").status == 503
    code, details, _ = strict.say_wrong("closed")
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "models.load_seconds" in details
    shown = strict.show("closed").json
    assert (shown["state"], "models.load_seconds" in shown["last_error"]) == ("failed", True)
    (folder / "closed").unlink()
    assert strict.manage("load", "closed").status == 200


def test_a_bad_moment_of_the_disk_is_tried_again_so_often(strict: QueuesServer) -> None:
    strict.add("tired", tired="2")
    assert strict.say("tired").status == 200
    strict.add("exhausted", tired="30")
    answer = strict.say("exhausted")
    assert (answer.status, "the disk is tired" in answer.json["details"]) == (500, True)
    # The first attempt, and two more.
    assert (strict.models / ".exhausted.attempts").read_text() == "3"


def test_a_truncated_model_is_not_loaded(strict: QueuesServer) -> None:
    folder = strict.add("short", size=SIZE)
    seal(folder)
    (folder / "weights.bin").write_bytes(b"w" * 10)
    answer = strict.say("short")
    code, details, _ = strict.say_wrong("short")
    assert (answer.status, code) == (503, grpc.StatusCode.UNAVAILABLE)
    for text in (answer.json["details"], details):
        assert f"weights.bin has 10 bytes, not {SIZE}" in text
    assert strict.show("short").json["state"] == "incomplete"


def test_a_damaged_model_is_not_loaded(strict: QueuesServer) -> None:
    folder = strict.add("torn", size=SIZE)
    seal(folder)
    (folder / "weights.bin").write_bytes(b"v" * SIZE)
    answer = strict.say("torn")
    code, details, _ = strict.say_wrong("torn")
    assert (answer.status, code) == (500, grpc.StatusCode.DATA_LOSS)
    for text in (answer.json["details"], details):
        assert "weights.bin" in text
    assert strict.show("torn").json["state"] == "failed"
