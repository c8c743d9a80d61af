"""The library of errands, its server, and how to call it."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc

from kitfox.data import DataObjectBase
from kitfox.interfaces.runtime.data_model import (
    PredictionJob,
    PredictionJobInfoRequest,
    PredictionJobStatusResponse,
)
from tests.conftest import Answer, Server
from tests.waiting import wait_for

PROJECT = Path(__file__).with_name("errands_project")
JOB = "/api/v1/task/run/job"
SERVICE = "/caikit.runtime.Errands.ErrandsJobService"


class ErrandsServer(Server):
    """A server of the library, with one-line calls."""

    @classmethod
    def make(cls, folder: Path, **environment: str) -> "ErrandsServer":
        project = folder / PROJECT.name
        if not project.exists():
            shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
        return cls(project, environment)

    # -- over REST

    def post_job(self, text: str, model: str = "plain", **parameters: Any) -> Answer:
        body: dict[str, Any] = {"model_id": model, "inputs": {"text": text}}
        if parameters:
            body["parameters"] = parameters
        return self.http("POST", JOB, body)

    def begin(self, text: str, model: str = "plain", **parameters: Any) -> str:
        """Starts a job and gives its id."""
        answer = self.post_job(text, model, **parameters)
        assert answer.status == 200, answer.body
        assert list(answer.json) == ["prediction_id"]
        return str(answer.json["prediction_id"])

    def status(self, job_id: str) -> Any:
        answer = self.http("GET", f"{JOB}?prediction_id={job_id}")
        assert answer.status == 200, answer.body
        return answer.json

    def result(self, job_id: str) -> Answer:
        return self.http("GET", f"{JOB}/results?prediction_id={job_id}")

    def cancel(self, job_id: str) -> Any:
        answer = self.http("DELETE", f"{JOB}?prediction_id={job_id}")
        assert answer.status == 200, answer.body
        return answer.json

    def reaches(self, job_id: str, *states: str) -> Any:
        """The job's status when it is in one of these states."""

        def found() -> Any:
            status = self.status(job_id)
            return status if status["state"] in states else None

        return wait_for(found, what=f"job {job_id} in {states}")

    def ended(self, job_id: str) -> Any:
        """The job's status when nothing of it runs any more."""

        def found() -> Any:
            status = self.status(job_id)
            return status if status["completion_timestamp"] else None

        return wait_for(found, what=f"the end of job {job_id}")

    # -- over gRPC

    def call(
        self,
        rpc: str,
        request: DataObjectBase,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> bytes:
        """The bytes that a method of the job service answers."""
        with self.channel() as channel:
            method: Any = channel.unary_unary(f"{SERVICE}/{rpc}")
            answer: bytes = method(request.to_binary_buffer(), metadata=tuple(metadata), timeout=60)
        return answer

    def grpc_start(self, request: DataObjectBase, model: str = "plain") -> str:
        answer = self.call("RunTaskStartPredictionJob", request, [("mm-model-id", model)])
        return PredictionJob.from_binary_buffer(answer).prediction_id

    def grpc_status(self, job_id: str) -> PredictionJobStatusResponse:
        request = PredictionJobInfoRequest(prediction_id=job_id)
        answer = self.call("RunTaskGetPredictionJobStatus", request)
        return PredictionJobStatusResponse.from_binary_buffer(answer)

    def grpc_cancel(self, job_id: str) -> PredictionJobStatusResponse:
        request = PredictionJobInfoRequest(prediction_id=job_id)
        answer = self.call("RunTaskCancelPredictionJob", request)
        return PredictionJobStatusResponse.from_binary_buffer(answer)

    def grpc_result(self, job_id: str) -> bytes:
        request = PredictionJobInfoRequest(prediction_id=job_id)
        return self.call("RunTaskGetPredictionJobResult", request)


class Hold:
    """A folder in which an errand waits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    @property
    def text(self) -> str:
        return f"hold {self.folder}"

    @property
    def runs(self) -> int:
        """How often it has been begun."""
        begun = self.folder / "begun"
        return len(begun.read_text()) if begun.exists() else 0

    def begun(self, times: int = 1) -> None:
        wait_for(lambda: self.runs >= times, what="the begin")

    def saw(self, name: str) -> bool:
        return (self.folder / name).exists()

    def release(self) -> None:
        (self.folder / "go").touch()


def refusal(call: Any, *arguments: Any) -> tuple[grpc.StatusCode, str]:
    """How a call fails: code and details."""
    try:
        call(*arguments)
    except grpc.RpcError as error:
        return error.code(), str(error.details())
    raise AssertionError("the call did not fail")
