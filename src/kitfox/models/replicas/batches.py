"""The batches of one replica: what waits in it goes together, as it does in the server."""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from kitfox.models.batch_executor import BatchExecutor
from kitfox.models.batch_queue import BatchCall
from kitfox.models.batch_runner import Outcome
from kitfox.models.batch_shape import BatchShape
from kitfox.models.loop_batches import LoopBatches
from kitfox.models.pace import Pace
from kitfox.models.permits import Permits
from kitfox.models.replicas.page import Notes
from kitfox.models.replicas.runners import Places
from kitfox.models.tuning import PlanSpace, Tuner, batch_sizes
from kitfox.modules import ModuleBase, RequestContext

__all__ = ["BatchSettings", "Batches"]

# The most batches that run at the same time where measurement finds how many.
_MOST_ON_LOOP = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSettings:
    """What is configured of batches; see `models.execution`."""

    max_size: int = 0
    max_delay: float = 0.0
    max_weight: float = 0.0
    weight: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As it travels."""
        return asdict(self)


class _Ticket:
    """Stands for a call of the server's: either it is begun or it is withdrawn."""

    __slots__ = ("_once", "number", "place", "withdrawn")

    def __init__(self, number: int) -> None:
        self.number = number
        self.place = 0
        self.withdrawn = False
        # Taken by one thread: whoever does so decides.
        self._once = [True]

    def begin(self) -> bool:
        """Begins it; false if it has been withdrawn."""
        try:
            return self._once.pop()
        except IndexError:
            return False

    def withdraw(self) -> bool:
        """Withdraws it; false if it has been begun."""
        self.withdrawn = self.begin()
        return self.withdrawn

    def cancelled(self) -> bool:
        """Whether it was withdrawn."""
        return self.withdrawn


class _LoopTicket(_Ticket):
    """The same for a call that runs on the event loop, where it ends if it is given up."""

    __slots__ = ("_callbacks", "_given_up", "_loop")

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(number)
        self._callbacks: list[Callable[[_LoopTicket], object]] = []
        self._given_up = False
        self._loop = loop

    def give_up(self) -> None:
        """Tells that nobody waits for it any more, though it has been begun; in any thread."""
        self._loop.call_soon_threadsafe(self._end)

    def cancelled(self) -> bool:
        """Whether it was withdrawn or given up."""
        return self.withdrawn or self._given_up

    def add_done_callback(self, callback: "Callable[[_LoopTicket], object]") -> None:
        """Has a function called when it is given up."""
        self._callbacks.append(callback)

    def _end(self) -> None:
        self._given_up = True
        for callback in self._callbacks:
            callback(self)


class Batches:
    """Runs the calls of one method: in threads or, if it is `async def`, on the event loop.

    Args:
        model: The model.
        shape: How calls are joined.
        settings: What is configured.
        threads: How many batches run at the same time.
        loop: Where the pace is looked after, and `async def` methods run.
        notes: Where it is noted what runs.
        places: Where calls get their places on the page.
        permits: What a batch must have to run; None, of an `async def` method: nothing, and how
            many run at the same time is found by measurement.
        prepare: Called before calls are run, with the number of calls at a time.
        finish: Called with the number of a call, its result and its error, when it is over.
        flush: Called after that.
    """

    def __init__(
        self,
        model: ModuleBase,
        shape: BatchShape,
        *,
        settings: BatchSettings,
        threads: int,
        loop: asyncio.AbstractEventLoop,
        notes: Notes,
        places: Places,
        permits: Permits | None,
        prepare: Callable[[int], None] | None,
        finish: Callable[[int, Any, BaseException | None], None],
        flush: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._notes = notes
        self._places = places
        self._finish = finish
        self._flush = flush
        self._tickets: dict[int, _Ticket] = {}
        self._on_loop = shape.is_async
        sizes = batch_sizes(settings.max_size)
        self._most = max(size for size, _ in sizes)
        space = PlanSpace(
            most_parallel=_MOST_ON_LOOP if permits is None else threads,
            cores=threads,
            fixed_parallel=permits is not None,
            sizes=sizes,
            start=1,
        )
        tuner = Tuner(space)
        make = LoopBatches if shape.is_async else partial(BatchExecutor, prepare=prepare)
        self._executor: BatchExecutor | LoopBatches = make(
            model,
            shape,
            plan=tuner.plan,
            loop=loop,
            name="runner",
            max_delay=settings.max_delay,
            max_weight=settings.max_weight,
            permits=permits,
            claim=self._claim,
            deliver=self._deliver,
        )
        # How many may wait is the server's business.
        self._pace = Pace("runner", self._executor, tuner, queue_limit=sys.maxsize, loop=loop)

    @property
    def together(self) -> int:
        """How many calls can be run at the same time, as things are."""
        return self._executor.plan.parallel * self._most

    @property
    def sizes(self) -> Sequence[int]:
        """Its batches by size."""
        return self._executor.sizes

    @property
    def calls(self) -> int:
        """The calls in these."""
        return self._executor.calls

    @property
    def queue_seconds(self) -> float:
        """The seconds that calls have waited, together."""
        return self._executor.queue_seconds

    def add(self, calls: Sequence[tuple[int, Mapping[str, Any], RequestContext]]) -> None:
        """Takes calls: number, arguments, context."""
        now, queued = time.monotonic(), []
        for number, arguments, context in calls:
            ticket = self._tickets[number] = self._ticket(number, context)
            queued.append(BatchCall(arguments, ticket, context, now))
        if self._on_loop:
            self._loop.call_soon_threadsafe(self._queue, queued)
        else:
            self._queue(queued)

    def withdraw(self, number: int) -> bool:
        """Takes a call back that nobody has begun; tells whether it was there."""
        ticket = self._tickets.get(number)
        if ticket is None or not ticket.withdraw():
            return False
        del self._tickets[number]
        return True

    def _ticket(self, number: int, context: RequestContext) -> _Ticket:
        if not self._on_loop:
            return _Ticket(number)
        ticket = _LoopTicket(number, self._loop)
        # Here, in the thread that is told of cancellations, so that none is missed.
        context.on_cancel(ticket.give_up)
        return ticket

    def _queue(self, calls: Sequence[BatchCall]) -> None:
        self._executor.add(calls)
        if self._executor.waiting > self._executor.threshold:
            self._loop.call_soon_threadsafe(self._pace.check)

    def _claim(self, call: BatchCall) -> bool:
        ticket: _Ticket = call.future
        if not ticket.begin():
            return False
        self._notes.note_begun(ticket.number)
        ticket.place = self._places.take()
        self._notes.begin(ticket.place, ticket.number)
        return True

    def _deliver(self, outcomes: list[Outcome]) -> None:
        for call, result, error in outcomes:
            ticket: _Ticket = call.future
            if ticket.place:
                self._places.give_back(ticket.place)
            elif not ticket.begin():
                continue  # it could not be measured, and has been withdrawn
            self._tickets.pop(ticket.number, None)
            self._finish(ticket.number, result, error)
        self._flush()
