"""Whatever a model does to its process, the server and the other calls go on."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from kitfox.errors import Cancelled, FailedPrecondition, Unavailable
from kitfox.models.replicas.supervisor import Backoff
from kitfox.modules import RequestContext
from tests.models.moody import Aloof
from tests.models.replica_models import alive, ask, model_folder, opened, until
from tests.waiting import wait_for


@pytest.fixture
def moody(tmp_path: Path) -> Path:
    return model_folder(tmp_path / "moody")


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("exit 3", "exited with status 3"),
        ("crash", "killed by SIGSEGV"),
        ("signal SIGKILL", "killed by SIGKILL"),
        ("signal SIGABRT", "killed by SIGABRT"),
    ],
)
def test_a_death_fails_the_call_with_its_reason(moody: Path, what: str, reason: str) -> None:
    async def run() -> None:
        changes: list[bool] = []
        async with opened(moody, on_change=lambda: changes.append(True)) as execution:
            took: list[float] = []
            while len(took) < 5 and min(took, default=9) >= 1:  # the machine may be busy
                await until(lambda: execution.ready)
                execution.quarantine.clear()
                pid = execution.replicas[0].pid
                changes.clear()
                began = time.monotonic()
                with pytest.raises(Unavailable, match=reason) as caught:
                    await ask(execution, what)
                took.append(time.monotonic() - began)
            assert min(took) < 1
            assert "is being restarted" in caught.value.message
            state = execution.replicas[0]
            assert reason in state.last_error
            assert not alive(pid)
            assert not execution.ready
            assert changes
            await until(lambda: execution.ready)
            state = execution.replicas[0]
            assert (state.state, state.restarts) == ("ready", len(took))
            assert (await ask(execution, "again")).pid == state.pid != pid
            if what == "crash":
                assert any("Segmentation fault" in line for line in state.log_tail)

    asyncio.run(run())


def test_killed_with_a_batch_in_flight_only_what_it_ran_fails(moody: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(moody, replicas=2) as execution:
            files = [tmp_path / name for name in ("one", "two")]
            running = [asyncio.ensure_future(ask(execution, f"wait {file}")) for file in files]
            for file in files:
                await until(file.with_name(f"{file.name}.begun").exists)
            behind = [asyncio.ensure_future(ask(execution, f"text {i}")) for i in range(50)]
            await until(lambda: sum(item.in_flight for item in execution.replicas) > 2)
            victim = execution.replicas[0]
            os.kill(victim.pid, signal.SIGKILL)
            await until(lambda: execution.replicas[0].pid != victim.pid)
            for file in files:
                file.touch()
            answers = await asyncio.gather(*running, return_exceptions=True)
            assert sorted(isinstance(answer, Unavailable) for answer in answers) == [False, True]
            texts = [answer.text for answer in await asyncio.gather(*behind)]
            assert texts == [f"text {i}" for i in range(50)]

    asyncio.run(run())


@pytest.mark.parametrize("how", ["setting", "metadata"])
def test_a_call_is_run_once_more_where_that_is_allowed(
    moody: Path, tmp_path: Path, how: str
) -> None:
    async def run() -> None:
        async with opened(moody, replicas=2, retry=how == "setting") as execution:
            metadata = [(b"kitfox-retry", b"true")] if how == "metadata" else []
            go = tmp_path / "go"
            call = asyncio.ensure_future(ask(execution, f"wait {go}", metadata=metadata))
            await until((tmp_path / "go.begun").exists)
            busy = next(item for item in execution.replicas if item.in_flight)
            os.kill(busy.pid, signal.SIGKILL)
            await until(lambda: not alive(busy.pid))
            go.touch()
            assert (await call).pid != busy.pid
            assert execution.quarantine.entries() == []

    asyncio.run(run())


def test_without_a_replica_answers_come_at_once(tmp_path: Path) -> None:
    path = model_folder(tmp_path / "moody", mood="forgets")

    async def run() -> None:
        async with opened(path, backoff=partial(Backoff, first=0.01, most=0.02)) as execution:
            with pytest.raises(Unavailable):
                await ask(execution, "exit 3")
            with pytest.raises(Unavailable, match="no replica of model moody is ready"):
                await ask(execution, "anybody?")
            # It is known by now: nobody waits to hear it. (1: the next one has ended too.)
            with pytest.raises(Unavailable, match=r"exited with status [13]"):
                execution.unary("run")({"text": "anybody?"}, RequestContext())
            await until(lambda: execution.replicas[0].restarts > 2)
            assert "not again" in execution.replicas[0].last_error
            (path / "once").unlink()
            await until(lambda: execution.ready)
            assert (await ask(execution, "better")).text == "better"

    asyncio.run(run())


@pytest.mark.parametrize(("what", "place"), [("sleep 3600", "_do_sleep"), ("hold", "_do_hold")])
def test_where_a_call_hangs_is_told_for_which_request(
    moody: Path,
    what: str,
    place: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO)

    async def run() -> None:
        async with opened(moody, run_seconds=0.3) as execution:
            with pytest.raises(Unavailable, match="run_seconds"):
                await ask(execution, what, request_id="r9")

    for seconds in (0.2, 2, 20):  # a busy machine takes longer to tell where it is
        monkeypatch.setattr("kitfox.models.replicas.hung_calls._LAST_WORDS", seconds)
        caplog.clear()
        asyncio.run(run())
        if f"in {place}" in caplog.text:
            break
    (told,) = [record for record in caplog.records if "has been running" in record.message]
    assert (told.__dict__["request_id"], told.__dict__["model_id"]) == ("r9", "moody")
    assert "method run of model moody" in told.message
    later = caplog.records[caplog.records.index(told) :]
    assert [record for record in later if f"in {place}" in record.message]


def test_a_call_that_may_take_long_is_told_of_once(
    moody: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("kitfox.models.replicas.hung_calls._TOLD_AFTER", 0.1)

    async def run() -> None:
        async with opened(moody) as execution:
            go = tmp_path / "go"
            slow = asyncio.ensure_future(ask(execution, f"wait {go}", request_id="r9"))
            await until(lambda: "in _do_wait" in caplog.text)
            await asyncio.sleep(0.2)  # several looks
            go.touch()
            await slow
            assert (await ask(execution, "still there")).text == "still there"

    asyncio.run(run())
    # Another call may have been told of, where it takes long to answer it.
    mine = [record for record in caplog.records if record.__dict__.get("request_id") == "r9"]
    (told,) = [record for record in mine if "has been running" in record.message]
    assert "and goes on" in told.message


@pytest.mark.parametrize("what", ["sleep 3600", "hold"])
def test_a_call_that_hangs_is_ended_and_its_neighbours_are_not_blamed(
    moody: Path, what: str
) -> None:
    async def run() -> None:
        async with opened(moody, replicas=2, run_seconds=0.3) as execution:
            hung = asyncio.ensure_future(ask(execution, what))
            await until(lambda: any(item.in_flight for item in execution.replicas))
            # The other replica answers, and so does the event loop.
            began = time.monotonic()
            assert (await ask(execution, "quick")).text == "quick"
            answered = time.monotonic() - began
            with pytest.raises(Unavailable, match=r"longer than 0\.3 s .*run_seconds"):
                await hung
            assert answered < time.monotonic() - began

    asyncio.run(run())


def test_what_ends_two_replicas_is_refused_until_it_is_cleared(moody: Path) -> None:
    async def run() -> None:
        quick = partial(Backoff, first=0.01)
        async with opened(moody, replicas=2, retry=True, backoff=quick) as execution:
            with pytest.raises(Unavailable, match="SIGSEGV"):
                await ask(execution, "crash")
            (entry,) = execution.quarantine.entries()
            assert entry.method == "run"
            assert "SIGSEGV" in entry.reason
            await until(lambda: all(item.state == "ready" for item in execution.replicas))
            before = {item.pid for item in execution.replicas}
            with pytest.raises(FailedPrecondition, match=entry.digest):
                await ask(execution, "crash")
            assert {item.pid for item in execution.replicas} == before
            assert execution.quarantine.entries()[0].refused == 1
            assert execution.quarantine.clear(entry.digest) == 1
            with pytest.raises(Unavailable, match="SIGSEGV"):
                await ask(execution, "crash", metadata=[(b"kitfox-retry", b"false")])

    asyncio.run(run())


def test_company_of_a_killer_is_not_refused(moody: Path, tmp_path: Path) -> None:
    """Three calls are in a replica when one of them ends it: the innocent ones get through."""

    async def run() -> None:
        async with opened(moody, replicas=2, threads=3, retry=True) as execution:
            go = tmp_path / "go"
            waits = [asyncio.ensure_future(ask(execution, f"wait {go}")) for _ in range(4)]
            await until(lambda: [item.in_flight for item in execution.replicas] == [2, 2])
            await until((tmp_path / "go.begun").exists)
            killer = asyncio.ensure_future(ask(execution, "crash"))
            await until(lambda: any(item.last_error for item in execution.replicas))
            assert execution.quarantine.watchful
            go.touch()
            assert [said.text for said in await asyncio.gather(*waits)] == [f"wait {go}"] * 4
            with pytest.raises(Unavailable, match="SIGSEGV"):
                await killer
            (entry,) = execution.quarantine.entries()
            assert "SIGSEGV" in entry.reason
            await until(lambda: execution.ready)
            assert (await ask(execution, f"wait {go}")).text == f"wait {go}"

    asyncio.run(run())


def test_streams_end_with_the_reason(moody: Path) -> None:
    async def run() -> None:
        async with opened(moody) as execution:
            with pytest.raises(Unavailable, match="SIGSEGV"):
                await asyncio.to_thread(lambda: list(execution.function("split")(text="9 crash")))
            await until(lambda: execution.ready)
            assert (await ask(execution, "on")).text == "on"

    asyncio.run(run())


def test_asynchronous_calls_fail_too(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(model_folder(tmp_path / "aloof", Aloof)) as execution:
            with pytest.raises(Unavailable, match="SIGSEGV"):
                await execution.function("run")(text="crash")

    asyncio.run(run())


def test_a_replica_that_is_asked_to_end_accuses_nobody(moody: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(moody, backoff=partial(Backoff, first=0.01)) as execution:
            for _ in range(3):
                call = asyncio.ensure_future(ask(execution, f"wait {tmp_path / 'go'}"))
                await until((tmp_path / "go.begun").exists)
                os.kill(execution.replicas[0].pid, signal.SIGTERM)
                with pytest.raises(Unavailable):
                    await call
                (tmp_path / "go.begun").unlink()
                await until(lambda: execution.ready)
            assert execution.quarantine.entries() == []
            assert not execution.quarantine.watchful

    asyncio.run(run())


def test_closing_lets_running_calls_end(moody: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(moody) as execution:
            go = tmp_path / "go"
            call = asyncio.ensure_future(ask(execution, f"wait {go}"))
            await until((tmp_path / "go.begun").exists)
            closing = asyncio.ensure_future(asyncio.to_thread(execution.close))
            # It is not ready any more a little before it takes no calls any more.
            await until(lambda: execution._pool._closed)
            assert not execution.ready
            with pytest.raises(Unavailable, match="is being unloaded"):
                await ask(execution, "too late")
            go.touch()
            assert (await call).text == f"wait {go}"
            await closing

    asyncio.run(run())


def test_closing_on_the_loop_ends_processes_at_once(moody: Path) -> None:
    async def run() -> None:
        async with opened(moody, replicas=2) as execution:
            pids = [item.pid for item in execution.replicas]
            execution.close()
            assert not [pid for pid in pids if alive(pid)]

    asyncio.run(run())


def test_replicas_end_with_the_server(moody: Path, tmp_path: Path) -> None:
    """Even one that never lets go of the interpreter lock, so that it cannot see it."""
    script = f"""
import asyncio
from pathlib import Path
from tests.models.replica_models import ask, opened

async def main():
    async with opened(Path({str(moody)!r}), replicas=2) as execution:
        hung = asyncio.ensure_future(ask(execution, "hold"))
        await asyncio.sleep(0.05)
        print(*(item.pid for item in execution.replicas), flush=True)
        await hung

asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        pids = [int(pid) for pid in server.stdout.readline().split()]
        assert len(pids) == 2
        server.kill()
    wait_for(lambda: not [pid for pid in pids if alive(pid)], what="the end of the replicas")


def test_a_cancelled_call_that_dies_disturbs_nobody(moody: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(moody) as execution:
            context = RequestContext()
            call = execution.unary("run")({"text": f"wait {tmp_path / 'go'}"}, context)
            await until((tmp_path / "go.begun").exists)
            call.cancel()
            context.cancel(Cancelled("gone"))
            os.kill(execution.replicas[0].pid, signal.SIGKILL)
            await until(lambda: execution.replicas[0].restarts and execution.ready)
            assert (await ask(execution, "on")).text == "on"

    asyncio.run(run())
