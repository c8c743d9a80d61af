"""A model in processes of its own: what the handlers ask, and what operators see."""

import asyncio
import contextlib
import copy
import os
import sys
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from kitfox.errors import Cancelled
from kitfox.logs import current_request
from kitfox.metrics import ExecutionFigures
from kitfox.models.batch_shape import joins_streams
from kitfox.models.execution import Submit, SubmitItem
from kitfox.models.executor import Finish, ThreadExecutor
from kitfox.models.on_loop import OnLoop
from kitfox.models.replicas.calls import Call
from kitfox.models.replicas.deaths import Death
from kitfox.models.replicas.figures import model_figures
from kitfox.models.replicas.hung_calls import HungCalls
from kitfox.models.replicas.output import Tail
from kitfox.models.replicas.plan import Plan, ReplicaSettings, make_plan
from kitfox.models.replicas.pool import Pool
from kitfox.models.replicas.process import ReplicaProcess
from kitfox.models.replicas.quarantine import Quarantine
from kitfox.models.replicas.remote_streams import StreamCall
from kitfox.models.replicas.supervisor import Backoff, Place, State, Supervisor
from kitfox.modules import (
    MethodKind,
    ModuleBase,
    RequestContext,
    default_registry,
    model_class,
)

__all__ = ["InProcesses", "ReplicaSettings", "ReplicaState"]

_CLOSE_SECONDS = 10.0
_END_SECONDS = 3.0
_STREAM_THREADS = 64
_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaState:
    """One replica, as it is now."""

    index: int
    """Which, from 0."""
    pid: int
    """Its process; 0 when there is none."""
    state: State
    """What it is at."""
    device: str
    """Where it is placed; empty where nothing is said."""
    restarts: int
    """How many processes it has had before the present one."""
    in_flight: int
    """The calls that it has."""
    last_error: str
    """How the last process ended, or why it did not start; empty if none has."""
    log_tail: tuple[str, ...]
    """The last lines of what its processes printed and logged."""
    rss: int
    """Bytes of memory that it holds."""


class InProcesses:
    """Runs a model in replicas: processes that each have loaded it.

    To be used from the event loop; made by `open`.

    Attributes:
        module: The model's class.
        executor: Threads for calls with streams of results.
        quarantine: The requests that are refused because they killed replicas.
    """

    module: type[ModuleBase]

    def __init__(
        self,
        plan: Plan,
        *,
        settings: ReplicaSettings,
        loop: asyncio.AbstractEventLoop,
        on_change: Callable[[], None] | None = None,
        backoff: Callable[[], Backoff] = Backoff,
        warm_up: "Callable[[InProcesses], Awaitable[None]] | None" = None,
        load_seconds: float = 0.0,
        quarantine: Quarantine | None = None,
    ) -> None:
        self.executor = ThreadExecutor(
            threads=_STREAM_THREADS,
            loop=loop,
            name=plan.model,
            queue_limit=settings.queue_limit,
        )
        self.feeds = ThreadExecutor(threads=sys.maxsize, loop=loop, name=plan.model, kind="feed")
        # How many may run is known to the pool, which has them all.
        self.on_loop = OnLoop(loop, name=plan.model)
        self.quarantine = quarantine or Quarantine()
        self.on_change = on_change
        self._plan = plan
        self._settings = settings
        self._loop = loop
        self._launcher = ThreadPoolExecutor(1, thread_name_prefix=f"launch-{plan.model}")
        self._tails = [Tail() for _ in range(settings.replicas)]
        self._numbers = count(1)
        self._pool = self._new_pool(settings.replicas, self.quarantine)
        self._warm_up = warm_up
        self._load_seconds = load_seconds
        self._warming: dict[ReplicaProcess, Pool] = {}
        self._info: dict[str, Any] = {}
        self._processes: dict[int, ReplicaProcess] = {}
        self._supervisor = Supervisor(
            settings.replicas, make=self._make, on_change=self._changed, backoff=backoff
        )
        self._hung = HungCalls(
            self._pool, model=plan.model, seconds=settings.run_seconds, loop=loop
        )
        self._closing = False
        self._lock = threading.Lock()

    @classmethod
    async def open(
        cls,
        name: str,
        path: Path,
        *,
        settings: ReplicaSettings,
        loop: asyncio.AbstractEventLoop,
        python_path: Sequence[str] | None = None,
        libraries: Sequence[str] | None = None,
        on_change: Callable[[], None] | None = None,
        backoff: Callable[[], Backoff] = Backoff,
        warm_up: "Callable[[InProcesses], Awaitable[None]] | None" = None,
        load_seconds: float = 0.0,
        quarantine: Quarantine | None = None,
    ) -> "InProcesses":
        """Starts the replicas; returns when the first has loaded the model.

        Args:
            name: The model's id.
            path: Its folder or archive.
            settings: How many replicas, where, ...
            loop: The running event loop.
            python_path: Where replicas look for packages; as this process if not given.
            libraries: The packages that they import; those whose modules this process knows if
                not given.
            on_change: Told when a replica became ready or ended.
            backoff: Makes what tells the pauses before restarts.
            warm_up: Sends the model its first requests: called for each replica that has been
                started, with an execution that has no other, before anybody else's calls go there.
            load_seconds: How long a replica may take to load and to warm up; 0: as long as it
                likes.
            quarantine: What the model refuses already.

        Raises:
            LoadFailed: The first replica that ended, or failed, before one was ready; with the
                last lines of its output.
            ValueError, TypeError, FileNotFoundError, KitfoxError: What the module's `load` raised.
        """
        module = await loop.run_in_executor(None, _class_of, path)
        plan = make_plan(name, path, module, settings, python_path, libraries)
        made = cls(
            plan,
            settings=settings,
            loop=loop,
            on_change=on_change,
            backoff=backoff,
            warm_up=warm_up,
            load_seconds=load_seconds,
            quarantine=quarantine,
        )
        if module is not None:
            made.module = module
        try:
            await made._supervisor.start()
            first = next(iter(made._pool.members))
        except BaseException:
            await made._shut_down(0.0)
            raise
        made._info = first.public_info
        made._hung.start()
        return made

    # -- what the handlers ask

    def unary(self, name: str) -> Submit:
        """What runs a synchronous method that makes one result."""
        pool, new_future = self._pool, self._loop.create_future
        context_arg = self._context_arg(name)

        def submit(
            arguments: dict[str, Any], context: RequestContext, finish: Finish | None = None
        ) -> "asyncio.Future[Any]":
            del finish  # results arrive on the event loop, where it would be no quicker
            if context_arg is not None:
                arguments = {k: v for k, v in arguments.items() if k != context_arg}
            future = new_future()
            pool.submit(Call(name, arguments, context, context_arg, future))
            return future

        return submit

    def unary_for(self, name: str) -> None:
        """None: replicas are called on the event loop."""

    def items(self, name: str) -> SubmitItem | None:
        """What runs one item of a stream of requests, as a call that may share a batch."""
        if self._settings.max_batch_size == 1 or not joins_streams(self.module, name):
            return None
        submit = self.unary(name)

        def submit_item(
            arguments: dict[str, Any], context: RequestContext
        ) -> "asyncio.Future[Any]":
            # With a context of its own, which hears of nobody: a stream has any number of items.
            part = RequestContext(
                model_id=context.model_id,
                request_id=context.request_id,
                metadata=context.metadata,
                deadline=context.deadline,
            )
            future = submit(arguments, part)

            def given_up(done: "asyncio.Future[Any]") -> None:
                if done.cancelled():
                    part.cancel(context.reason or Cancelled("the call was cancelled"))

            future.add_done_callback(given_up)
            return future

        return submit_item

    def function(self, name: str) -> Callable[..., Any]:
        """A method as it is called by whoever has got a thread for it, or on the event loop."""
        context_arg, kind = self._context_arg(name), self._kind(name)

        def begin(arguments: dict[str, Any]) -> StreamCall:
            given = arguments.pop(context_arg, None) if context_arg is not None else None
            current = current_request.get()
            context = given or (current if isinstance(current, RequestContext) else None)
            return StreamCall(
                name,
                arguments,
                context,
                context_arg,
                pool=self._pool,
                loop=self._loop,
                on_loop=kind in ("coroutine", "async_generator"),
            )

        def run(**arguments: Any) -> Any:
            return begin(arguments).run()

        async def run_async(**arguments: Any) -> Any:
            return await begin(arguments).run_async()

        def generate_async(**arguments: Any) -> AsyncGenerator[Any, None]:
            return begin(arguments).read_async()

        if kind == "coroutine":
            return run_async
        return generate_async if kind == "async_generator" else run

    def on_loop_of(self, name: str) -> OnLoop:
        """What counts the calls of an `async def` method."""
        return self.on_loop

    def public_info(self) -> dict[str, Any]:
        """The model's `public_model_info`, as the first replica told it."""
        return dict(self._info)

    def _signature(self, name: str) -> Any:
        for methods in self.module._task_methods.values():
            for signature in methods.values():
                if signature.method_name == name:
                    return signature
        return None

    def _context_arg(self, name: str) -> str | None:
        signature = self._signature(name)
        return None if signature is None else signature.context_arg

    def _kind(self, name: str) -> MethodKind:
        signature = self._signature(name)
        return "function" if signature is None else signature.kind

    # -- what operators see

    @property
    def ready(self) -> bool:
        """Whether at least one replica serves."""
        return bool(self._pool.members) and not self._closing

    @property
    def queued(self) -> int:
        """The calls that wait or run."""
        return self._pool.outstanding

    def figures(self) -> ExecutionFigures:
        """What there is to say of its work, with all its calls; streams are calls, too."""
        pool = self._pool
        return model_figures(
            [*(member.figures for member in list(pool.members.values())), pool.lost],
            calls=pool.completed,
            outstanding=pool.outstanding,
            limit=len(pool.members) * self._plan.threads,
            queue_seconds=pool.queue_seconds,
        )

    @property
    def replicas(self) -> list[ReplicaState]:
        """All replicas, as they are now."""
        return [self._state(place) for place in self._supervisor.places]

    def _state(self, place: Place) -> ReplicaState:
        process = self._processes.get(place.index)
        member = self._pool.members.get(process) if process is not None else None
        pid = process.pid if process is not None and not process.is_over else 0
        return ReplicaState(
            index=place.index,
            pid=pid,
            state=place.state,
            device=self._plan.device(place.index),
            restarts=place.restarts,
            in_flight=len(member.calls) if member is not None else 0,
            last_error=place.last_error,
            log_tail=self._tails[place.index].lines,
            rss=_resident(pid),
        )

    # -- replicas come and go

    def _new_pool(self, replicas: int, quarantine: Quarantine) -> Pool:
        settings, threads = self._settings, self._plan.threads
        return Pool(
            model=self._plan.model,
            loop=self._loop,
            limit=settings.queue_limit + replicas * threads,
            threads=threads,
            replicas=replicas,
            retry=settings.retry,
            quarantine=quarantine,
            numbers=self._numbers,
        )

    def _make(self, index: int) -> ReplicaProcess:
        process = self._processes[index] = ReplicaProcess(
            self._plan,
            index,
            loop=self._loop,
            launcher=self._launcher,
            tail=self._tails[index],
            on_messages=self._pool.take,
            on_death=self._lose,
            prepare=self._prepare,
            load_seconds=self._load_seconds,
        )
        return process

    async def _prepare(self, process: ReplicaProcess) -> None:
        """Has a replica that nobody else's calls go to yet answer what the model wants first."""
        if not hasattr(self, "module"):  # an archive does not say what it holds
            self.module = default_registry().find(process.module_id)
        if self._warm_up is None:
            return
        pool = self._new_pool(1, Quarantine())
        # The same execution, with this one replica; whatever happens, no caller is to blame.
        alone = copy.copy(self)
        alone._pool = self._warming[process] = pool
        pool.add(process)
        process.on_messages = pool.take
        try:
            await self._warm_up(alone)
        finally:
            pool.close()
            self._warming.pop(process, None)
            process.on_messages = self._pool.take

    def _changed(self, place: Place) -> None:
        if place.state == "ready":
            self._pool.add(self._processes[place.index])
        self._tell()

    def _lose(self, process: ReplicaProcess, death: Death) -> None:
        self._supervisor.note_end(process.index, str(death))
        self._warming.get(process, self._pool).lose(process, death)
        self._tell()

    def _tell(self) -> None:
        if self.on_change is not None and not self._closing:
            self.on_change()

    # -- the end

    def close(self) -> None:
        """Lets running calls end, for a while, then ends the processes. Called in a thread.

        Called on the event loop, or after its end, it asks the processes to end at once.
        """
        with self._lock:
            if self._closing:
                return
            self._closing = True
        if self._loop.is_running() and not _is_running_here(self._loop):
            shutting = asyncio.run_coroutine_threadsafe(self._shut_down(_CLOSE_SECONDS), self._loop)
            with contextlib.suppress(TimeoutError):
                shutting.result(_CLOSE_SECONDS + 3 * _END_SECONDS)
        self._end_now()
        self.executor.close()
        self.feeds.close()

    async def _shut_down(self, patience: float) -> None:
        self._closing = True
        self._hung.stop()
        self._pool.close()
        await self._supervisor.stop()
        await _until(lambda: not self._pool.outstanding, patience)
        self._pool.fail_all()
        processes = list(self._processes.values())
        for end in (ReplicaProcess.stop, ReplicaProcess.terminate, ReplicaProcess.kill):
            for process in processes:
                end(process)
            await _until(lambda: all(it.is_over or not it.pid for it in processes), _END_SECONDS)
        self._launcher.shutdown(wait=False)

    def _end_now(self) -> None:
        self._supervisor.abandon()
        self._launcher.shutdown(wait=True)
        for process in self._processes.values():
            process.end_now(_END_SECONDS)


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    # Asked again and again: a process without a pidfd ends without an event.
    while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110 -- as the comment says
        await asyncio.sleep(0.005)


def _is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _class_of(path: Path) -> type[ModuleBase] | None:
    """The class of a model folder; of an archive, a replica will tell."""
    return None if path.is_file() else model_class(path)


def _resident(pid: int) -> int:
    if not pid:
        return 0
    try:
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0
    return int(fields[1]) * _PAGE_SIZE
