"""What is kept of a call: as long as it lasts, and nothing afterwards."""

import asyncio
import gc

import pytest

from kitfox.config import Server
from kitfox.errors import Cancelled, KitfoxError
from kitfox.modules import RequestContext
from kitfox.server.calls import Calls


def test_a_call_that_is_over_needs_no_garbage_collection() -> None:
    async def scenario() -> int:
        calls = Calls(Server())
        with calls.open(RequestContext()):
            pass
        gc.collect()
        gc.disable()
        try:
            for _ in range(100):
                with calls.open(RequestContext()):
                    pass
            return gc.collect()
        finally:
            gc.enable()

    assert asyncio.run(scenario()) == 0


def test_a_call_that_is_over_is_not_cancelled_any_more() -> None:
    async def scenario() -> None:
        context = RequestContext()
        calls = Calls(Server())
        with calls.open(context):
            assert len(calls) == 1
        assert len(calls) == 0
        context.cancel(Cancelled("too late"))
        await asyncio.sleep(0)

    asyncio.run(scenario())


def test_cancelling_a_call_ends_its_wait_with_the_reason() -> None:
    async def scenario() -> None:
        context = RequestContext()
        asyncio.get_running_loop().call_soon(context.cancel, Cancelled("the client went away"))
        calls = Calls(Server())
        with pytest.raises(KitfoxError, match="the client went away"), calls.open(context):
            await asyncio.sleep(60)
        # What the task does next goes on.
        await asyncio.sleep(0)

    asyncio.run(scenario())
