"""An answer is sent once: by the thread that has the result, or by the loop that has a failure."""

import asyncio
import http.client
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, cast

import pytest

from kitfox.config import Server
from kitfox.data import DataObjectBase, codec_of, dataobject
from kitfox.modules import RequestContext
from kitfox.server.calls import Call, Calls
from kitfox.server.reply import SENT, Reply, ReplyForm, deliver_with, takes_any_thread
from kitfox.services.methods import Finished
from tests.server.conftest import Start
from tests.server.shapes import MODELS, ShapesServer
from tests.server.small_server import get
from tests.waiting import wait_for

CALLERS = 4


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
        self.calls = Calls(Server())
        self.call = Call(self.calls, RequestContext())
        self._fails = fails

    def reply(self) -> "Reply[str]":
        """An answer to a call."""
        return Reply(self.form, deliver_with(self.send), self.call, "it", 0.0)

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

    reply = Reply(engine.form, deliver_with(slowly), engine.call, "it", 0.0)
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


def test_envoy_takes_messages_from_any_thread(start: Start) -> None:
    """Else every answer would take the longer way, and nobody would notice."""
    server = start()
    assert get(server.ready()["ports"][1], "/from-a-thread") == b"from a thread"


@pytest.fixture(scope="module", params=["envoy", "hypercorn"])
def shapes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ShapesServer]:
    """A server with room for a few requests, on each engine."""
    made = ShapesServer.make(
        tmp_path_factory.mktemp("shapes"),
        SERVER_ENGINE=request.param,
        SERVER_MAX_CONCURRENT_REQUESTS=str(CALLERS),
    )
    made.start()
    yield made
    assert made.stop() == 0, made.log


def counted(server: ShapesServer) -> Counter[str]:
    """The calls of `one`, by their outcome."""
    found: Counter[str] = Counter()
    pattern = r'predict_rpc_count_total\{code="(\w+)",grpc_request="TalkTaskPredict".*\} (\S+)'
    for code, count in re.findall(pattern, server.metrics()):
        found[code] += int(float(count))
    return found


def ask(connection: http.client.HTTPConnection, name: str, seconds: float) -> int:
    """Calls `one` over REST; gives the status."""
    body = json.dumps({"inputs": "w", "model_id": name})
    headers = {"content-type": "application/json", "request-timeout": f"{seconds:.6f}"}
    connection.request("POST", "/api/v1/task/talk", body, headers)
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status in (200, 504), content
    return answer.status


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_deadlines_that_pass_as_the_answer_is_made(shapes: ShapesServer, name: str) -> None:
    """Each call has one outcome, and is counted once; the connection is as good as before."""
    before, outcomes = counted(shapes), Counter[int]()
    with closing(http.client.HTTPConnection("127.0.0.1", shapes.http_port)) as connection:
        for number in range(600):
            outcomes[ask(connection, name, (number % 40 + 1) / 1e4)] += 1
        assert ask(connection, name, 60.0) == 200
    outcomes[200] += 1
    found = counted(shapes) - before
    assert found == Counter({"OK": outcomes[200], "DEADLINE_EXCEEDED": outcomes[504]})
    wait_for(lambda: shapes.in_flight() == 0, what="all calls to end")


@pytest.mark.slow
def test_who_has_an_answer_may_call_again(shapes: ShapesServer) -> None:
    """As many callers as there may be requests, one call after another each: none is refused."""

    def call(_: int) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", shapes.http_port)) as connection:
            for _number in range(300):
                assert ask(connection, "plain", 60.0) == 200

    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(call, range(CALLERS)))
