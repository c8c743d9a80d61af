"""Runs several calls of a model as one: each gets its own result or its own error.

One bad call fails alone: a batch that fails is run again in halves, and those in halves, until what
fails is a call by itself.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from kitfox import logs
from kitfox.errors import Internal
from kitfox.logs import current_request
from kitfox.models.batch_queue import BatchCall
from kitfox.models.batch_shape import BatchShape
from kitfox.modules import ModuleBase

__all__ = ["BatchRunner", "Outcome", "Together", "problem_of"]

log = logs.channel("MODELS")

# After so many batches that failed as a whole though each call by itself did well.
_MOST_USELESS = 3
_MOST_NAMED = 8

Outcome: TypeAlias = tuple[BatchCall, Any, BaseException | None]
"""A call, what it gave, and how it failed."""


class BatchRunner:
    """Calls a method of a model, or its method for batches, in whatever thread asks.

    Args:
        model: The model.
        shape: How calls are joined.
        name: The model's id, for logs.
        prepare: Called before calls are run, with the number of calls at a time.
    """

    def __init__(
        self,
        model: ModuleBase,
        shape: BatchShape,
        *,
        name: str = "model",
        prepare: Callable[[int], None] | None = None,
    ) -> None:
        self.largest = sys.maxsize
        """The most calls of a batch: fewer once larger ones have failed that do well in parts."""
        self._run: Callable[..., Any] = getattr(model, shape.method)
        self._run_batch: Callable[..., Any] = getattr(model, shape.batch_method)
        self._shape = shape
        self._name = name
        self._prepare = prepare
        self._useless = 0

    def run(self, calls: list[BatchCall], parallel: int) -> list[Outcome]:
        """Runs calls that fit together.

        Args:
            calls: The calls.
            parallel: How many batches run at the same time.
        """
        if self._prepare is not None:
            try:
                self._prepare(parallel)
            except Exception as err:  # noqa: BLE001 -- a library's code; the calls do not need it
                self._prepare = None
                log.warning(
                    "Model %s: its library's threads are left as they are: %s",
                    self._name,
                    err,
                    extra={"log_code": "<KFX20072W>"},
                )
        return self._run_all(calls)

    def _run_all(self, calls: list[BatchCall]) -> list[Outcome]:
        if len(calls) == 1 and not self._shape.of_stream:
            return [self._run_one(calls[0])]
        current_request.set(Together(calls))
        try:
            results = self._run_batch(**self._shape.join([call.arguments for call in calls]))
        except BaseException as err:  # noqa: BLE001 -- the edge between user code and us
            return self._halve(calls, err) if len(calls) > 1 else [(calls[0], None, err)]
        return outcomes_of(calls, results, self._name, self._shape.batch_method)

    def _run_one(self, call: BatchCall) -> Outcome:
        if call.future.cancelled():
            return call, None, None
        current_request.set(call.context)
        try:
            return call, self._run(**call.arguments), None
        except BaseException as err:  # noqa: BLE001 -- the edge between user code and us
            return call, None, err

    def _halve(self, calls: list[BatchCall], err: BaseException) -> list[Outcome]:
        """Finds those calls of a failed batch that fail by themselves."""
        middle = len(calls) // 2
        outcomes = [*self._run_all(calls[:middle]), *self._run_all(calls[middle:])]
        self.note_failure(len(calls), outcomes, err)
        return outcomes

    def note_failure(self, count: int, outcomes: Sequence[Outcome], err: BaseException) -> None:
        """Makes smaller batches from now on, if large ones fail time and again in vain.

        Args:
            count: The calls of a batch that failed.
            outcomes: What they came to in parts.
            err: How it failed.
        """
        if any(error is not None for _, _, error in outcomes):
            self._useless = 0
            return
        self._useless += 1
        if self._useless >= _MOST_USELESS and count // 2 < self.largest:
            self._useless, self.largest = 0, count // 2
            log.warning(
                "Model %s: %s fails for %d calls that do well in smaller batches; from now on it "
                "gets %d at most: %s",
                self._name,
                self._shape.batch_method,
                count,
                self.largest,
                err,
                exc_info=err,
                extra={"log_code": "<KFX20071W>"},
            )


class Together:
    """The requests of a batch, as log lines name them."""

    def __init__(self, calls: Sequence[BatchCall]) -> None:
        self._calls = calls

    @property
    def request_id(self) -> str:
        """The ids of the first few."""
        first = self._calls[:_MOST_NAMED]
        names = [call.context.request_id for call in first if call.context is not None]
        more = len(self._calls) - len(first)
        return ",".join(names) + (f" and {more} more" if more else "")


def outcomes_of(calls: Sequence[BatchCall], results: Any, name: str, method: str) -> list[Outcome]:
    """What calls came to whose batch returned: an error for all if it is not one result for each.

    Args:
        calls: The calls.
        results: What was returned.
        name: The model's id.
        method: What returned it.
    """
    problem = problem_of(results, len(calls))
    if problem:
        log.error(
            "Model %s: %s of %d calls returned %s",
            *(name, method, len(calls), problem),
            extra={"log_code": "<KFX20070E>"},
        )
        message = f"The model's {method} returned {problem} for {len(calls)} calls"
        return [(call, None, Internal(message)) for call in calls]
    return [
        (call, None, result) if isinstance(result, BaseException) else (call, result, None)
        for call, result in zip(calls, results, strict=True)
    ]


def problem_of(results: Any, expected: int) -> str:
    """What is wrong with the result of `run_batch`; empty when nothing is."""
    if not isinstance(results, Sequence) or isinstance(results, str | bytes):
        return f"{type(results).__name__}, which is no sequence of results,"
    return "" if len(results) == expected else f"{len(results)} results"
