"""Trainings of a running server are listed, shown, taken up again and kept, over REST and gRPC."""

import io
import re
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from kitfox.interfaces.runtime.trainings import (
    ArchivePart,
    ListTrainingsRequest,
    ListTrainingsResponse,
    TrainingDescription,
    TrainingIdRequest,
)
from tests.services.courses import MANAGE, CoursesServer, Hold, courses


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoursesServer]:
    folder = tmp_path_factory.mktemp("courses")
    with courses(folder, RUNTIME_METRICS_ENABLED="true") as running:
        yield running


@pytest.fixture
def hold(tmp_path: Path) -> Hold:
    return Hold(tmp_path / "hold")


def test_a_training_is_shown_with_all_that_is_known(server: CoursesServer) -> None:
    training = server.begin("one", "two", name="known", steps=3, headers={"x-request-id": "r-1"})
    shown = server.ended(training)
    assert (shown["module_name"], shown["module_version"]) == ("Pupil", "1.0.0")
    assert (shown["model_name"], shown["request_id"]) == ("known", "r-1")
    assert (shown["attempt"], shown["retries"], shown["priority"]) == (1, 0, 0)
    assert shown["progress"]["step"] == shown["progress"]["total"] == 3
    assert shown["progress"]["metrics"] == {"loss": 1 / 3}
    assert shown["parameters"]["steps"] == 3
    assert shown["path"].endswith(f"{training}/known")
    assert "step 3" in shown["log_tail"]
    assert shown["duration_seconds"] > 0
    assert shown["environment"]["kitfox"]
    assert shown["pinned"] is False
    assert server.recited(training) == server.recited(f"known@{training}") == "one|two"
    found = server.call("Show", TrainingIdRequest(training_id=training), TrainingDescription)
    assert (found.state, found.model_name) == ("COMPLETED", "known")
    assert found.parameters == shown["parameters"]
    assert server.http("GET", f"{MANAGE}/show?training_id=nope").status == 404


def test_data_that_came_with_the_request_is_not_shown_when_it_is_long(
    server: CoursesServer,
) -> None:
    training = server.begin(*(f"line {number}" for number in range(5000)), steps=3)
    shown = server.ended(training)["parameters"]
    assert shown["steps"] == 3
    assert re.fullmatch(r"\.\.\. \d+,\d+ bytes of JSON \.\.\.", shown["lines"])


def test_trainings_are_listed_a_page_at_a_time(server: CoursesServer, hold: Hold) -> None:
    first, second = (server.begin("one", name=name) for name in ("page-a", "page-b"))
    third = server.begin("one", name="page-a", hold=str(hold))
    server.ended(first)
    server.ended(second)
    hold.begun()
    assert server.listed("filter=page-") == [third, second, first]
    assert server.listed("filter=page-&oldest_first=true") == [first, second, third]
    assert server.listed("filter=*-b") == server.listed(f"filter={second}") == [second]
    assert server.listed("model_name=page-a&states=COMPLETED") == [first]
    assert server.listed("model_name=page-a&states=RUNNING&states=COMPLETED") == [third, first]
    assert server.listed("filter=page-&module=Pupil") == [third, second, first]
    assert server.listed("filter=page-&module=Teacher") == []
    since = server.show(second)["created"]
    assert server.listed(f"filter=page-&created_from={since}") == [third, second]
    assert server.listed(f"filter=page-&created_before={since}") == [first]
    page = server.http("GET", f"{MANAGE}?filter=page-&page_size=2").json
    assert [item["training_id"] for item in page["trainings"]] == [third, second]
    assert page["trainings"][1]["log_tail"] is page["trainings"][1]["parameters"] is None
    token = page["next_page_token"]
    page = server.http("GET", f"{MANAGE}?filter=page-&page_size=2&page_token={token}").json
    assert [item["training_id"] for item in page["trainings"]] == [first]
    assert page["next_page_token"] is None
    request = ListTrainingsRequest.from_json({"filter": "page-", "states": ["RUNNING"]})
    found = server.call("List", request, ListTrainingsResponse)
    assert [item.training_id for item in found.trainings] == [third]
    for query in ("states=ASLEEP", "page_size=1001", "page_size=-1", "page_token=x"):
        assert server.http("GET", f"{MANAGE}?{query}").status == 400, query
    assert server.http("GET", f"{MANAGE}?created_from=yesterday").status == 422
    hold.release()
    server.ended(third)


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        item.relative_to(folder).as_posix(): item.read_bytes()
        for item in folder.rglob("*")
        if item.is_file()
    }


def files_of(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.testzip() is None
        return {name: opened.read(name) for name in opened.namelist()}


def test_a_model_is_downloaded_as_it_is(server: CoursesServer) -> None:
    training = server.begin("one", name="carried", weight=1_000_000)
    folder = Path(server.ended(training)["path"])
    answer = server.http("GET", f"{MANAGE}/download?training_id={training}")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="carried.zip"'
    assert files_of(answer.body) == files_in(folder)
    request = TrainingIdRequest(training_id=training)
    parts = list(server.stream("Download", request, ArchivePart))
    assert parts[0].filename == "carried.zip"
    assert len(parts) > 2
    assert files_of(b"".join(part.data for part in parts)) == files_in(folder)


def test_there_is_no_download_of_what_has_no_model(server: CoursesServer, hold: Hold) -> None:
    training = server.begin("one", hold=str(hold))
    hold.begun()
    answer = server.http("GET", f"{MANAGE}/download?training_id={training}")
    assert (answer.status, answer.json["details"]) == (
        400,
        f"Training {training} has no model: it is RUNNING",
    )
    assert server.http("GET", f"{MANAGE}/download?training_id=nope").status == 404
    hold.release()
    server.ended(training)
    with pytest.raises(grpc.RpcError) as caught:
        list(server.stream("Download", TrainingIdRequest(training_id="nope"), ArchivePart))
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.NOT_FOUND


def test_a_training_that_failed_is_taken_up_again(server: CoursesServer, hold: Hold) -> None:
    training = server.begin("one", name="tried", hold=str(hold), headers={"kitfox-priority": "3"})
    hold.begun()
    assert server.manage("retry", training_id=training).status == 400  # it goes on
    server.cancel(training)
    server.ended(training, "CANCELED")
    hold.release()
    again = server.managed("retry", training_id=training)
    assert again["training_id"] != training
    assert (again["retry_of"], again["priority"]) == (training, 3)
    shown = server.ended(again["training_id"])
    assert (shown["model_name"], shown["parameters"]["hold"]) == ("tried", str(hold))
    assert server.ended(training, "CANCELED")["state"] == "CANCELED"
    answer = server.manage("retry", training_id=again["training_id"])
    assert answer.status == 400
    assert "repeat it" in answer.json["details"]


def test_it_goes_on_from_its_last_checkpoint(server: CoursesServer, hold: Hold) -> None:
    hold.release()
    training = server.begin("one", hold=str(hold), end="fail")
    first = server.ended(training, "ERRORED")
    assert first["checkpoint"]
    assert "goes on from" not in first["log_tail"]
    again = server.managed("retry", training_id=training)["training_id"]
    name = Path(first["checkpoint"]).name
    assert f"goes on from {name}" in server.ended(again, "ERRORED")["log_tail"]


def test_a_training_is_repeated_with_changes(server: CoursesServer) -> None:
    training = server.begin("one", name="old", steps=3)
    server.ended(training)
    again = server.managed("repeat", training_id=training)
    changed = server.managed(
        "repeat", training_id=training, model_name="new", parameters={"steps": 4}
    )
    again, changed = (server.ended(item["training_id"]) for item in (again, changed))
    assert again["again_of"] == changed["again_of"] == training
    assert (again["model_name"], again["parameters"]["steps"]) == ("old", 3)
    assert (changed["model_name"], changed["parameters"]["steps"]) == ("new", 4)
    assert server.recited(changed["training_id"]) == "one"
    recorded = server.show(training)["parameters"]["lines"]
    same = server.managed("repeat", training_id=training, parameters={"lines": recorded})
    assert server.ended(same["training_id"])["state"] == "COMPLETED"
    for changes, field in (
        ({"steps": "x"}, "steps"),
        ({"pace": 1}, "pace"),
        ({"lines": 1}, "lines"),
    ):
        answer = server.manage("repeat", training_id=training, parameters=changes)
        assert answer.status == 422, answer.body
        assert f"parameters.{field}: " in answer.json["details"]
    assert server.manage("repeat", training_id="nope").status == 404
    assert server.manage("repeat", training_id=training, model_name="a/b").status == 400


def test_a_training_is_stopped_and_keeps_what_it_has(server: CoursesServer, hold: Hold) -> None:
    training = server.begin("one", name="early", hold=str(hold), steps=9)
    hold.begun()
    assert server.managed("stop", training_id=training)["state"] in ("STOPPING", "COMPLETED")
    shown = server.ended(training)
    assert "stopped early" in shown["log_tail"]
    assert "step 2" not in shown["log_tail"]
    assert server.recited(training) == "one"
    assert server.managed("stop", training_id=training)["state"] == "COMPLETED"  # once more
    assert server.manage("stop", training_id="nope").status == 404


def test_a_training_that_waits_has_nothing_to_keep(server: CoursesServer, hold: Hold) -> None:
    busy = [server.begin("one", hold=str(hold)) for _ in range(2)]
    hold.begun(2)
    waiting = server.begin("two")
    request = TrainingIdRequest(training_id=waiting)
    assert server.call("Stop", request, TrainingDescription).state == "CANCELED"
    hold.release()
    for training in busy:
        server.ended(training)


def test_trainings_are_counted_by_state(server: CoursesServer, hold: Hold) -> None:
    def counted(state: str) -> float:
        url = f"http://127.0.0.1:{server.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=60) as answer:
            text = answer.read().decode()
        (line,) = [line for line in text.splitlines() if f'trainings{{state="{state}"}}' in line]
        return float(line.split()[1])

    before = counted("RUNNING"), counted("COMPLETED")
    training = server.begin("one", hold=str(hold))
    hold.begun()
    assert counted("RUNNING") == before[0] + 1
    hold.release()
    server.ended(training)
    assert (counted("RUNNING"), counted("COMPLETED")) == (before[0], before[1] + 1)


def test_the_log_is_read_in_parts(server: CoursesServer) -> None:
    training = server.begin("one", steps=200)
    server.ended(training)
    whole = server.http("GET", f"{MANAGE}/log?training_id={training}").json["text"]
    text, offset = "", 0
    for _ in range(1000):
        query = f"training_id={training}&offset={offset}&limit=100"
        part = server.http("GET", f"{MANAGE}/log?{query}").json
        if not part["text"]:
            break
        text, offset = text + part["text"], part["next_offset"]
    assert text == whole
    assert "step 200\n" in text
    for query in ("limit=2000000", "limit=-1", "offset=-1"):
        answer = server.http("GET", f"{MANAGE}/log?training_id={training}&{query}")
        assert answer.status == 400, query


def test_a_training_is_pinned(server: CoursesServer) -> None:
    training = server.begin("one")
    assert server.managed("pin", training_id=training, pinned=True)["pinned"] is True
    assert server.show(training)["pinned"] is True
    assert server.managed("pin", training_id=training, pinned=False)["pinned"] is False
    assert server.manage("pin", training_id="nope", pinned=True).status == 404


OPTIONS = [
    ("kitfox-priority", "high"),
    ("kitfox-priority", "1001"),
    ("kitfox-retries", "-1"),
    ("kitfox-promote", "perhaps"),
]


@pytest.mark.parametrize(("header", "value"), OPTIONS)
def test_an_option_that_is_none_is_refused(server: CoursesServer, header: str, value: str) -> None:
    answer = server.train("one", name="n", headers={header: value})
    assert answer.status == 400
    assert header in answer.json["details"]
    assert repr(value) in answer.json["details"]


def test_options_come_in_headers(server: CoursesServer) -> None:
    headers = {"kitfox-priority": "-5", "kitfox-retries": "2", "kitfox-promote": "false"}
    shown = server.show(server.begin("one", name="n", headers=headers))
    assert (shown["priority"], shown["retries"], shown["promotion"]) == (-5, 2, None)
    assert server.train("one", headers={"kitfox-promote": "true"}).status == 400  # without a name


def test_keys_are_shown_to_nobody(server: CoursesServer) -> None:
    keys = {"accessKey": "AKIA-not-shown", "secretKey": "hush-not-shown"}
    source = {"endpoint": "http://127.0.0.1:9", "bucket": "b", "files": ["f.json"], **keys}
    body = {
        "model_name": "",
        "parameters": {"lines": {"data_stream": source}, "end": keys["secretKey"]},
    }
    answer = server.http("POST", "/api/v1/ReciteTaskPupilTrain", body)
    assert answer.status == 200, answer.body
    training = answer.json["training_id"]
    shown = server.ended(training, "ERRORED")
    assert shown["parameters"]["lines"]["s3files"]["secretKey"] == "***"
    every = [
        server.http("GET", f"{MANAGE}/{action}training_id={training}").body
        for action in ("show?", "log?", "follow?", f"?filter={training}&")
    ]
    every.append(server.http("GET", f"/management/trainings?training_id={training}").body)
    again = server.managed("retry", training_id=training)["training_id"]
    server.ended(again, "ERRORED")
    every.append(server.http("GET", f"{MANAGE}/show?training_id={again}").body)
    assert not [text for text in every if b"not-shown" in text]
