"""Trainings of a running server are listed, shown, taken up again and kept, over REST and gRPC."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kitfox.interfaces.runtime.trainings import (
    ListTrainingsRequest,
    ListTrainingsResponse,
    TrainingDescription,
    TrainingIdRequest,
)
from tests.services.courses import MANAGE, CoursesServer, Hold, courses


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoursesServer]:
    with courses(tmp_path_factory.mktemp("courses")) as running:
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
