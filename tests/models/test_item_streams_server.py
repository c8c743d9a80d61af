"""Streams whose items share batches, as their callers see them, in threads and in replicas."""

import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Answer, Server
from tests.models.test_execution_server import PROJECT, metric, say
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

DISTANT = """
module_id: 70000000-0000-4000-8000-000000000012
execution: {mode: process, replicas: 1, run_seconds: 0}
"""
LINES = "application/x-ndjson"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    project = tmp_path_factory.mktemp("streams") / PROJECT.name
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "models" / "distant").mkdir()
    (project / "models" / "distant" / "config.yml").write_text(DISTANT)
    running = Server(project).start()
    yield running
    assert running.stop() == 0, running.log


def along(server: Server, model: str, *texts: str) -> list[Any]:
    """What a stream of texts is answered."""
    answer: Answer = server.http(
        "POST",
        f"/api/v1/task/bidi-streaming-say?model_id={model}",
        "\n".join(json.dumps({"inputs": text}) for text in texts).encode(),
        {"content-type": LINES, "accept": LINES},
    )
    assert answer.status == 200, answer.body
    return [json.loads(line) for line in answer.body.splitlines() if line.strip()]


@pytest.mark.parametrize("model", ["batched", "distant"])
def test_streams_share_batches_and_each_gets_its_own_results(
    server: Server, tmp_path: Path, model: str
) -> None:
    assert say(server, model, "hello").status == 200  # it is loaded
    gate, begun = tmp_path / "go", tmp_path / "begun"
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(say, server, model, f"hold {gate} {begun}")
        wait_for(begun.exists, what="the first call")
        streams = [pool.submit(along, server, model, f"a {i:02}", f"b {i:02}") for i in range(8)]
        bad = pool.submit(along, server, model, "c 00", "refuse me", "d 00")
        wait_for(
            lambda: metric(server, "model_calls_waiting", model) == 19, seconds=60, what="the queue"
        )
        gate.touch()
        assert first.result().status == 200
        found = [stream.result() for stream in streams]
        told, error = bad.result()
    assert [[word["text"] for word in words] for words in found] == [
        [f"a {i:02}", f"b {i:02}"] for i in range(8)
    ]
    assert max(word["batch"] for words in found for word in words) > 2
    assert told["text"] == "c 00"
    assert "it will not say that" in json.dumps(error["error"])


@pytest.mark.parametrize("model", ["batched", "distant"])
def test_each_request_is_answered_when_it_comes(server: Server, model: str) -> None:
    answered = threading.Event()

    def come() -> Iterator[bytes]:
        yield b"\n\x01a"
        assert answered.wait(60)
        yield b"\n\x01b"

    with server.channel() as channel:
        method: Any = channel.stream_stream(
            "/caikit.runtime.Queues.QueuesService/BidiStreamingSayTaskPredict"
        )
        answers = method(come(), metadata=[("mm-model-id", model)], timeout=60)
        assert next(answers).startswith(b"\n\x01a")
        answered.set()
        assert next(answers).startswith(b"\n\x01b")
        assert not list(answers)
