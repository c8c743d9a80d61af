"""The parts of replicas that need no process: suspicion, restarts, frames."""

import asyncio
import pickle
import socket
from pathlib import Path
from typing import Any

import pytest

from kitfox.errors import FailedPrecondition
from kitfox.models.identity import Files
from kitfox.models.quarantine_notes import QuarantineNotes, RefusedRequest
from kitfox.models.quarantines import Quarantines
from kitfox.models.replicas.frames import BrokenFrame, FrameReader, pack, send_all
from kitfox.models.replicas.quarantine import Quarantine, digest_of
from kitfox.models.replicas.supervisor import Backoff, Place, Supervisor
from tests.models.replica_models import until

# -- quarantine


def test_alone_twice_is_guilty() -> None:
    quarantine = Quarantine()
    assert not quarantine.accuse("d", "run", "first", alone=True)
    assert quarantine.suspects("d")
    quarantine.check("d")
    assert quarantine.accuse("d", "run", "second", alone=True)
    with pytest.raises(FailedPrecondition, match="second"):
        quarantine.check("d")
    assert not quarantine.suspects("d")


def test_company_alone_proves_nothing() -> None:
    quarantine = Quarantine()
    for _ in range(10):
        assert not quarantine.accuse("d", "run", "crash", alone=False)
    assert quarantine.accuse("d", "run", "crash", alone=True)


def test_what_ends_well_is_cleared() -> None:
    quarantine = Quarantine()
    for _ in range(10):
        assert not quarantine.accuse("d", "run", "crash", alone=True)
        quarantine.acquit("d")
        assert not quarantine.watchful


def test_deaths_from_outside_count_little() -> None:
    quarantine = Quarantine()
    found = [quarantine.accuse("d", "run", "x", alone=True, from_outside=True) for _ in range(5)]
    assert found == [False, False, False, False, True]


def test_what_is_kept_is_bounded() -> None:
    quarantine = Quarantine()
    for index in range(3000):
        quarantine.accuse(f"d{index}", "run", "x", alone=True)
        quarantine.accuse(f"d{index}", "run", "x", alone=True)
        quarantine.accuse(f"s{index}", "run", "x", alone=False)
    entries = quarantine.entries()
    assert len(entries) == 1000
    assert entries[-1].digest == "d2999"
    assert sum(quarantine.suspects(f"s{index}") for index in range(3000)) == 1000
    assert quarantine.clear() == 1000
    assert not quarantine.watchful


def files(name: str = "files") -> Files:
    """What might lie at the place of a model."""
    return Files(marks=frozenset({(name, 1, 2, 3, 4)}), size=4)


def test_a_quarantine_belongs_to_a_model_and_its_files() -> None:
    kept = Quarantines()
    first = kept.of("fox", files())
    assert kept.of("hen", files()) is not first
    second = kept.of("fox", files("other files"))
    assert second is not first
    assert kept.find("fox") is second
    assert kept.of("fox", files()) is first is kept.find("fox")
    assert kept.find("owl") is None
    for index in range(2000):
        kept.of(f"owl{index}", files())
    assert kept.find("fox") is None
    assert kept.find("owl1500") is not None


def convict(kept: Quarantines, model_id: str, *digests: str) -> None:
    quarantine = asyncio.run(kept.recall(model_id, files()))
    for digest in digests * 2:
        quarantine.accuse(digest, "run", "killed by SIGSEGV", alone=True)
    kept.close()


def refused(notes: QuarantineNotes, model_id: str, name: str = "files") -> list[str]:
    """What a server refuses that has just been started."""
    quarantine = asyncio.run(Quarantines(notes).recall(model_id, files(name)))
    return [entry.digest for entry in quarantine.entries()]


def test_a_quarantine_outlives_the_server(tmp_path: Path) -> None:
    notes = QuarantineNotes(tmp_path / "notes")
    convict(Quarantines(notes), "fox", "a", "b")
    assert refused(notes, "fox") == ["a", "b"]
    assert refused(notes, "fox", "other files") == refused(notes, "hen") == []
    kept = Quarantines(notes)
    quarantine = asyncio.run(kept.recall("fox", files()))
    with pytest.raises(FailedPrecondition, match="killed by SIGSEGV"):
        quarantine.check("a")
    assert quarantine.clear("a") == 1
    kept.close()
    assert refused(notes, "fox") == ["b"]
    kept = Quarantines(notes)
    found = asyncio.run(kept.recall_if_any("fox", files()))
    assert found is not None
    found.clear()
    kept.close()
    assert not list((tmp_path / "notes").iterdir())


def test_notes_of_a_quarantine_are_bounded_and_may_be_broken(tmp_path: Path) -> None:
    notes = QuarantineNotes(tmp_path)
    requests = [RefusedRequest(digest="d", method="run", reason="x", since=1.0)]
    for index in range(1005):
        (tmp_path / f"old-{index}").touch()
    notes.write("fox", files(), requests)
    assert notes.read("fox", files()) == requests
    assert len(list(tmp_path.iterdir())) == 1000
    (note,) = [path for path in tmp_path.iterdir() if path.stat().st_size]
    note.write_bytes(note.read_bytes()[:-1])
    assert notes.read("fox", files()) == []
    (tmp_path / "file").touch()
    QuarantineNotes(tmp_path / "file").write("fox", files(), requests)


def test_equal_requests_have_equal_digests() -> None:
    text = "a text"
    twin = "".join(list(text))
    assert digest_of("run", {"a": text, "b": text}) == digest_of("run", {"a": text, "b": twin})
    assert digest_of("run", {"a": text}) != digest_of("other", {"a": text})
    assert digest_of("run", {"a": text}) != digest_of("run", {"a": "another"})
    assert digest_of("run", {"a": lambda: 0}) == ""


# -- restarts


def test_pauses_double_until_a_process_lives() -> None:
    backoff = Backoff(first=0.1, most=1.0, healthy=10)
    assert [backoff.after(1.0) for _ in range(5)] == [0.1, 0.2, 0.4, 0.8, 1.0]
    assert backoff.after(11.0) == 0.1


class Nothing:
    """A process that does nothing, and ends when it is told."""

    def __init__(self, *, starts: bool = True) -> None:
        self.starts = starts
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        if not self.starts:
            raise RuntimeError("does not start")

    async def wait(self) -> str:
        return await self.ended

    def kill(self) -> None:
        self.ended.set_result("killed")


def test_the_supervisor_replaces_what_ends() -> None:
    async def run() -> None:
        made: list[Nothing] = []
        pauses: list[float] = []
        states: list[str] = []
        starts = iter([True, True, False, False, True])

        def make(index: int) -> Nothing:
            made.append(Nothing(starts=next(starts)))
            return made[-1]

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)
            await asyncio.sleep(0)

        def note(place: Place) -> None:
            states.append(f"{place.index} {place.state}")

        supervisor = Supervisor(2, make=make, on_change=note, sleep=sleep)
        await supervisor.start()
        await until(lambda: len(states) == 4)
        made[0].ended.set_result("it fell over")
        await until(lambda: len(made) == 5 and supervisor.places[0].state == "ready")
        assert pauses == [0.1, 0.2, 0.4]
        assert supervisor.places[0].restarts == 3
        assert supervisor.places[0].last_error == "does not start"
        assert supervisor.places[1].restarts == 0
        await supervisor.stop()
        assert [place.state for place in supervisor.places] == ["stopped", "stopped"]

    asyncio.run(run())


def test_when_the_first_does_not_start_nothing_does() -> None:
    async def run() -> None:
        supervisor = Supervisor(2, make=lambda _: Nothing(starts=False), on_change=lambda _: None)
        with pytest.raises(RuntimeError, match="does not start"):
            await supervisor.start()

    asyncio.run(run())


# -- frames


class Unreadable:
    def __reduce__(self) -> tuple[Any, ...]:
        return _refuse, ()


def _refuse() -> None:
    raise LookupError("not here")


@pytest.mark.parametrize("sizes", [[0], [10, 70_000], [300_000, 1, 2_000_000], [64 * 1024] * 5])
def test_frames_come_out_as_they_went_in(sizes: list[int]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        reader = FrameReader(ours)
        messages = [
            (index, "text", b"b" * size, pickle.PickleBuffer(bytearray(b"a" * size)))
            for index, size in enumerate(sizes)
        ]
        sent = pack(messages)

        async def run() -> list[Any]:
            sending = asyncio.ensure_future(asyncio.to_thread(send_all, theirs, sent * 2))
            found: list[Any] = []
            while len(found) < 2 * len(sizes):
                try:
                    found += reader.read()
                except BlockingIOError:
                    await asyncio.sleep(0)
            await sending
            return found

        found = asyncio.run(run())
        for got, size in zip(found, sizes * 2, strict=True):
            assert got[2] == b"b" * size
            assert bytes(got[3]) == b"a" * size


def test_a_frame_that_cannot_be_read_is_named() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = FrameReader(ours)
        for chunks in (pack([(1,)]), pack([(2, Unreadable())], call=7), pack([(3,)])):
            send_all(theirs, chunks)
        first, broken, last = reader.read()
        assert (first, last) == ((1,), (3,))
        assert isinstance(broken, BrokenFrame)
        assert (broken.frame, broken.call) == (1, 7)
        assert "not here" in str(broken.error)
        theirs.close()
        with pytest.raises(EOFError):
            reader.read()
