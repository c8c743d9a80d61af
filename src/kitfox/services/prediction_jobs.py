"""Inference jobs: a request is kept, answered later, and its result asked for by the job's id.

A job does what a direct call of its task does, on the same models and by the same handler. Its
request is in the job store before its id is returned; its result is in a file before it counts as
completed. So a server may die at any moment: the next one runs again what had no end.
"""

import asyncio
import base64
import contextlib
import datetime
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from kitfox.config import Config, Jobs
from kitfox.data import DataObjectBase, codec_of
from kitfox.data.schema import Kind, Shape
from kitfox.errors import (
    Cancelled,
    Code,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    KitfoxError,
    ModelNotFound,
    NotFound,
)
from kitfox.interfaces.runtime.data_model import PredictionJob, PredictionJobStatusResponse
from kitfox.logs import current_request
from kitfox.metrics import CallMetrics
from kitfox.models import ModelManager
from kitfox.services.inference import InferenceHandler
from kitfox.services.job_states import WIRE_STATES
from kitfox.services.methods import Context, Handler, Method, Purpose
from kitfox.training import Job, JobKind, JobState, JobStore
from kitfox.training.results import ResultFolder, result_folder
from kitfox.training.runner import JobRunner

__all__ = ["Explain", "PredictionJobs", "open_prediction_jobs"]

Explain: TypeAlias = Callable[[BaseException, Context, str], KitfoxError]
"""What a caller is told of a failure of the named method; the log gets the rest."""

_LONGEST_STOP = 5.0
"""For how many seconds at most the end of a server waits for jobs that run: what is in flight has
been waited for by then, and the process has not much longer."""


def open_prediction_jobs(
    config: Config,
    *,
    methods: Iterable[Method],
    models: ModelManager,
    store: JobStore,
    explain: Explain,
    metrics: CallMetrics | None = None,
) -> "PredictionJobs":
    """The inference jobs of a server; nothing runs yet.

    Args:
        config: The server's.
        methods: The method table.
        models: Where loaded models are.
        store: The job store, of whatever kind of jobs.
        explain: What direct calls tell their callers of a failure.
        metrics: Counts the jobs.
    """
    given = config.jobs.result_dir
    output = Path(config.runtime.training.output_dir).absolute()
    return PredictionJobs(
        methods=methods,
        models=models,
        store=store.of(JobKind.PREDICTION),
        results=ResultFolder(
            Path(given).absolute() if given is not None else result_folder(store, output)
        ),
        settings=config.jobs,
        explain=explain,
        metrics=metrics,
        stop_seconds=min(
            _LONGEST_STOP,
            max(
                config.runtime.grpc.server_shutdown_grace_period_seconds,
                config.runtime.http.server_shutdown_grace_period_seconds,
            ),
        ),
    )


# caikit's: whoever tells jobs from trainings by their ids still can.
_ID_PREFIX = "wTHxlsu:"


class PredictionJobs:
    """Starts inference jobs, tells how they go, gives their results, cancels them.

    Args:
        methods: The method table; each of its unary inference methods can be done as a job, if it
            has methods for jobs at all.
        models: Where loaded models are.
        store: The predictions in the job store.
        results: Where results are kept.
        settings: The limits.
        explain: What callers are told of a failure.
        metrics: Counts the jobs.
        stop_seconds: How long `stop` waits for jobs that run.
    """

    def __init__(
        self,
        *,
        methods: Iterable[Method],
        models: ModelManager,
        store: JobStore,
        results: ResultFolder,
        settings: Jobs,
        explain: Explain,
        metrics: CallMetrics | None = None,
        stop_seconds: float = 0.0,
    ) -> None:
        self._metrics = metrics
        self._stop_seconds = stop_seconds
        self._models = models
        self._store = store
        self._results = results
        self._explain = explain
        rows = list(methods)
        offers_jobs = any(method.purpose is Purpose.JOB_START for method in rows)
        self._predictions = {
            method.name: _Prediction(method, models)
            for method in rows
            if offers_jobs and method.purpose is Purpose.INFERENCE and not method.is_streaming
        }
        self.runner = JobRunner(
            store=store,
            results=results,
            begin=lambda job: _Attempt(job, self._answer),
            max_concurrent=settings.max_concurrent,
            queue_limit=settings.queue_limit,
            retention=settings.retention_seconds,
        )

    async def start(self) -> None:
        """Begins to run jobs, those first that an earlier server has accepted.

        To be called when the models that are loaded at start are there.
        """
        if self._predictions:
            await self.runner.start()

    def drain(self) -> None:
        """Begins no further job; they stay in the queue."""
        self.runner.drain()

    async def stop(self) -> None:
        """Ends; jobs that still run after a while go back into the queue."""
        await self.runner.stop(self._stop_seconds)

    def handler(self, method: Method) -> Handler:
        """What does the work of a row of the method table that is about jobs."""
        match method.purpose:
            case Purpose.JOB_START:
                (prediction,) = (
                    found
                    for found in self._predictions.values()
                    if found.method.task is method.task
                )
                return partial(self._start, prediction)
            case Purpose.JOB_STATUS:
                return self._status
            case Purpose.JOB_RESULT:
                return partial(self._result, method)
            case Purpose.JOB_CANCEL:
                return self._cancel
            case _:
                raise ValueError(f"{method.name} is not about jobs")

    async def _start(
        self, prediction: "_Prediction", fields: dict[str, Any], context: Context
    ) -> DataObjectBase:
        """Accepts a job; what a direct call would refuse without asking the model is refused."""
        model = await prediction.handler.check(fields, context)
        parameters = await asyncio.to_thread(prediction.write_request, fields)
        job = Job(
            id=f"{_ID_PREFIX}{uuid.uuid4()}",
            kind=JobKind.PREDICTION,
            module_id=model.module.MODULE_ID,
            module_name=model.module.MODULE_NAME,
            module_version=model.module.MODULE_VERSION,
            model_name=context.model_id,
            parameters=parameters,
            created=datetime.datetime.now(datetime.UTC),
            method=prediction.method.name,
            request_id=context.request_id,
        )
        await self.runner.submit(job)
        return PredictionJob(prediction_id=job.id)

    async def _status(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        """How a job goes."""
        job = await asyncio.to_thread(self.runner.get, fields.get("prediction_id", ""))
        return _status(job, submission_timestamp=job.created, completion_timestamp=job.finished)

    async def _cancel(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        """Ends a job; one that has ended stays as it is."""
        return _status(await self.runner.cancel(fields.get("prediction_id", "")))

    async def _result(
        self, method: Method, fields: dict[str, Any], context: Context
    ) -> DataObjectBase:
        """What a job's model answered."""
        return await asyncio.to_thread(self._read, method, fields.get("prediction_id", ""))

    def _read(self, method: Method, job_id: str) -> DataObjectBase:
        job = self.runner.get(job_id)
        if job.state is not JobState.COMPLETED:
            raise NotFound(
                f"Prediction {job.id} {_WHY_NO_RESULT[job.state]}{_listing(job.reasons)}"
            )
        done = self._predictions.get(job.method)
        if done is not None and done.method.response is not method.response:
            raise InvalidArgument(
                f"Prediction {job.id} is a job of {job.method}, and what that answers is no "
                f"{method.response.__name__}: ask for it where the job was started"
            )
        try:
            data = self._results.read(job.id)
        except FileNotFoundError as error:
            self.runner.get(job_id)  # it may just have been kept long enough
            raise KitfoxError(
                f"The result of prediction {job.id} is not there any more", code=Code.DATA_LOSS
            ) from error
        return codec_of(method.response).decode(data)

    async def _answer(self, job: Job, context: Context) -> bytes:
        """Does what a job asks for.

        Raises:
            KitfoxError: What a direct call would tell its caller.
        """
        started = time.perf_counter()
        try:
            prediction = self._predictions.get(job.method)
            if prediction is None:
                raise FailedPrecondition(f"{job.method} is not served any more")
            await self._load(job.model_name)
            parameters = await asyncio.to_thread(self._store.parameters, job.id)
            fields = await asyncio.to_thread(prediction.read_request, parameters)
            result = prediction.write_result(await prediction.call(fields, context))
        except Exception as error:
            failure = self._explain(error, context, job.method)
            self._count(job, failure.code, started)
            raise failure from error
        self._count(job, Code.OK, started)
        return result

    def _count(self, job: Job, code: Code, started: float) -> None:
        if self._metrics is not None:
            self._metrics.count(job.method, code, job.model_name, started)

    async def _load(self, model_id: str) -> None:
        """Loads a model that was there when the job was accepted and is not loaded any more."""
        if self._models.peek(model_id) is None:
            with contextlib.suppress(ModelNotFound):  # said when it is called
                await self._models.load(model_id)


_WHY_NO_RESULT = {
    JobState.QUEUED: "has not started yet",
    JobState.RUNNING: "is still in progress",
    JobState.STOPPING: "is still in progress",
    JobState.CANCELING: "was cancelled",
    JobState.CANCELED: "was cancelled",
    JobState.ERRORED: "encountered an error",
}


def _listing(reasons: tuple[str, ...]) -> str:
    return f": {'; '.join(reasons)}" if reasons else ""


def _status(job: Job, **times: datetime.datetime | None) -> PredictionJobStatusResponse:
    fields: dict[str, Any] = {
        "prediction_id": job.id,
        "state": WIRE_STATES[job.state],
        "reasons": list(job.reasons),
        **times,
    }
    return PredictionJobStatusResponse(**fields)


class _Attempt:
    """One attempt of a job.

    Args:
        job: As it was claimed.
        answer: What does the work.
    """

    def __init__(self, job: Job, answer: Callable[[Job, Context], Awaitable[bytes]]) -> None:
        self._job = job
        self._answer = answer
        self._context = Context(model_id=job.model_name, request_id=job.request_id)

    async def run(self) -> bytes:
        """Does the work."""
        current_request.set(self._context)  # of this task alone
        return await self._answer(self._job, self._context)

    def cancel(self) -> None:
        """Tells the model; the result counts no more."""
        self._context.cancel(Cancelled("the job was cancelled"))


class _Prediction:
    """A unary inference method, as jobs do it.

    Args:
        method: The row of the method table.
        models: Where loaded models are.
    """

    def __init__(self, method: Method, models: ModelManager) -> None:
        self.method = method
        self.handler = InferenceHandler(method, models)
        self._codec = codec_of(method.request)
        self._encode = codec_of(method.response).encode
        self._bytes_members = {
            field.name: member.name
            for field in self._codec.schema.fields
            if field.shape is Shape.UNION
            for member in field.members
            if member.value.kind is Kind.BYTES and not member.repeated
        }

    def write_request(self, fields: Mapping[str, Any]) -> str:
        """The fields that a caller set, as text for the store."""
        values = {}
        for name, value in fields.items():
            # Elsewhere a value tells its member of a union, but text takes bytes as well.
            is_bytes = isinstance(value, bytes) and name in self._bytes_members
            values[self._bytes_members[name] if is_bytes else name] = value
        data = self._codec.encode(self.method.request(**values))
        # The names are kept too: the message alone does not tell an empty list from none.
        return json.dumps({"fields": list(fields), "request": base64.b64encode(data).decode()})

    def read_request(self, text: str) -> dict[str, Any]:
        """The same fields again."""
        kept = json.loads(text)
        request = self._codec.decode(base64.b64decode(kept["request"]))
        return {name: getattr(request, name) for name in kept["fields"]}

    async def call(self, fields: dict[str, Any], context: Context) -> DataObjectBase:
        """Runs the model; ends when the context is cancelled, if the model's method can be ended.

        A synchronous method runs to its end. That keeps its place among the jobs that run: the
        thread is not free before.
        """
        _check(context)
        is_async = await self.handler.is_async(context)
        call = asyncio.ensure_future(self.handler(fields, context))
        if is_async:
            context.on_cancel(call.cancel)
        try:
            result = await call
        except asyncio.CancelledError:
            _check(context)
            raise
        _check(context)
        return result

    def write_result(self, result: DataObjectBase) -> bytes:
        """The result as it is kept."""
        try:
            return self._encode(result)
        except (TypeError, ValueError, AttributeError) as error:
            raise Internal("Could not serialize response") from error


def _check(context: Context) -> None:
    """Raises the reason why a job was cancelled, if it was."""
    if context.reason is not None:
        raise context.reason
