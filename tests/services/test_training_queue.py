"""The queue of trainings is full: what a server answers, and that it takes in more later."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from kitfox.interfaces.runtime.trainings import TrainingDescription, TrainingIdRequest
from tests.services.courses import Hold, courses
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


def test_a_full_queue_names_its_setting_and_says_when_to_try_again(tmp_path: Path) -> None:
    hold = Hold(tmp_path / "hold")
    limits = {"TRAINING_MAX_CONCURRENT": "1", "TRAINING_QUEUE_LIMIT": "1"}
    with courses(tmp_path, **limits) as server:
        failed = server.begin("one", end="fail")
        server.ended(failed, "ERRORED")
        running = server.begin("one", hold=str(hold))
        hold.begun()
        waiting = server.begin("one")
        refused = server.train("one")
        assert refused.status == 429, refused.body
        sentence = (
            "The training queue is full: 1 jobs are waiting and the setting "
            "training.queue_limit is 1"
        )
        assert refused.json["details"] == sentence
        assert refused.headers["retry-after"] == "5"
        with pytest.raises(grpc.RpcError) as caught:
            server.call("Retry", TrainingIdRequest(training_id=failed), TrainingDescription)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert caught.value.details() == sentence
        trailers: Any = caught.value.trailing_metadata()
        assert b"google.rpc.RetryInfo" in dict(trailers)["grpc-status-details-bin"]
        trainings = server.http("GET", "/api/v1/management/trainings").json["trainings"]
        assert {found["training_id"] for found in trainings} == {failed, running, waiting}
        hold.release()
        server.ended(running)
        server.ended(waiting)
        accepted = wait_for(lambda: server.train("one").status == 200, what="a place")
        assert accepted
