"""Inference jobs of a real server: what is accepted is done, and told as direct calls tell it."""

import json
import re
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from typer.testing import CliRunner

from kitfox.cli.commands import app
from kitfox.data import make_dataobject
from kitfox.errors import JobNotFound
from kitfox.interfaces.common.data_model import JobStatus
from tests.services.errands import JOB, ErrandsServer, Hold, refusal
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

Note: Any = make_dataobject(
    name="Note", package="client", annotations={"text": str, "tags": list[str]}
)
Request: Any = make_dataobject(
    name="RunRequest",
    package="client",
    annotations={"note": Note, "extra": str | bytes, "times": int},
    optional={"times"},
)
Report: Any = make_dataobject(name="Report", package="client", annotations={"text": str})


def ask(text: str, **parameters: Any) -> Any:
    return Request(note=Note(text=text), **parameters)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ErrandsServer]:
    running = ErrandsServer.make(tmp_path_factory.mktemp("errands"))
    running.start()
    yield running
    assert running.stop() == 0, running.log


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., ErrandsServer]]:
    """Starts servers over one project and one job store; none is left running."""
    made: list[ErrandsServer] = []

    def make(**environment: str) -> ErrandsServer:
        made.append(ErrandsServer.make(tmp_path, **environment))
        made[-1].start()
        return made[-1]

    yield make
    for server in made:
        if server.process is not None and server.process.poll() is None:
            server.kill()


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Hold]:
    made = Hold(tmp_path / "hold")
    yield made
    made.release()


def test_over_rest_a_job_is_started_watched_and_its_result_fetched(server: ErrandsServer) -> None:
    job_id = server.begin("hello")
    status = server.ended(job_id)
    assert list(status) == [
        "prediction_id",
        "state",
        "submission_timestamp",
        "completion_timestamp",
        "reasons",
    ]
    assert (status["prediction_id"], status["state"]) == (job_id, "COMPLETED")
    assert status["submission_timestamp"] < status["completion_timestamp"]
    assert status["reasons"] == []
    result = server.result(job_id)
    assert result.status == 200
    assert result.headers["content-type"] == "application/json"
    assert result.json == {"text": "hello [] 'none' 1"}
    assert server.cancel(job_id) == {
        "prediction_id": job_id,
        "state": "COMPLETED",
        "submission_timestamp": None,
        "completion_timestamp": None,
        "reasons": [],
    }


def test_jobs_are_counted_by_their_outcome(server: ErrandsServer) -> None:
    """Under the method whose work they do, in the names of caikit."""

    def counted(code: str) -> float:
        url = f"http://127.0.0.1:{server.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=60) as answer:
            text = answer.read().decode()
        assert "predict_jobs_running " in text
        labels = f'code="{code}",grpc_request="RunTaskPredict",model_id="plain"'
        found = re.findall(f"^predict_job_rpc_count_total{{{labels}}} (.*)$", text, re.MULTILINE)
        return float(found[0]) if found else 0.0

    before = counted("OK"), counted("INVALID_ARGUMENT")
    server.ended(server.begin("hello"))
    server.ended(server.begin("refuse because"))
    assert (counted("OK"), counted("INVALID_ARGUMENT")) == (before[0] + 1, before[1] + 1)


def test_over_grpc_a_job_is_started_watched_and_its_result_fetched(server: ErrandsServer) -> None:
    job_id = server.grpc_start(ask("hello", times=2))

    def completed() -> bool:
        return JobStatus(server.grpc_status(job_id).state) is JobStatus.COMPLETED

    wait_for(completed, what="the end of the job")
    status = server.grpc_status(job_id)
    assert status.prediction_id == job_id
    assert status.submission_timestamp < status.completion_timestamp
    assert Report.from_binary_buffer(server.grpc_result(job_id)).text == "hello [] 'none' 2"
    canceled = server.grpc_cancel(job_id)
    assert JobStatus(canceled.state) is JobStatus.COMPLETED
    assert canceled.submission_timestamp is None


def test_what_one_protocol_starts_the_other_can_ask_for(server: ErrandsServer) -> None:
    job_id = server.grpc_start(ask("hello"))
    server.ended(job_id)
    assert server.result(job_id).json["text"] == "hello [] 'none' 1"


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"times": 0},
        {"extra": "text"},
        {"extra": "", "times": -(2**62)},
    ],
)
def test_a_job_sees_what_a_direct_call_sees(
    server: ErrandsServer, parameters: dict[str, Any]
) -> None:
    inputs = {"text": "naïve \N{FOX FACE}", "tags": ["a", ""]}
    body = {"model_id": "plain", "inputs": inputs, "parameters": parameters}
    direct = server.http("POST", JOB.removesuffix("/job"), body)
    assert direct.status == 200
    job_id = server.http("POST", JOB, body).json["prediction_id"]
    server.ended(job_id)
    assert server.result(job_id).json == direct.json


def test_bytes_in_a_union_stay_bytes(server: ErrandsServer) -> None:
    job_id = server.grpc_start(ask("x", extra_bytes=b"raw"))
    server.ended(job_id)
    assert server.result(job_id).json["text"] == "x [] b'raw' 1"


def test_an_empty_list_is_not_a_missing_one(server: ErrandsServer) -> None:
    path = "/api/v1/task/count/job"
    answer = server.http("POST", path, {"model_id": "other", "inputs": []})
    assert answer.status == 200, answer.body
    job_id = answer.json["prediction_id"]
    server.ended(job_id)
    result = server.http("GET", f"{path}/results?prediction_id={job_id}")
    assert result.json == {"number": 0}
    # Status may be asked through any task's methods; of another task's answer the other is told.
    assert server.status(job_id)["state"] == "COMPLETED"
    wrong = server.result(job_id)
    assert wrong.status == 400
    assert "is a job of CountTaskPredict" in wrong.json["details"]


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": {"text": "x"}},
        {"inputs": {"text": "x"}, "model_id": ""},
        {"inputs": {"text": "x"}, "model_id": "nobody"},
        {"inputs": {"text": "x"}, "model_id": "../plain"},
        {"inputs": {"text": "x"}, "model_id": "other"},
        {"model_id": "plain"},
        {"inputs": {"text": 5}, "model_id": "plain"},
        {"inputs": {"text": "x"}, "parameters": {"times": "many"}, "model_id": "plain"},
        {"inputs": {"text": "x"}, "parameters": {"unknown": 1}, "model_id": "plain"},
        b"{",
    ],
)
def test_what_a_direct_call_refuses_is_refused_at_the_start(
    server: ErrandsServer, body: Any
) -> None:
    started = server.http("POST", JOB, body)
    direct = server.http("POST", JOB.removesuffix("/job"), body)
    assert started.status == direct.status >= 400
    told, expected = started.json, direct.json
    assert told.pop("id") != expected.pop("id")
    assert told == expected


@pytest.mark.parametrize(
    ("request_object", "model", "code"),
    [
        (ask("x"), "", grpc.StatusCode.INVALID_ARGUMENT),
        (ask("x"), "nobody", grpc.StatusCode.NOT_FOUND),
        (ask("x"), "other", grpc.StatusCode.INVALID_ARGUMENT),
        (Request(), "plain", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_refusals_over_grpc(
    server: ErrandsServer, request_object: Any, model: str, code: grpc.StatusCode
) -> None:
    found, details = refusal(server.grpc_start, request_object, model)
    assert found is code
    assert details


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("refuse because", "^because$"),
        ("crash", "^RunTaskPredict failed; the server's log has the details of request [0-9a-f]+$"),
        ("nothing", "^RunTaskPredict: model 'plain' returned NoneType, expected a data object$"),
        ("misfit", "^Could not serialize response$"),
    ],
)
def test_a_failed_job_says_what_a_direct_call_would(
    server: ErrandsServer, text: str, reason: str
) -> None:
    job_id = server.begin(text)
    status = server.ended(job_id)
    assert status["state"] == "ERRORED"
    assert re.match(reason, status["reasons"][0])
    assert "secret" not in json.dumps(status)
    result = server.result(job_id)
    assert result.status == 404
    assert result.json["details"].startswith(f"Prediction {job_id} encountered an error")
    direct = server.http(
        "POST", JOB.removesuffix("/job"), {"model_id": "plain", "inputs": {"text": text}}
    )
    assert re.match(reason, direct.json["details"])


def test_the_log_has_what_the_caller_is_not_told(server: ErrandsServer) -> None:
    server.ended(server.begin("crash"))
    assert "the secret cause" in server.log


def test_a_job_keeps_the_request_id_of_the_call_that_started_it(server: ErrandsServer) -> None:
    body = {"model_id": "plain", "inputs": {"text": "tell"}}
    answer = server.http("POST", JOB, body, headers={"x-request-id": "mine-1"})
    job_id = answer.json["prediction_id"]
    server.ended(job_id)
    assert server.result(job_id).json == {"text": "plain mine-1"}
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    told = [line for line in lines if line["message"] == "The job is told of"]
    assert [line["request_id"] for line in told] == ["mine-1"]


def test_a_result_that_is_not_there_yet_says_why(server: ErrandsServer, hold: Hold) -> None:
    job_id = server.begin(hold.text)
    hold.begun()
    assert server.status(job_id)["state"] == "RUNNING"
    result = server.result(job_id)
    assert result.status == 404
    assert result.json["details"] == f"Prediction {job_id} is still in progress"
    assert refusal(server.grpc_result, job_id) == (
        grpc.StatusCode.NOT_FOUND,
        f"Prediction {job_id} is still in progress",
    )
    hold.release()
    assert server.ended(job_id)["state"] == "COMPLETED"


def test_a_synchronous_job_that_is_cancelled_is_told_and_its_result_dropped(
    server: ErrandsServer, hold: Hold
) -> None:
    job_id = server.begin(hold.text)
    hold.begun()
    assert server.cancel(job_id)["state"] == "CANCELED"
    assert server.status(job_id)["state"] == "CANCELED"
    wait_for(lambda: hold.saw("told"), what="the word to the model")
    hold.release()
    assert server.ended(job_id)["state"] == "CANCELED"
    assert hold.saw("ended")
    assert server.result(job_id).json["details"] == f"Prediction {job_id} was cancelled"


def test_an_asynchronous_job_that_is_cancelled_stops_where_it_waits(
    server: ErrandsServer, hold: Hold
) -> None:
    job_id = server.begin(str(hold.folder), model="patient")
    hold.begun()
    assert JobStatus(server.grpc_cancel(job_id).state) is JobStatus.CANCELED
    assert server.ended(job_id)["state"] == "CANCELED"
    assert hold.saw("stopped")


@pytest.mark.parametrize("job_id", ["nope", "", "../jobs.sqlite3", "%00", "x" * 5000])
def test_unknown_ids(server: ErrandsServer, job_id: str) -> None:
    for verb, path in (("GET", JOB), ("DELETE", JOB), ("GET", f"{JOB}/results")):
        answer = server.http(verb, f"{path}?prediction_id={job_id}")
        assert answer.status == 404
        assert answer.json["code"] == 404
        assert answer.json["details"].startswith("Unknown prediction_id: ")
    for call in (server.grpc_status, server.grpc_cancel, server.grpc_result):
        code, details = refusal(call, job_id)
        assert code is grpc.StatusCode.NOT_FOUND
        assert details.startswith(f"Unknown prediction_id: {job_id[:1000]}")


def test_an_id_is_needed(server: ErrandsServer) -> None:
    answer = server.http("GET", JOB)
    assert answer.status == 422
    assert answer.json["additional_info"][0]["loc"] == ["query", "prediction_id"]


def test_trainings_and_predictions_know_nothing_of_each_other(server: ErrandsServer) -> None:
    job_id = server.begin("hello")
    body = {"model_name": "made", "parameters": {"notes": {"data_stream": {"data": []}}}}
    training = server.http("POST", "/api/v1/RunTaskPlainErrandsTrain", body)
    assert training.status == 200, training.body
    training_id = training.json["training_id"]
    for verb in ("GET", "DELETE"):
        path = f"/management/trainings?training_id={job_id}"
        assert server.http(verb, path).status == 404
        assert server.http(verb, f"{JOB}?prediction_id={training_id}").status == 404
    direct = {"model_id": job_id, "inputs": {"text": "x"}}
    assert server.http("POST", JOB.removesuffix("/job"), direct).status == 404
    assert server.ended(job_id)["state"] == "COMPLETED"
    listed = CliRunner().invoke(app, ["jobs", "list", "--config", str(server.config)])
    assert training_id in listed.output
    assert job_id not in listed.output
    shown = CliRunner().invoke(app, ["jobs", "show", job_id, "--config", str(server.config)])
    assert isinstance(shown.exception, JobNotFound)


def test_no_accepted_job_is_lost_when_the_server_is_killed(
    make_server: Callable[..., ErrandsServer], hold: Hold
) -> None:
    first = make_server(JOBS_MAX_CONCURRENT="2")
    held = [first.begin(hold.text) for _ in range(2)]
    hold.begun(2)
    canceled = first.begin("never")
    assert first.cancel(canceled)["state"] == "CANCELED"
    waiting = [first.begin(f"number {number}") for number in range(8)]
    assert first.result(waiting[0]).json["details"].endswith("has not started yet")
    first.kill()
    hold.release()
    second = make_server()
    for job_id in (*held, *waiting):
        assert second.ended(job_id)["state"] == "COMPLETED"
        assert second.result(job_id).status == 200
    assert hold.runs == 4
    assert second.status(canceled)["state"] == "CANCELED"


def test_a_stop_sends_back_what_does_not_end_and_the_next_server_does_it(
    make_server: Callable[..., ErrandsServer], hold: Hold
) -> None:
    first = make_server(
        RUNTIME_GRPC_SERVER_SHUTDOWN_GRACE_PERIOD_SECONDS="0.1",
        RUNTIME_HTTP_SERVER_SHUTDOWN_GRACE_PERIOD_SECONDS="0.1",
    )
    job_id = first.begin(str(hold.folder), model="patient")
    hold.begun()
    assert first.stop(signal.SIGTERM) == 0
    assert hold.saw("stopped")
    second = make_server()
    hold.begun(2)
    hold.release()
    assert second.ended(job_id)["state"] == "COMPLETED"


def test_the_queue_is_bounded_and_ended_jobs_are_forgotten(
    make_server: Callable[..., ErrandsServer], hold: Hold
) -> None:
    server = make_server(
        JOBS_MAX_CONCURRENT="1",
        JOBS_QUEUE_LIMIT="2",
        JOBS_RETENTION_SECONDS="0.2",
        JOBS_RESULT_DIR=str(hold.folder.parent / "results"),
    )
    running = server.begin(hold.text)
    hold.begun()
    for _ in range(2):
        server.begin("waits")
    refused = server.post_job("one too many")
    assert refused.status == 429
    assert "jobs.queue_limit is 2" in refused.json["details"]
    hold.release()
    results = hold.folder.parent / "results"
    unknown = f"Unknown prediction_id: {running}"
    wait_for(lambda: server.result(running).json.get("details") == unknown, what="its retention")
    wait_for(lambda: not list(results.iterdir()), what="the purge")
