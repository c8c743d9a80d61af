"""An answer is sent once: by the thread that has the result, or by the loop that has a failure."""

import asyncio
import threading
import time
from collections import Counter
from typing import Any, cast

import pytest

from kitfox.data import DataObjectBase, codec_of, dataobject
from kitfox.server.reply import SENT, Reply, ReplyForm, takes_any_thread
from kitfox.services.methods import Finished
from tests.server.shapes import ShapesServer, model, request
from tests.waiting import wait_for


@dataobject
class Said(DataObjectBase):
    """What was said."""

    text: str


class Engine:
    """Notes what is sent, and that each call was counted before."""

    def __init__(self, *, fails: bool = False) -> None:
        self.seen: list[str] = []
        self.form: ReplyForm[str] = ReplyForm(
            encode=cast("Any", codec_of(Said).encode_json),
            most=100,
            messages=lambda known, payload: ({"head": known}, {"body": payload}),
            count=lambda known, started: self.seen.append(f"count {known}"),
        )
        self._fails = fails

    def reply(self) -> "Reply[str]":
        """An answer to a call."""
        return Reply(self.form, self.send, "it", 0.0)

    def send(self, message: Any) -> Any:
        """ASGI's, as Envoy has it: done when it is called."""
        if self._fails:
            raise OSError("the client is gone")
        self.seen.append(next(iter(message)))


def test_a_result_is_counted_and_sent() -> None:
    engine = Engine()
    reply = engine.reply()
    assert reply.finish(Said(text="x")) is SENT
    assert engine.seen == ["count it", "head", "body"]
    assert not reply.claim()
    asyncio.run(reply.over())


def test_a_failure_that_comes_first_is_the_answer() -> None:
    engine = Engine()
    reply = engine.reply()
    assert reply.claim()
    assert reply.finish(Said(text="x")) == Finished(b'{"text":"x"}')
    assert engine.seen == []


def test_a_client_that_is_gone_harms_nobody() -> None:
    assert Engine(fails=True).reply().finish(Said(text="x")) is SENT


@pytest.mark.parametrize("result", ["no data object", None, b"bytes"])
def test_what_is_no_result_is_left_to_others(result: Any) -> None:
    engine = Engine()
    reply = engine.reply()
    assert reply.finish(result) is result
    assert engine.seen == []
    assert reply.claim()


def test_what_cannot_be_written_is_left_to_others() -> None:
    wrong, engine = Said(text=object()), Engine()  # type: ignore[arg-type]
    assert engine.reply().finish(wrong) is wrong
    assert engine.seen == []


def test_a_large_answer_goes_another_way() -> None:
    engine = Engine()
    reply = engine.reply()
    finished = reply.finish(Said(text="x" * 100))
    assert isinstance(finished, Finished)
    assert finished.payload is not None
    assert len(finished.payload) > 100
    assert reply.claim()


def test_the_loop_waits_for_a_thread_that_sends() -> None:
    engine, going = Engine(), threading.Event()
    send = engine.send

    def slowly(message: Any) -> Any:
        going.set()
        time.sleep(0.05)
        send(message)

    reply = Reply(engine.form, slowly, "it", 0.0)
    thread = threading.Thread(target=reply.finish, args=(Said(text="x"),))
    thread.start()
    assert going.wait(60)
    assert not reply.claim()
    asyncio.run(reply.over())
    assert engine.seen == ["count it", "head", "body"]
    thread.join()


def test_only_envoy_takes_messages_from_any_thread() -> None:
    async def send(message: Any) -> None:
        """As other servers have it."""

    assert not takes_any_thread(send)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain", "asynchronous"])
def test_deadlines_that_pass_as_the_answer_is_made(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    """Each call has one outcome, and is counted once; the connection is as good as before."""
    server = ShapesServer.make(tmp_path_factory.mktemp("deadlines"), SERVER_ENGINE="auto")
    server.start()
    outcomes: Counter[str] = Counter()
    with server.channel() as channel:
        one = server.method(channel, "one")
        for number in range(600):
            call = one.future(
                request("one", text=str(number)), metadata=model(name), timeout=number % 50 / 1e4
            )
            if (error := call.exception()) is None:
                assert call.result().text == str(number)
            outcomes["OK" if error is None else error.code().name] += 1
        assert one(request("one", text="after"), metadata=model(name)).text == "after"
    wait_for(lambda: server.in_flight() == 0, what="all calls to end")
    assert outcomes.keys() <= {"OK", "DEADLINE_EXCEEDED"}, outcomes
    assert server.stop() == 0, server.log
