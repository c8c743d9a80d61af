"""Calls to replicas: which replica gets which call, and what becomes of it when that dies.

A call goes to the replica with the fewest; what finds no room waits in one queue. Replicas are sent
somewhat more than they can run, so that they need not wait for the next call: the more, the quicker
calls are.

When a replica dies, calls that it had not begun go to another one unnoticed. Those that it was in
the middle of fail, or are run once more where that is allowed, alone. The page that it shared with
the server tells which is which.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from kitfox import logs
from kitfox.errors import (
    TRY_AGAIN_SECONDS,
    Cancelled,
    KitfoxError,
    ResourceExhausted,
    Unavailable,
)
from kitfox.models.replicas import messages as ids
from kitfox.models.replicas.calls import Call
from kitfox.models.replicas.deaths import Death
from kitfox.models.replicas.failures import failure_of
from kitfox.models.replicas.figures import ReplicaFigures
from kitfox.models.replicas.messages import Message
from kitfox.models.replicas.process import ReplicaProcess
from kitfox.models.replicas.quarantine import Quarantine, digest_of

__all__ = ["Member", "Pool"]

log = logs.channel("MODELS")

_PATIENCE = 0.8
"""How many seconds calls wait for a replica when there is none: answers come within a second."""
_RETRY = "kitfox-retry"
_SLOW_SECONDS = 0.001
"""Of calls that take longer, few are sent ahead: they might be run elsewhere meanwhile."""
_AHEAD_SECONDS = 0.002
"""Work for how long that is."""
_MOST_AHEAD = 128
_STALE_SECONDS = 0.005
"""After how long without an answer calls that wait at a replica are given to an idle one."""
_QUICK_SECONDS = 0.0002
"""Calls that take no longer than this are sent in larger batches."""


class Member:
    """A replica that can work, and its calls."""

    def __init__(self, process: ReplicaProcess, threads: int, *, is_only: bool) -> None:
        self.process = process
        self.calls: dict[int, Call] = {}
        self.alone = False
        """Whether it is kept for calls that are run alone."""
        self.figures = ReplicaFigures()
        """What it has told of its work."""
        self.lasting: set[int] = set()
        """Those of its calls that last as long as their callers like: others need not wait."""
        self._asked: set[int] = set()
        self._threads = threads
        self._is_only = is_only
        self._pace = _SLOW_SECONDS
        self._last = 0.0
        self.room = threads + (_MOST_AHEAD if is_only else 1)
        """How many calls it may have, without those that last."""

    def measure(self, answers: int) -> None:
        """Takes note of how quick calls are, to know how many to send ahead."""
        now = time.monotonic()
        took, self._last = (now - self._last) / answers, now
        # Quickly up, slowly down: a call that is sent ahead too early waits behind a slow one.
        weight = 0.5 if took > self._pace else 0.1
        self._pace += weight * (took - self._pace)
        if self._pace > _SLOW_SECONDS and not self._is_only:
            self.room = self._threads + max(1, int(_AHEAD_SECONDS / self._pace))
        else:
            self.room = self._threads + _MOST_AHEAD

    def note(self, figures: ReplicaFigures) -> None:
        """Takes note of what it tells: with batches, it can be in the middle of more calls."""
        self.figures = figures
        more = max(figures.together - self._threads, 0)
        self._threads += more
        self.room += more

    def begin(self) -> None:
        """Takes note that it has work again."""
        self._last = time.monotonic()

    @property
    def busy(self) -> int:
        """The calls that keep others waiting."""
        return len(self.calls) - len(self.lasting)

    def remove(self, number: int) -> None:
        """Forgets a call that it has no more."""
        del self.calls[number]
        self.lasting.discard(number)
        self._asked.discard(number)

    @property
    def has_backlog(self) -> bool:
        """Whether it may have more calls than it can run."""
        return len(self.calls) > self._threads and self.busy > 0

    def take_back(self, most: int) -> int:
        """Asks for calls that it has not begun, the last ones first; tells for how many."""
        if time.monotonic() - self._last < _STALE_SECONDS:
            return 0
        found: list[int] = []
        # Of those that last, as many as it has threads may have something to do.
        numbers = [number for number in self.calls if number not in self.lasting]
        for number in reversed(numbers[max(self._threads - len(self.lasting), 0) :]):
            if len(found) == most:
                break
            if number not in self._asked and not self.calls[number].begins_at_once:
                self.process.send((ids.RETURN, number))
                found.append(number)
        # Once: of what it has begun it says nothing.
        self._asked.update(found)
        return len(found)

    def flush(self) -> None:
        """Sends what waits, unless the replica has plenty to do: then more may go together."""
        process = self.process
        if 2 * process.unsent >= len(self.calls) or self._pace > _QUICK_SECONDS:
            process.flush_soon()
        else:
            process.flush_later()


class Pool:
    """The replicas of one model that can work, and all calls.

    Args:
        model: The model's id.
        loop: The event loop, on which everything here happens.
        limit: How many calls there may be at a time.
        threads: How many a replica runs at the same time.
        replicas: How many replicas there are to be.
        retry: Whether calls whose replica died are run once more.
        quarantine: Who is suspected of killing replicas.
        numbers: The numbers of calls; no replica gets one twice.
    """

    def __init__(
        self,
        *,
        model: str,
        loop: asyncio.AbstractEventLoop,
        limit: int,
        threads: int,
        replicas: int,
        retry: bool,
        quarantine: Quarantine,
        numbers: Iterator[int],
    ) -> None:
        self.members: dict[ReplicaProcess, Member] = {}
        self.quarantine = quarantine
        self.last_death = ""
        self.completed = 0
        """The calls that have been answered."""
        self.queue_seconds = 0.0
        """The seconds that calls have waited for a replica to have room, together."""
        self.lost = ReplicaFigures()
        """What replicas that are gone have told of their work."""
        self._model = model
        self._loop = loop
        self._limit = limit
        self._threads = threads
        self._is_only = replicas == 1
        self._retry = retry
        self._numbers = numbers
        self._waiting: deque[Call] = deque()
        self._suspects: deque[Call] = deque()
        self._sent = 0
        self._closed = False
        self._given_up = False
        self._balancing = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def outstanding(self) -> int:
        """How many calls there are."""
        return self._sent + len(self._waiting) + len(self._suspects)

    @property
    def lasting(self) -> int:
        """How many of them last as long as their callers like."""
        return sum(len(member.lasting) for member in self.members.values())

    # -- calls

    def submit(self, call: Call) -> None:
        """Takes a call.

        Raises:
            ResourceExhausted: There are too many.
            FailedPrecondition: It has killed two replicas.
            Unavailable: There is no replica, nor will there be one soon.
        """
        if self._sent + len(self._waiting) + len(self._suspects) >= self._limit:
            self._check_room(call)
        if self._closed:
            raise Unavailable(f"model {self._model} is being unloaded")
        is_suspect = self.quarantine.watchful and self._is_suspect(call)
        if self._given_up:  # asked after that: what is refused for ever need not come again
            raise self._no_replica()
        if is_suspect:
            self._suspects.append(call)
            self._place_suspects()
        else:
            member = self._place_for(call)
            if member is not None and (not self._waiting or call.is_lasting):
                self._send(call, member)
            else:
                call.since = time.monotonic()
                self._waiting.append(call)
        call.on_cancel = self._cancel
        if call.context is not None:
            call.context.on_cancel(call.cancel)
        if not self.members:
            self._lose_patience_later()

    def _is_suspect(self, call: Call) -> bool:
        if not call.may_repeat:
            return False
        if call.digest is None:
            call.digest = digest_of(call.method, call.arguments)
        self.quarantine.check(call.digest)
        return self.quarantine.suspects(call.digest)

    def _check_room(self, call: Call) -> None:
        """Refuses a call if too many wait; how many calls may last is settled elsewhere."""
        busy = self.outstanding - self.lasting
        if busy >= self._limit and not call.is_lasting:
            raise ResourceExhausted(
                f"{busy} calls wait for model {self._model} and no more are taken "
                "(setting models.execution.queue_limit); try again later",
                TRY_AGAIN_SECONDS,
            )

    def _place_for(self, call: Call) -> Member | None:
        """The replica that is to have a call; None if none has room for it."""
        if call.is_lasting:
            places = (member for member in self.members.values() if not member.alone)
            return min(places, key=lambda member: len(member.calls), default=None)
        best, fewest, last = None, 1 << 30, 0
        for member in self.members.values():
            lasting = len(member.lasting)
            busy = len(member.calls) - lasting
            if busy >= member.room or member.alone:
                continue
            # Of equals the one with the fewest that last: they may have something to do after all.
            if busy < fewest or (busy == fewest and lasting < last):
                best, fewest, last = member, busy, lasting
        return best

    def _send(self, call: Call, member: Member) -> None:
        call.number = number = next(self._numbers)
        if not member.calls:
            member.begin()
        member.calls[number] = call
        if call.is_lasting:
            member.lasting.add(number)
        self._sent += 1
        member.process.post(call.message())
        member.flush()
        if not self._is_only and member.has_backlog:
            self._balance_later()

    def _balance_later(self) -> None:
        if not self._balancing:
            self._balancing = True
            self._loop.call_later(_STALE_SECONDS, self._balance)

    def _balance(self) -> None:
        """Gives idle replicas the calls that wait at those which are stuck in slow ones."""
        self._balancing = False
        busy = [member for member in self.members.values() if member.has_backlog]
        idle = sum(not member.calls and not member.alone for member in self.members.values())
        for member in busy:
            idle -= member.take_back(idle)
        if busy and not self._closed:
            self._balance_later()

    def _cancel(self, call: Call) -> None:
        """Its caller waits no more."""
        reason: KitfoxError = (call.context and call.context.reason) or Cancelled("cancelled")
        if call.number:
            failure = failure_of(reason) | {"trace": ""}
            self.tell(call, (ids.CANCEL, call.number, failure))
        else:
            # It waits: it is dropped where it is found.
            call.fail(reason)

    def tell(self, call: Call, message: Message) -> None:
        """Sends the replica that has a call something that belongs to it."""
        for member in self.members.values():
            if member.calls.get(call.number) is call:
                member.process.send(message)
                return

    # -- replicas

    def add(self, process: ReplicaProcess) -> None:
        """A replica can work from now on."""
        self.members[process] = Member(process, self._threads, is_only=self._is_only)
        self._given_up = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._refill()

    def take(self, process: ReplicaProcess, messages: list[Message]) -> None:
        """What a replica says."""
        member = self.members.get(process)
        if member is None:
            return
        calls, over = member.calls, 0
        watchful = self.quarantine.watchful
        for message in messages:
            number = message[1]
            call = calls.get(number)
            if call is None:
                if message[0] == ids.FIGURES:
                    member.note(ReplicaFigures.of(message))
                continue
            if message[0] == ids.RESULT:
                call.succeed(message[2])
            elif message[0] == ids.RETURNED:
                member.remove(number)
                self._sent -= 1
                call.number = 0
                self._waiting.appendleft(call)
                continue
            elif not call.take(message):
                if call.is_lasting:
                    member.lasting.add(number)
                continue
            member.remove(number)
            over += 1
            if watchful and call.digest:
                self.quarantine.acquit(call.digest)
        if over:
            self._sent -= over
            self.completed += over
            member.measure(over)
        if self._waiting or self._suspects or member.alone:
            self._refill()
        if member.process.unsent:
            member.flush()

    def lose(self, process: ReplicaProcess, death: Death) -> None:
        """A replica has died."""
        self.last_death = str(death)
        member = self.members.pop(process, None)
        if member is None:
            return
        self.lost = self.lost.plus(member.figures)
        self._sent -= len(member.calls)
        running = {item.number for item in death.running} & member.calls.keys()
        accused = {death.culprit} & running or running
        log.error(
            "Replica %d of model %s has ended with %d calls, %d of them running: %s",
            *(process.index, self._model, len(member.calls), len(running), death),
            extra={"log_code": "<KFX20130E>"},
        )
        again = []
        for number, call in member.calls.items():
            call.number = 0
            if call.is_over:
                if number in accused:
                    self._accuse(call, death, alone=len(accused) == 1)
                call.fail(self._lost(death))
            elif number not in death.begun and not call.begins_at_once and number not in running:
                again.append(call)
            else:
                self._lose_call(call, number in accused, death, alone=len(accused) == 1)
        self._waiting.extendleft(reversed(again))
        self._refill()
        if not self.members:
            self._lose_patience_later()

    def _lose_call(self, call: Call, is_accused: bool, death: Death, *, alone: bool) -> None:
        """A call was begun by a replica that has died: it fails, or is run once more."""
        guilty = is_accused and self._accuse(call, death, alone=alone)
        call.losses += 1
        if guilty or call.losses > 1 or not call.may_repeat or not self._may_retry(call):
            call.fail(self._lost(death))
        elif call.digest and self.quarantine.suspects(call.digest):
            self._suspects.append(call)
        else:
            self._waiting.appendleft(call)

    def _accuse(self, call: Call, death: Death, *, alone: bool) -> bool:
        """Notes that a call may have killed a replica; tells whether it is refused from now on."""
        if death.asked or not call.may_repeat:
            return False
        if call.digest is None:
            call.digest = digest_of(call.method, call.arguments)
        if not call.digest:
            return False
        guilty = self.quarantine.accuse(
            call.digest, call.method, str(death), alone=alone, from_outside=death.from_outside
        )
        if guilty:
            log.error(
                "A request to method %s of model %s has ended two replicas and is refused from now "
                "on; its digest is %s",
                *(call.method, self._model, call.digest),
                extra={"log_code": "<KFX20140E>"},
            )
        return guilty

    def _may_retry(self, call: Call) -> bool:
        if self._retry:
            return True
        if call.context is None:
            return False
        return call.context.metadata.get(_RETRY, "").lower() in ("true", "1", "yes")

    def _lost(self, death: Death) -> Unavailable:
        return Unavailable(
            f"the replica of model {self._model} that ran this request is gone: {death}; it is "
            "being restarted"
        )

    def _refill(self) -> None:
        """Sends what waits."""
        self._place_suspects()
        while self._waiting:
            if self._waiting[0].is_over:
                self._waiting.popleft()
                continue
            call = self._waiting[0]
            member = self._place_for(call)
            if member is None:
                return
            self._waiting.popleft()
            if call.since:
                self.queue_seconds += time.monotonic() - call.since
                call.since = 0.0
            self._send(call, member)

    def _place_suspects(self) -> None:
        """Runs each suspect alone: on a replica that gets nothing else meanwhile."""
        while self._suspects and self._suspects[0].is_over:
            self._suspects.popleft()
        kept = [member for member in self.members.values() if member.alone]
        for member in kept:
            if member.calls:
                return  # it is being emptied, or runs the one before
            member.alone = False
        if not self._suspects or not self.members:
            return
        member = min(self.members.values(), key=lambda item: len(item.calls))
        member.alone = True
        if not member.calls:
            self._send(self._suspects.popleft(), member)
        else:
            self._loop.call_later(_PATIENCE, self._stop_emptying, member, self._suspects[0])

    def _stop_emptying(self, member: Member, suspect: Call) -> None:
        """A replica has been kept from other work for long enough: it has long calls."""
        if not (member.alone and self._suspects and self._suspects[0] is suspect):
            return
        member.alone = False
        while self._suspects:
            self._suspects.popleft().fail(
                Unavailable(
                    f"a replica of model {self._model} died while it ran this request among "
                    "others; it is run only alone, and no replica has become free for that"
                )
            )
        self._refill()

    # -- without replicas

    def _lose_patience_later(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(_PATIENCE, self._lose_patience)

    def _lose_patience(self) -> None:
        """There is no replica, and has not been for a while: nobody is to wait any longer."""
        self._timer = None
        if self.members:
            return
        self._given_up = True
        self._fail_waiting(self._no_replica())

    def _no_replica(self) -> Unavailable:
        why = f"the last one is gone: {self.last_death}; " if self.last_death else ""
        return Unavailable(
            f"no replica of model {self._model} is ready: {why}another one is being started"
        )

    def _fail_waiting(self, error: Exception) -> None:
        for queue in (self._waiting, self._suspects):
            while queue:
                queue.popleft().fail(error)

    # -- the end

    def close(self) -> None:
        """Takes no more calls, and drops those that no replica has."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._fail_waiting(Unavailable(f"model {self._model} is being unloaded"))

    def fail_all(self) -> None:
        """Drops all calls."""
        error: Any = Unavailable(f"model {self._model} was unloaded")
        for member in self.members.values():
            for call in member.calls.values():
                call.fail(error)
            member.calls.clear()
            member.lasting.clear()
        self.members.clear()
        self._sent = 0
