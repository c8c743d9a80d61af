"""Streams keep their order and their bounds, and end whoever works for them."""

import asyncio
import pickle
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from kitfox.models import RequestFeed, ThreadExecutor, collect, generate, split
from kitfox.models.replicas.feed import ReplicaFeed
from kitfox.modules import RequestContext
from tests.waiting import wait_for

LARGE = b"x" * 100_000


@asynccontextmanager
async def executor() -> AsyncIterator[ThreadExecutor]:
    made = ThreadExecutor(threads=4, loop=asyncio.get_running_loop())
    try:
        yield made
    finally:
        made.close()


async def sent(*messages: bytes) -> AsyncIterator[bytes]:
    for message in messages:
        await asyncio.sleep(0)
        yield message


class Source:
    """A generator that tells how far it is."""

    def __init__(self, count: int, item: bytes = b"x") -> None:
        self.made = 0
        self.closed = threading.Event()
        self._count = count
        self._item = item

    def __call__(self) -> Iterator[bytes]:
        try:
            for _ in range(self._count):
                self.made += 1
                yield self._item
        finally:
            self.closed.set()

    async def asynchronous(self) -> AsyncIterator[bytes]:
        try:
            for _ in range(self._count):
                self.made += 1
                yield self._item
        finally:
            self.closed.set()


def identity(item: bytes) -> bytes:
    return item


def test_results_keep_their_order_and_leave_together() -> None:
    async def scenario() -> list[list[bytes]]:
        async with executor() as pool:
            batches = generate(
                lambda: (b"%d" % number for number in range(5000)),
                encode=identity,
                executor=pool,
                context=RequestContext(),
            )
            return [batch async for batch in batches]

    batches = asyncio.run(scenario())
    assert [item for batch in batches for item in batch] == [b"%d" % n for n in range(5000)]
    assert len(batches) < 2500


@pytest.mark.parametrize("asynchronous", [False, True])
def test_no_more_is_made_than_there_is_room_for(asynchronous: bool) -> None:
    async def scenario() -> None:
        source = Source(1000, LARGE)
        async with executor() as pool:
            batches = (
                collect(source.asynchronous(), encode=identity)
                if asynchronous
                else generate(source, encode=identity, executor=pool, context=RequestContext())
            )
            async with aclosing(batches):
                await anext(batches)
                await asyncio.sleep(0.2)
                assert source.made < 20
                # Nobody takes the rest: a thread that made results is free for other work.
                assert pool.has_room
            await asyncio.to_thread(source.closed.wait, 30)
            assert source.closed.is_set()

    asyncio.run(scenario())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_was_made_before_a_failure_is_given_first(asynchronous: bool) -> None:
    def fail() -> Iterator[bytes]:
        yield b"a"
        yield b"b"
        raise LookupError("no c")

    async def fail_later() -> AsyncIterator[bytes]:
        for item in fail():
            yield item

    async def scenario() -> list[bytes]:
        found: list[bytes] = []
        async with executor() as pool:
            batches = (
                collect(fail_later(), encode=identity)
                if asynchronous
                else generate(fail, encode=identity, executor=pool, context=RequestContext())
            )

            async def take() -> None:
                async for batch in batches:
                    found.extend(batch)

            with pytest.raises(LookupError, match="no c"):
                await take()
        return found

    assert asyncio.run(scenario()) == [b"a", b"b"]


def test_requests_wait_within_bounds_and_keep_their_order() -> None:
    async def scenario() -> None:
        taken = 0

        async def messages() -> AsyncIterator[bytes]:
            nonlocal taken
            for number in range(200):
                taken += 1
                yield b"%d" % number + LARGE

        feed: RequestFeed[int] = RequestFeed(messages(), lambda data: int(data[: -len(LARGE)]))
        await asyncio.sleep(0.1)
        assert taken < 10
        assert await asyncio.to_thread(lambda: list(feed)) == list(range(200))
        await feed.aclose()

    asyncio.run(scenario())


def test_a_reader_that_waits_is_woken_by_the_end() -> None:
    async def scenario() -> None:
        async def never() -> AsyncIterator[bytes]:
            await asyncio.Event().wait()
            yield b""

        feed: RequestFeed[bytes] = RequestFeed(never(), identity)
        reader = asyncio.create_task(asyncio.to_thread(lambda: next(feed)))
        await asyncio.sleep(0.05)
        feed.close(TimeoutError("too late"))
        with pytest.raises(TimeoutError, match="too late"):
            await reader
        await feed.aclose()

    asyncio.run(scenario())


def test_the_event_loop_is_never_made_to_wait() -> None:
    async def scenario() -> None:
        feed: RequestFeed[bytes] = RequestFeed(sent(b"a"), identity)
        with pytest.raises(RuntimeError, match="async for"):
            next(feed)
        await feed.aclose()

    asyncio.run(scenario())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_parameters_of_one_stream_are_read_side_by_side(asynchronous: bool) -> None:
    """Each sees all its values, however far another has been read."""
    numbers = {b"%d" % n: {"left": n, "right": -n} for n in range(1, 4)}

    async def scenario() -> tuple[list[Any], list[Any]]:
        feed = RequestFeed(sent(*numbers), numbers.__getitem__)
        first = await anext(feed)
        streams = split(feed, first, ["left", "right"])
        if asynchronous:
            found = (
                [value async for value in streams["left"]],
                [value async for value in streams["right"]],
            )
        else:
            found = await asyncio.to_thread(lambda: (list(streams["left"]), list(streams["right"])))
        await feed.aclose()
        return found

    assert asyncio.run(scenario()) == ([1, 2, 3], [-1, -2, -3])


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    ("most", "expected"), [(0, [[0], [1, 2, 3, 4, 5]]), (3, [[0], [1, 2, 3], [4, 5]])]
)
def test_a_slow_reader_gets_all_that_came_meanwhile(
    *, asynchronous: bool, most: int, expected: list[list[int]]
) -> None:
    async def scenario() -> list[list[int]]:
        come, found = asyncio.Event(), list[list[int]]()
        loop = asyncio.get_running_loop()
        read = threading.Event()

        async def messages() -> AsyncIterator[bytes]:
            yield b"0"
            await come.wait()
            for number in range(1, 6):
                yield b"%d" % number
            loop.call_later(0.02, read.set)

        feed = RequestFeed(messages(), lambda data: {"n": int(data)})
        stream = split(feed, None, ["n"])["n"].batches(most)

        def note(batch: list[int]) -> None:
            found.append(batch)
            loop.call_soon_threadsafe(come.set)

        def read_in_thread() -> None:
            for batch in stream:
                note(batch)
                assert read.wait(30)

        if asynchronous:
            async for batch in stream:
                note(batch)
                await asyncio.to_thread(read.wait, 30)
        else:
            await asyncio.to_thread(read_in_thread)
        await feed.aclose()
        return found

    assert asyncio.run(scenario()) == expected


def test_a_replica_reads_what_has_come_too() -> None:
    feed = ReplicaFeed(["n"], want=lambda _: None, window=10**6, waiting=lambda _: None)
    feed.put([pickle.dumps((number,)) for number in range(3)])
    stream = split(feed, {"n": -1}, ["n"])["n"]
    read = iter(stream.batches(3))
    assert next(read) == [-1, 0, 1]
    feed.put([pickle.dumps((3,))])
    feed.end(None)
    assert list(read) == [[2, 3]]


def test_a_generator_whose_caller_is_gone_makes_one_more_result_at_most() -> None:
    async def scenario() -> None:
        context = RequestContext()
        going, seen = threading.Event(), []

        def slow() -> Iterator[bytes]:
            for number in range(1000):
                seen.append(number)
                going.set()
                context_gone.wait(30)
                yield b"x"

        context_gone = threading.Event()
        async with executor() as pool:
            batches = generate(slow, encode=identity, executor=pool, context=context)
            waiting = asyncio.create_task(anext(batches))
            await asyncio.to_thread(going.wait, 30)
            waiting.cancel()
            await asyncio.wait([waiting])
            context_gone.set()
            await asyncio.to_thread(wait_for, lambda: len(seen) <= 1, what="the generator to end")
        assert seen == [0]

    asyncio.run(scenario())


class Tardy:
    """An executor of which nobody knows when its threads are done, until it says so."""

    def __init__(self) -> None:
        self.untold: list[asyncio.Future[None]] = []

    def submit(
        self, work: Callable[..., Any], arguments: dict[str, Any], context: RequestContext
    ) -> "asyncio.Future[None]":
        work(**arguments)
        self.untold.append(asyncio.get_running_loop().create_future())
        return self.untold[-1]

    resume = submit


def test_an_iterator_that_has_just_left_off_for_want_of_room_is_closed() -> None:
    class Endless:
        closed = False

        def __iter__(self) -> "Endless":
            return self

        def __next__(self) -> bytes:
            return LARGE

        def close(self) -> None:
            self.closed = True

    async def scenario() -> None:
        endless, tardy, context = Endless(), Tardy(), RequestContext()
        executor: Any = tardy
        batches = generate(lambda: endless, encode=identity, executor=executor, context=context)
        assert await anext(batches)
        await batches.aclose()
        assert not endless.closed  # for all that is known it may be in use
        (run,) = tardy.untold
        run.set_result(None)
        await asyncio.sleep(0)
        assert endless.closed

    asyncio.run(scenario())


def test_a_stream_that_wants_to_end_the_process_fails_alone() -> None:
    async def fail_later() -> AsyncIterator[bytes]:
        yield b"a"
        raise SystemExit(3)

    async def scenario() -> None:
        batches = collect(fail_later(), encode=identity)
        assert await anext(batches) == [b"a"]
        with pytest.raises(RuntimeError, match=r"the module called sys\.exit\(3\)"):
            await anext(batches)

    asyncio.run(scenario())
