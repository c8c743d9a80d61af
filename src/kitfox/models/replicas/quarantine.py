"""Requests that kill replicas: who is suspected, who is refused.

A replica that dies takes with it the calls that it was in the middle of. If that was one, it did
it; if there were several, each is a suspect, and is from then on run alone. What kills again when
it is alone is refused from then on. What ends well, or fails as a call may fail, is cleared of
every suspicion: so an innocent request, which happened to be there when somebody else killed the
replica, is never refused.

A replica that was killed from outside (an operator, a test) says little about its calls, and one
that was asked to end (SIGTERM) says nothing. The kernel counts whom it kills for lack of memory:
that is how the two kinds of SIGKILL are told apart.
"""

import hashlib
import io
import pickle
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kitfox.errors import FailedPrecondition

__all__ = ["Quarantine", "QuarantineEntry", "digest_of"]

_LIMIT = 2.0
"""How many deaths it takes."""
_FROM_OUTSIDE = 0.4
"""What a death counts that seems to have come from outside: five in a row are no accident."""
_MOST = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class QuarantineEntry:
    """A request that is refused."""

    digest: str
    """SHA-256 over the method and the pickled arguments."""
    method: str
    """The module's method."""
    reason: str
    """How the last replica died of it."""
    since: float
    """When; seconds of `time.time`."""
    refused: int
    """How often it was refused since."""


class _Record:
    __slots__ = ("deaths", "method", "reason", "refused", "since")

    def __init__(self, method: str) -> None:
        self.method = method
        self.deaths = 0.0
        self.reason = ""
        self.since = 0.0
        self.refused = 0


class Quarantine:
    """Keeps suspects and convicts of one model; of each the latest 1,000 at most."""

    def __init__(self) -> None:
        self.watchful = False
        """Whether there is anybody to look for: if not, calls need no digest."""
        self.on_change: Callable[[], object] | None = None
        """Called after other requests are refused than before."""
        self._suspects: OrderedDict[str, _Record] = OrderedDict()
        self._convicts: OrderedDict[str, _Record] = OrderedDict()

    def check(self, digest: str) -> None:
        """Refuses a request that has killed two replicas.

        Raises:
            FailedPrecondition: It has.
        """
        record = self._convicts.get(digest)
        if record is None:
            return
        record.refused += 1
        self._convicts.move_to_end(digest)
        raise FailedPrecondition(
            f"this request ended two replicas of the model ({record.reason}) and is not run "
            f"again; an operator can clear it from quarantine by its digest {digest}"
        )

    def suspects(self, digest: str) -> bool:
        """Whether a request is to be run alone."""
        return digest in self._suspects

    def accuse(
        self, digest: str, method: str, reason: str, *, alone: bool, from_outside: bool = False
    ) -> bool:
        """Notes that a replica died while it ran a request; tells whether that is now refused.

        Args:
            digest: The request's.
            method: The module's method.
            reason: How the replica died.
            alone: Whether it ran nothing else, or it is known that this was what killed it.
            from_outside: Whether somebody else seems to have killed it.
        """
        record = self._suspects.pop(digest, None) or _Record(method)
        record.deaths += _FROM_OUTSIDE if from_outside else 1.0
        record.reason = reason
        guilty = alone and record.deaths >= _LIMIT - 1e-9
        if guilty:
            record.since = time.time()
        shelf = self._convicts if guilty else self._suspects
        shelf[digest] = record
        while len(shelf) > _MOST:
            shelf.popitem(last=False)
        self.watchful = True
        if guilty:
            self._tell()
        return guilty

    def convict(self, digest: str, method: str, reason: str, since: float) -> None:
        """Refuses a request that is known already; as in `entries`."""
        record = self._convicts[digest] = _Record(method)
        record.deaths, record.reason, record.since = _LIMIT, reason, since
        while len(self._convicts) > _MOST:
            self._convicts.popitem(last=False)
        self.watchful = True

    def acquit(self, digest: str) -> None:
        """Notes that a request was run and its replica lives."""
        self._suspects.pop(digest, None)
        self._look_up()

    def entries(self) -> list[QuarantineEntry]:
        """What is refused, oldest first."""
        return [
            QuarantineEntry(
                digest=digest,
                method=record.method,
                reason=record.reason,
                since=record.since,
                refused=record.refused,
            )
            for digest, record in list(self._convicts.items())  # it is refused meanwhile
        ]

    def clear(self, digest: str | None = None) -> int:
        """Lets a request, or all, be run again; tells how many are no longer refused.

        Args:
            digest: As in `entries`; None clears everything, suspicions too.
        """
        if digest is None:
            count = len(self._convicts)
            self._convicts.clear()
            self._suspects.clear()
        else:
            count = int(self._convicts.pop(digest, None) is not None)
            self._suspects.pop(digest, None)
        self._look_up()
        if count:
            self._tell()
        return count

    def _tell(self) -> None:
        if self.on_change is not None:
            self.on_change()

    def _look_up(self) -> None:
        self.watchful = bool(self._suspects or self._convicts)


def digest_of(method: str, arguments: Mapping[str, Any]) -> str:
    """Identifies a request by what it asks for; empty where its arguments cannot be pickled."""
    sink = io.BytesIO()
    pickler = pickle.Pickler(sink, 5)
    # Without this, equal texts would differ by whether they are one object or two.
    pickler.fast = True
    try:
        pickler.dump((method, dict(arguments)))
    except Exception:  # noqa: BLE001 -- objects of any class; also what refers to itself
        return ""
    return hashlib.sha256(sink.getbuffer()).hexdigest()
