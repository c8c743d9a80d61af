"""How much of answers is kept for clients that do not take them."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from kitfox.config import Server
from kitfox.errors import DeadlineExceeded, ResourceExhausted
from kitfox.server.asgi import Message
from kitfox.server.large_answers import LARGE, LargeAnswers, Outflow

LIMIT = 4_000_000
SIZE = 300_000


class Engine:
    """Takes all that is sent, like Envoy, and knows which requests are over."""

    def __init__(self) -> None:
        self.is_over = False
        self.got = bytearray()
        self.asked = 0

    async def send(self, piece: bytes) -> None:
        self.got += piece

    async def receive(self) -> Message:
        self.asked += 1
        return {"type": "http.disconnect" if self.is_over else "http.request"}


def run(work: Callable[[LargeAnswers], Awaitable[None]]) -> None:
    async def main() -> None:
        await work(LargeAnswers(Server(max_unsent_size=LIMIT, request_seconds=0.1)))

    asyncio.run(main())


async def fill(large: LargeAnswers) -> list[Engine]:
    """Sends answers until no more are taken."""
    engines: list[Engine] = []
    while True:
        engine = Engine()
        try:
            await large.send(b"x" * SIZE, engine.send, receive=engine.receive)
        except ResourceExhausted:
            return engines
        engines.append(engine)


async def wait_for_room(large: LargeAnswers, size: int) -> None:
    """Returns when there is room for so many bytes."""
    deadline = time.monotonic() + 60
    while True:
        try:
            await large.take(size)
        except ResourceExhausted:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        else:
            large.give_back(size)
            return


def test_what_an_engine_has_taken_counts_until_the_request_is_over() -> None:
    async def work(large: LargeAnswers) -> None:
        engines = await fill(large)
        assert len(engines) == LIMIT // SIZE
        assert all(len(engine.got) == SIZE for engine in engines)
        engines[3].is_over = engines[7].is_over = True
        await wait_for_room(large, 2 * SIZE)
        assert len(await fill(large)) == 2

    run(work)


def test_answers_that_are_taken_are_forgotten_without_anybody_who_needs_room() -> None:
    async def work(large: LargeAnswers) -> None:
        engines = await fill(large)
        asked = sum(engine.asked for engine in engines)
        for engine in engines:
            engine.is_over = True
        for _ in range(1200):
            if sum(engine.asked for engine in engines) == asked + len(engines):
                break
            await asyncio.sleep(0.05)
        assert len(await fill(large)) == len(engines)
        assert sum(engine.asked for engine in engines) == asked + len(engines)

    run(work)


def test_an_engine_that_waits_to_say_that_a_request_is_over() -> None:
    """As hypercorn does."""

    async def work(large: LargeAnswers) -> None:
        over = asyncio.Event()

        async def receive() -> Message:
            await over.wait()
            return {"type": "http.disconnect"}

        for _ in range(LIMIT // SIZE):
            await large.send(b"x" * SIZE, Engine().send, receive=receive)
        assert await fill(large) == []
        over.set()
        await wait_for_room(large, LIMIT)

    run(work)


def test_a_client_that_takes_nothing_has_its_answer_given_up() -> None:
    async def work(large: LargeAnswers) -> None:
        async def send(piece: bytes) -> None:
            await asyncio.sleep(60)

        engine = Engine()
        with pytest.raises(DeadlineExceeded, match=r"server\.request_seconds"):
            await large.send(b"x" * SIZE, send, receive=engine.receive)
        engine.is_over = True
        await wait_for_room(large, LIMIT)

    run(work)


@pytest.mark.parametrize("piece", [1000, LARGE + 1, 10 * LARGE])
def test_streams_share_the_room_as_far_as_an_engine_keeps_them(piece: int) -> None:
    async def work(large: LargeAnswers) -> None:
        engines: list[Engine] = []
        flows: list[Outflow] = []

        async def stream() -> None:
            engines.append(Engine())
            flows.append(Outflow(large, engines[-1].receive))
            for _ in range(3_000_000 // piece):
                await flows[-1].send(b"x" * piece, engines[-1].send)

        for _ in range(LIMIT // (1 << 20)):
            await stream()
        with pytest.raises(ResourceExhausted, match=r"server\.max_unsent_size"):
            await stream()
        assert len(engines) == LIMIT // (1 << 20) + 1
        assert len(engines[0].got) == 3_000_000 // piece * piece
        for flow in flows:
            flow.close()
        assert await fill(large) == []
        for engine in engines:
            engine.is_over = True
        await wait_for_room(large, LIMIT)

    run(work)


def test_a_stream_of_little_takes_no_room() -> None:
    async def work(large: LargeAnswers) -> None:
        engines = await fill(large)
        flow = Outflow(large, engines[0].receive)
        for _ in range(10):
            await flow.send(b"x" * (LARGE // 10), engines[0].send)
        flow.close()

    run(work)
