"""A model in replica processes answers as one of this process does."""

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kitfox.errors import (
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    ResourceExhausted,
    Unavailable,
    ValidationError,
)
from kitfox.logs import JsonFormatter, current_request
from kitfox.models.replicas import InProcesses, LoadFailed
from kitfox.models.replicas.failures import ReplicaError
from kitfox.models.replicas.supervisor import Backoff
from kitfox.models.streams import RequestFeed, split
from kitfox.modules import GrpcRequestContext, RequestContext
from tests.models.moody import Aloof, Moody, Numbers, Said
from tests.models.replica_models import Background, ask, model_folder, opened, until, workers

pytestmark = pytest.mark.slow


@pytest.fixture
def moody(tmp_path: Path) -> Path:
    return model_folder(tmp_path / "moody")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background]:
    background = Background(model_folder(tmp_path_factory.mktemp("shared")), threads=1)
    yield background
    background.close()


@pytest.fixture(scope="module")
def aloof(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background]:
    background = Background(model_folder(tmp_path_factory.mktemp("aloof"), Aloof))
    yield background
    background.close()


def test_what_is_refused_is_so_without_a_replica_too(tmp_path: Path) -> None:
    """Who is told to come again would kill the next one."""
    path = model_folder(tmp_path / "moody", mood="forgets")

    async def run() -> None:
        async with opened(path, backoff=partial(Backoff, first=0.01, most=0.02)) as execution:
            for is_last in (False, True):
                with pytest.raises(Unavailable):
                    await ask(execution, "exit 3")
                if not is_last:
                    (path / "once").unlink()
                    await until(lambda: execution.ready)
            with pytest.raises(Unavailable, match="no replica of model moody is ready"):
                await ask(execution, "anybody?")
            with pytest.raises(FailedPrecondition, match="ended two replicas"):
                await ask(execution, "exit 3")

    asyncio.run(run())


def test_it_is_loaded_once_in_each_process(moody: Path, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    model_folder(moody, marks=marks)

    async def run() -> None:
        async with opened(moody, replicas=2, devices=("cpu", "cuda:3")) as execution:
            assert execution.module is Moody
            assert execution.public_info() == {"mood": "fine"}
            assert execution.ready
            answers = await asyncio.gather(*(ask(execution, "sleep 0.05") for _ in range(2)))
            pids = {str(answer.pid) for answer in answers}
            assert pids == {item.name for item in marks.iterdir()}
            assert pids == {str(state.pid) for state in execution.replicas}
            assert str(os.getpid()) not in pids
            group, session, pid = (await ask(execution, "group")).text.split()
            assert group == session == pid
            devices = await asyncio.gather(*(ask(execution, "device") for _ in range(2)))
            assert {answer.text for answer in devices} == {"cpu -", "cuda:3 3"}
            assert [state.device for state in execution.replicas] == ["cpu", "cuda:3"]
            assert all(state.rss > 1024 * 1024 for state in execution.replicas)

    asyncio.run(run())


def test_many_calls_at_a_time_get_their_own_answers(moody: Path) -> None:
    async def run() -> None:
        async with opened(moody, replicas=2, threads=2, queue_limit=3000) as execution:
            texts = [f"number {index}" for index in range(2000)]
            answers = await asyncio.gather(*(ask(execution, text) for text in texts))
            assert [answer.text for answer in answers] == texts
            assert execution.queued == 0

    asyncio.run(run())


def test_threads_of_a_replica_overlap(moody: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(moody, threads=2) as execution:
            files = [tmp_path / name for name in ("one", "two")]
            waits = [asyncio.ensure_future(ask(execution, f"wait {file}")) for file in files]
            for file in files:
                await until(file.with_name(f"{file.name}.begun").exists)
            for file in files:
                file.touch()
            await asyncio.gather(*waits)

    asyncio.run(run())


def test_a_result_does_not_wait_for_the_slow_call_behind_it(
    shared: Background, tmp_path: Path
) -> None:
    async def run() -> None:
        execution = shared.execution
        calls = [ask(execution, "quick"), ask(execution, f"wait {tmp_path / 'go'}")]
        quick, slow = map(asyncio.ensure_future, calls)
        assert (await quick).text == "quick"
        assert not slow.done()
        (tmp_path / "go").touch()
        await slow

    shared.run(run())


@pytest.mark.parametrize(
    ("what", "error", "text"),
    [
        ("value", ValueError, "no such value"),
        ("kitfox", NotFound, "no such thing"),
        ("fields", ValidationError, r"text\[3\]: must be nice"),
        ("key", ReplicaError, "KeyError: 'a secret'"),
        ("exit", ReplicaError, "SystemExit: 4"),
    ],
)
def test_errors_keep_what_callers_may_know(
    shared: Background, what: str, error: type[Exception], text: str
) -> None:
    async def run() -> None:
        execution = shared.execution
        with pytest.raises(error, match=text) as caught:
            await ask(execution, f"fail {what}")
        assert type(caught.value) is error
        assert "_do_fail" in str(caught.value.__cause__)  # for the log
        if isinstance(caught.value, ValidationError):
            assert caught.value.fields[0].path == ("text", 3)
            assert caught.value.fields[0].kind == "mood"
        assert (await ask(execution, "still there")).text == "still there"

    shared.run(run())


def test_what_cannot_cross_fails_alone(shared: Background) -> None:
    async def run() -> None:
        execution = shared.execution
        run = execution.unary("run")
        # They wait for the first, and so are answered together.
        texts: list[Any] = ["sleep 0.1", "a", "opaque", "b", "lambda", "c", lambda: 0, "d"]
        answers = await asyncio.gather(
            *(run({"text": text}, RequestContext()) for text in texts), return_exceptions=True
        )
        good = [answer.text for answer in answers if isinstance(answer, Said)]
        assert good == ["sleep 0.1", "a", "b", "c", "d"]
        bad = [str(answer) for answer in answers if isinstance(answer, Exception)]
        assert "cannot be read outside its replica" in bad[0]
        assert "cannot be sent from its replica" in bad[1]
        assert "cannot be sent to a replica" in bad[2]

    shared.run(run())


@pytest.mark.parametrize("size", [10, 100_000, 1_500_000])
def test_arrays_and_long_texts_cross_whole(shared: Background, size: int) -> None:
    async def run() -> None:
        execution = shared.execution
        values = np.arange(size, dtype=np.float64)
        text = "é" * size
        numbers = execution.unary("numbers")
        calls = [
            numbers({"text": text, "values": values.copy()}, RequestContext()) for _ in range(3)
        ]
        for answer in await asyncio.gather(*calls):
            assert isinstance(answer, Numbers)
            assert answer.text == text
            assert np.array_equal(answer.values, np.arange(1, size + 1))
            answer.values += 1  # it may be written to
        assert values[0] == 0

    shared.run(run())


@pytest.mark.parametrize("kind", [RequestContext, GrpcRequestContext])
def test_the_context_goes_along(shared: Background, kind: type[RequestContext]) -> None:
    async def run() -> None:
        execution = shared.execution
        context = kind(
            model_id="moody",
            request_id="r1",
            metadata=[(b"Colour", b"blue")],
            deadline=time.monotonic() + 60,
        )
        arguments = {"text": "context", "context": context}
        answer = await execution.unary("run")(arguments, context)
        assert answer.text == f"{kind.__name__} moody r1 blue True"

    shared.run(run())


def test_cancellation_is_forwarded(shared: Background, tmp_path: Path) -> None:
    async def run() -> None:
        execution = shared.execution
        run, context = execution.unary("run"), RequestContext()
        running = run({"text": f"wait {tmp_path / 'never'}"}, context)
        await until((tmp_path / "never.begun").exists)
        behind = RequestContext()
        waiting = run({"text": f"wait {tmp_path / 'neither'}"}, behind)
        await asyncio.sleep(0)
        behind.cancel(Cancelled("not this one"))
        with pytest.raises(Cancelled, match="not this one"):
            await waiting
        context.cancel(DeadlineExceeded("too late"))
        await until((tmp_path / "never.cancelled").exists)
        await running
        assert not (tmp_path / "neither.begun").exists()

    shared.run(run())


def test_the_queue_is_bounded(moody: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(moody, queue_limit=2) as execution:
            go = tmp_path / "go"
            calls = [asyncio.ensure_future(ask(execution, f"wait {go}")) for _ in range(3)]
            await until((tmp_path / "go.begun").exists)
            with pytest.raises(ResourceExhausted, match=r"models\.execution\.queue_limit"):
                await ask(execution, "one too many")
            go.touch()
            await asyncio.gather(*calls)
            await ask(execution, "again")

    asyncio.run(run())


def test_calls_do_not_wait_at_a_busy_replica_while_another_is_idle(
    moody: Path, tmp_path: Path
) -> None:
    async def run() -> None:
        async with opened(moody, replicas=2) as execution:
            stop, go = tmp_path / "stop", tmp_path / "go"
            stuck = asyncio.ensure_future(ask(execution, f"wait {stop}"))
            await until((tmp_path / "stop.begun").exists)
            waits = asyncio.ensure_future(ask(execution, f"wait {go}"))
            await until((tmp_path / "go.begun").exists)
            # Both are busy: of these some wait at the first, which is not free for long.
            behind = [asyncio.ensure_future(ask(execution, f"text {i}")) for i in range(8)]
            await asyncio.sleep(0)
            go.touch()
            answers = await asyncio.gather(waits, *behind)
            assert len({answer.pid for answer in answers}) == 1
            assert not stuck.done()
            stop.touch()
            assert (await stuck).pid != answers[0].pid

    asyncio.run(run())


def test_output_appears_in_the_log(moody: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def run() -> None:
        async with opened(moody) as execution:
            await ask(execution, "say hello", request_id="r7")
            await until(lambda: len(execution.replicas[0].log_tail) == 3)
            assert execution.replicas[0].log_tail == ("logged hello", "printed hello", "raw hello")

    asyncio.run(run())
    found = {
        record.message: record for record in caplog.records if record.message.endswith(" hello")
    }
    logged, printed = found["logged hello"], found["printed hello"]
    assert (logged.name, logged.levelname) == ("moody", "WARNING")
    assert printed.name == "kitfox.REPLICA"
    for record in (logged, printed):
        assert vars(record)["request_id"] == "r7"
    for record in found.values():
        assert vars(record)["model_id"] == "moody"
        assert vars(record)["replica"] == 0


def test_output_is_not_taken_for_that_of_the_call_that_had_the_model_loaded(
    moody: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    said: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        said.append(JsonFormatter().format(record))
        return True

    caplog.handler.addFilter(keep)

    async def run() -> None:
        current_request.set(RequestContext(request_id="first"))
        async with opened(moody) as execution:
            current_request.set(None)
            await ask(execution, "say hello", request_id="r7")
            await until(lambda: len(execution.replicas[0].log_tail) == 3)

    asyncio.run(run())
    ids = {
        line["message"]: line.get("request_id")
        for line in map(json.loads, said)
        if "replica" in line
    }
    assert ids == {"logged hello": "r7", "printed hello": "r7", "raw hello": None}


# -- loading


@pytest.mark.parametrize(
    ("mood", "error", "text"),
    [
        ("sulks", LoadFailed, "did not load it: RuntimeError: not today"),
        ("picky", ValueError, "the weights are of another kind"),
        ("faints", LoadFailed, "did not start: it exited with status 3"),
    ],
)
def test_a_model_that_does_not_load_says_why(
    tmp_path: Path, mood: str, error: type[Exception], text: str
) -> None:
    path = model_folder(tmp_path / "moody", mood=mood)

    async def run() -> None:
        with pytest.raises(error, match=text) as caught:
            async with opened(path, replicas=2):
                pytest.fail("it was loaded")
        told = caught.value if isinstance(caught.value, LoadFailed) else caught.value.__cause__
        assert isinstance(told, LoadFailed)
        if mood == "sulks":
            assert "I do not want to" in told.log_tail

    asyncio.run(run())


def test_a_load_that_hangs_is_given_up(tmp_path: Path) -> None:
    path = model_folder(tmp_path / "moody", mood="dawdles")
    others = workers()

    async def run() -> None:
        with pytest.raises(Unavailable, match=r"within 0\.5 s \(setting models\.load_seconds\)"):
            async with opened(path, load_seconds=0.5, replicas=2):
                pytest.fail("it was loaded")
        await until(lambda: workers() == others)

    asyncio.run(run())


def test_a_restart_that_hangs_is_given_up_and_tried_again(tmp_path: Path) -> None:
    path = model_folder(tmp_path / "moody", mood="tires")
    others = workers()

    async def run() -> None:
        async with opened(path) as execution:
            (path / "tired").touch()
            execution._load_seconds = 0.5
            with pytest.raises(Unavailable, match="exited with status 5"):
                await ask(execution, "exit 5")
            (state,) = await until(lambda: [it for it in execution.replicas if it.restarts > 1])
            assert "did not load within 0.5 s" in state.last_error
            execution._load_seconds = 0
            (path / "tired").unlink()
            await until(lambda: execution.ready)
            assert (await ask(execution, "awake")).text == "awake"
            await until(lambda: len(workers() - others) == 1)

    asyncio.run(run())


def test_each_replica_is_warmed_up_whenever_it_is_started(moody: Path) -> None:
    warm: list[int] = []

    async def warm_up(replica: InProcesses) -> None:
        assert replica.module is Moody
        first = await ask(replica, "sleep 0.01")
        assert (await ask(replica, "again")).pid == first.pid
        found = await _in_thread(replica.function("split"), text="3 part")
        assert {said.pid for said in found} == {first.pid}
        warm.append(first.pid)

    async def run() -> None:
        async with opened(moody, replicas=2, warm_up=warm_up) as execution:
            assert sorted(warm) == sorted(state.pid for state in execution.replicas)
            assert execution.figures().calls == 0
            with pytest.raises(Unavailable):
                await ask(execution, "exit 5")
            await until(lambda: len(warm) == 3)
            await until(lambda: all(state.state == "ready" for state in execution.replicas))
            assert {state.pid for state in execution.replicas} <= set(warm)
            answers = await asyncio.gather(*(ask(execution, f"text {i}") for i in range(20)))
            assert [answer.text for answer in answers] == [f"text {i}" for i in range(20)]

    asyncio.run(run())


def test_a_replica_that_does_not_warm_up_does_not_serve(moody: Path) -> None:
    others = workers()

    async def run() -> None:
        for text, error in (("fail value", ValueError), ("exit 4", Unavailable)):

            async def warm_up(replica: InProcesses, text: str = text) -> None:
                await ask(replica, text)

            with pytest.raises(error):
                async with opened(moody, warm_up=warm_up):
                    pytest.fail("it was taken for ready")
            await until(lambda: workers() == others)

    asyncio.run(run())


def test_a_folder_that_is_no_model_starts_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        with pytest.raises(FileNotFoundError):
            async with opened(tmp_path):
                pytest.fail("it was loaded")

    asyncio.run(run())


# -- streams


def _in_thread(function: Callable[..., Any], **arguments: Any) -> "asyncio.Future[Any]":
    """Calls it as the handlers do: in a thread, which knows the request."""
    context = RequestContext(request_id="s1")

    def call() -> Any:
        current_request.set(context)
        made = function(**arguments)
        return list(made) if isinstance(made, Iterator) else made

    return asyncio.get_running_loop().run_in_executor(None, call)


def _requests(*texts: str) -> dict[str, Any]:
    """The argument of a method that reads a stream of requests."""

    async def come() -> AsyncIterator[bytes]:
        for text in texts:
            await asyncio.sleep(0)
            yield text.encode()

    feed = RequestFeed(come(), lambda data: {"texts": data.decode()})
    return {**split(feed, None, ["texts"])}


def test_results_stream_as_they_were_when_they_were_made(shared: Background) -> None:
    async def run() -> None:
        execution = shared.execution
        split_up = execution.function("split")
        found = await _in_thread(split_up, text="3 part")
        assert [said.text for said in found] == ["part0", "part1", "part2"]
        many = await _in_thread(split_up, text="3000 part")
        assert [said.text for said in many] == [f"part{index}" for index in range(3000)]

    shared.run(run())


def test_a_stream_that_nobody_reads_stops_and_is_closed(shared: Background, tmp_path: Path) -> None:
    async def run() -> None:
        execution = shared.execution
        closed = tmp_path / "closed"
        results = await asyncio.to_thread(execution.function("split"), text=f"1000000 {closed}")
        first = await asyncio.to_thread(next, results)
        assert first.text == f"{closed}0"
        # Its thread is free as soon as a few hundred kilobytes wait.
        assert (await ask(execution, "in between")).text == "in between"
        assert not closed.exists()
        await asyncio.to_thread(results.close)
        await until(closed.exists)
        await until(lambda: not execution.queued)

    shared.run(run())


def test_requests_stream_both_ways(shared: Background) -> None:
    async def run() -> None:
        execution = shared.execution
        texts = [f"text {index}" for index in range(500)]
        echoed = await _in_thread(execution.function("echo"), **_requests(*texts))
        assert [said.text for said in echoed] == texts
        joined = await _in_thread(execution.function("join"), **_requests("a", "b"))
        assert joined.text == "a b"
        large = ["x" * 300_000] * 5
        echoed = await _in_thread(execution.function("echo"), **_requests(*large))
        assert [len(said.text) for said in echoed] == [300_000] * 5

    shared.run(run())


def test_asynchronous_methods_run_on_a_loop_of_the_replica(aloof: Background) -> None:
    async def run() -> None:
        execution = aloof.execution
        plain = execution.function("run")
        answers = await asyncio.gather(*(plain(text=str(index)) for index in range(50)))
        assert [answer.text for answer in answers] == [str(index) for index in range(50)]
        assert answers[0].pid != os.getpid()
        numbers = [said.text async for said in execution.function("split")(text="2000")]
        assert numbers == [str(index) for index in range(2000)]
        echoed = await execution.function("echo")(**_requests("a", "b", "c"))
        assert [said.text async for said in echoed] == ["a", "b", "c"]
        joined = await execution.function("join")(**_requests("a", "b"))
        assert joined.text == "a b"

    aloof.run(run())


def test_cancelling_an_asynchronous_method_cancels_its_task(
    aloof: Background, tmp_path: Path
) -> None:
    async def run() -> None:
        execution = aloof.execution
        ended = tmp_path / "ended"
        task = asyncio.ensure_future(execution.function("run")(text=str(ended)))
        await until((tmp_path / "ended.begun").exists)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(ended.exists)
        await until(lambda: not execution.queued)

    aloof.run(run())


def test_an_archive_is_loaded_too(tmp_path: Path) -> None:
    from kitfox.modules import compress

    folder = model_folder(tmp_path / "folder")
    compress(str(folder), str(tmp_path / "packed.zip"))
    packed = next(tmp_path.glob("packed*"))

    async def run() -> None:
        execution = await InProcesses.open(
            "packed",
            packed,
            settings=_OneReplica(),
            loop=asyncio.get_running_loop(),
            libraries=["tests.models.moody"],
        )
        assert execution.module is Moody
        assert (await ask(execution, "packed")).text == "packed"
        await asyncio.to_thread(execution.close)

    asyncio.run(run())


class _OneReplica:
    replicas = 1
    devices = ()
    threads = 0
    queue_limit = 10
    run_seconds = 0.0
    retry = False
    max_batch_size = 0
    max_batch_delay_seconds = 0.0
    max_batch_weight = 0.0
    batch_weight = ""
