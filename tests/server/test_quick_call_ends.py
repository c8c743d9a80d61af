"""However a quick call ends, it gives back what it has, once."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from kitfox.config import Server
from kitfox.data import DataObjectBase, codec_of, dataobject
from kitfox.modules import RequestContext
from kitfox.server.calls import Calls
from kitfox.server.quick_calls import QuickCall, QuickWay
from kitfox.server.reply import ReplyForm
from kitfox.services.methods import Finished


@dataobject
class Word(DataObjectBase):
    """What is answered."""

    text: str


class Room:
    """All that a call meets: Envoy's filter, the thread that takes requests, a model."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.calls = Calls(Server(max_concurrent_requests=1))
        self.answers: list[Any] = []
        self.going_on: list[QuickCall] = []
        self.released: list[Any] = []
        self.begins = True
        self.body = b"{}"
        self.gone = False
        self.while_it_reads: Callable[[], None] = lambda: None
        form: ReplyForm[Any] = ReplyForm(
            encode=cast("Any", codec_of(Word).encode_json),
            most=100,
            messages=lambda known, payload: ({"head": known}, {"body": payload}),
            count=lambda known, started: None,
        )
        # Each of these is this room.
        here: Any = self
        way = QuickWay(
            answer=here,
            read=self.read,
            most=1000,
            handler=here,
            form=form,
            calls=self.calls,
        )
        self.call = QuickCall(way, {}, here, here, context=RequestContext(), known=None)

    def read(self, body: bytes, context: Any) -> dict[str, Any]:
        self.while_it_reads()
        return {}

    def begin(self, fields: Any, context: Any, waiter: Any, finish: Any) -> bool:
        """The handler's."""
        self.finish = finish
        waiter.model = self
        return self.begins

    def release(self, context: Any) -> None:
        """The model's."""
        self.released.append(context)

    def answer(self, messages: Any) -> None:
        """The filter's."""
        self.answers.append(messages)

    def go_on(self, call: QuickCall) -> None:
        """The thread's."""
        self.going_on.append(call)


@pytest.fixture
def room() -> Iterator[Room]:
    loop = asyncio.new_event_loop()
    yield Room(loop)
    loop.close()


def test_an_answer_gives_all_back(room: Room) -> None:
    assert room.call.begin()
    assert len(room.calls) == 1
    room.call.bring(room.finish(Word(text="x")))
    assert len(room.answers) == 1
    assert len(room.released) == 1
    assert len(room.calls) == 0
    assert room.going_on == []


def test_one_that_goes_on_keeps_its_place(room: Room) -> None:
    """Else more of them than may be would pile up behind an event loop that somebody blocks."""
    assert room.call.begin()
    room.call.bring(room.finish(Word(text="x" * 200)))
    assert room.going_on == [room.call]
    assert isinstance(room.call.outcome(), Finished)
    assert len(room.released) == 1
    assert room.calls.are_full
    room.call.leave()
    assert not room.calls.are_full


@pytest.mark.parametrize("begins", [True, False])
def test_one_that_is_given_up_while_it_begins_keeps_no_model(room: Room, begins: bool) -> None:
    room.begins = begins
    room.while_it_reads = room.call.cancel
    assert room.call.begin()
    assert len(room.released) == 1
    assert room.going_on == [room.call]


def test_one_that_is_none_is_as_if_it_had_never_been(room: Room) -> None:
    room.begins = False
    assert not room.call.begin()
    assert len(room.released) == 1
    assert len(room.calls) == 0
    assert room.going_on == []


def test_one_whose_client_is_gone_takes_no_place_in_a_queue(room: Room) -> None:
    """A crowd that leaves at once must not have the queue refuse others until it is looked at."""
    assert room.call.begin()
    assert not room.call.cancelled()
    room.gone = True
    assert room.call.cancelled()
    room.call.cancel()
    assert len(room.released) == 1
    assert room.going_on == [room.call]


def test_one_that_is_over_is_not_given_up(room: Room) -> None:
    assert room.call.begin()
    room.call.set_exception(ValueError("the model's"))
    room.gone = True
    room.call.look()
    assert room.call.context.reason is None
    with pytest.raises(ValueError, match="the model's"):
        room.call.outcome()
