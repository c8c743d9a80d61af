"""The process that performs one attempt of one job: import, decode, train, save, publish.

    python -m kitfox.training.worker [--store URL] --job ID --attempt N

It is the leader of a session of its own and needs nobody: the server that started it may end. What
it prints and logs goes to the job's log; what became of it goes to the store.
"""

import argparse
import atexit
import contextlib
import importlib
import inspect
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

import kitfox
from kitfox.caikit import install_if_asked
from kitfox.errors import FailedPrecondition, KitfoxError, Unavailable
from kitfox.modules.publication import make_folder
from kitfox.training import job_log, processes, publication
from kitfox.training.arguments import decode_arguments
from kitfox.training.capture import captured_bars
from kitfox.training.jobs import Job, JobState, Library, Progress
from kitfox.training.launchers import STORE_VARIABLE
from kitfox.training.progress import JobContext, enter_training
from kitfox.training.store import JobStore

__all__ = ["import_libraries", "leave", "main", "prepare_process", "work"]

log = logging.getLogger("kitfox.TRAINING")
Result = TypeVar("Result")

_STORE_PATIENCE = 120.0
"""For how many seconds a worker tries to tell the store what became of its job."""
_EXIT_PATIENCE = 5.0
"""How long threads and exit handlers of the module may take when all is done."""


class Terminated(BaseException):
    """Raised in the main thread by SIGTERM, so that `finally` blocks of the module run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Performs the attempt that the command line names; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m kitfox.training.worker")
    parser.add_argument(
        "--store", help=f"URL of the job store; else from the variable {STORE_VARIABLE}"
    )
    parser.add_argument("--job", required=True, help="id of the job")
    parser.add_argument("--attempt", required=True, type=int, help="number of the attempt")
    options = parser.parse_args(arguments)
    store = options.store or os.environ.pop(STORE_VARIABLE, "")
    if not store:
        parser.error(f"--store or {STORE_VARIABLE} is needed")
    prepare_process()
    return work(store, options.job, options.attempt)


def prepare_process() -> None:
    """Makes signals, output and logging what a training expects.

    The process that embeds the server may have blocked or ignored signals, and this inherits.
    """
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the server's terminal
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr] # a TextIOWrapper here
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )


def import_libraries(libraries: Sequence[Library]) -> None:
    """Imports the author's packages, which registers their modules."""
    install_if_asked()
    for library in libraries:
        if library.path and library.path not in sys.path:
            sys.path.insert(0, library.path)
        importlib.import_module(library.package)


def work(url: str, job_id: str, attempt: int) -> int:
    """Performs one attempt of one job and tells the store; gives the exit status."""
    store = JobStore(url, create=False, busy_timeout=30)
    job = store.begin(
        job_id,
        attempt=attempt,
        pid=os.getpid(),
        start=processes.start_token(os.getpid()),
        environment=_environment(),
    )
    if job is None:
        log.info("Attempt %d of training %s is not wanted any more", attempt, job_id)
        return 0
    context = JobContext(job)
    pulse = _Pulse(store, job, context)
    pulse.start()
    try:
        _perform(store, job, context)
    except Terminated:
        _fail(store, job, context, "the worker was stopped by signal 15 (SIGTERM)")
        return 128 + signal.SIGTERM
    except BaseException as error:  # the edge of the job: whatever a module raises, also SystemExit
        log.error("Training %s failed", job.id, exc_info=error)
        _fail(store, job, context, describe(error))
        return 1
    finally:
        pulse.stop()
        _limit_exit()
    return 0


def _perform(store: JobStore, job: Job, context: JobContext) -> None:
    """Trains, saves and publishes; what goes wrong is raised."""
    from kitfox.modules import ModuleBase, default_registry

    if job.working_dir:
        os.chdir(job.working_dir)
    import_libraries(job.libraries)
    cls = default_registry().find(job.module_id)
    if cls.TRAIN_SIGNATURE is None:
        raise FailedPrecondition(f"Module {job.module_id} ({cls.MODULE_NAME}) has no train method")
    arguments = decode_arguments(
        cls.TRAIN_SIGNATURE,
        json.loads(store.parameters(job.id)),
        base_dir=job.data_base_dir,
        model_paths=job.model_paths,
    )
    if cls.TRAIN_SIGNATURE.context_arg is not None:
        arguments[cls.TRAIN_SIGNATURE.context_arg] = context
    with enter_training(context), captured_bars(context.note_bar):
        model = cls.train(**arguments)
        if inspect.iscoroutine(model):
            model = _run(model)
        if not isinstance(model, ModuleBase):
            kind = type(model).__name__
            raise FailedPrecondition(
                f"train() of module {job.module_id} returned {kind}; expected a module to save"
            )
        make_folder(Path(job.output_path).parent)
        partial = publication.partial_path(job)
        model.save(str(partial))
    publication.seal(partial, job)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # from here on it takes milliseconds
    if _publish(store, job, context) is None:
        log.info("Training %s was cancelled; its model is dropped", job.id)
    publication.discard(job)


def _run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """What an asynchronous `train` returns."""
    import asyncio  # here: it is slow to import, and few need it

    return asyncio.run(coroutine)


def _publish(store: JobStore, job: Job, context: JobContext) -> Job | None:
    return _insist(
        lambda: store.publish(
            job.id,
            attempt=job.attempt,
            put_in_place=lambda: publication.put_in_place(job),
            log_tail=job_log.tail(job.log_path),
            peak_memory=processes.peak_memory(),
            progress=context.progress,
        )
    )


def _fail(store: JobStore, job: Job, context: JobContext, reason: str) -> None:
    """Notes why there is no model; a job that is being cancelled stays so."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    publication.discard(job)
    _insist(
        lambda: store.move(
            job.id,
            [JobState.RUNNING],
            JobState.ERRORED,
            attempt=job.attempt,
            reasons=(reason,),
            log_tail=job_log.tail(job.log_path),
            peak_memory=processes.peak_memory(),
            progress=context.progress,
        )
    )


def _insist(action: Callable[[], Result]) -> Result:
    """Repeats what fails because the store is busy or away, for a while."""
    deadline = time.monotonic() + _STORE_PATIENCE
    while True:
        try:
            return action()
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            log.warning("The job store cannot be reached; trying again", exc_info=True)
            time.sleep(1)


def describe(error: BaseException) -> str:
    """An exception as a reason: its text, after its type where the text says little by itself."""
    text = str(error).strip()
    if not text:
        return type(error).__name__
    if isinstance(error, KitfoxError):
        return text
    terse = (LookupError, SystemExit, StopIteration, AssertionError)
    return f"{type(error).__name__}: {text}" if isinstance(error, terse) else text


def _environment() -> dict[str, str]:
    """What a training runs on, for the record."""
    system = os.uname()
    return {
        "python": sys.version.split()[0],
        "platform": f"{system.sysname} {system.release} {system.machine}",
        "host": system.nodename,
        "kitfox": kitfox.__version__,
    }


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _limit_exit() -> None:
    """Ends the process in a while, should a thread or an exit handler of the module not end."""

    def end() -> None:
        os._exit(0)

    timer = threading.Timer(_EXIT_PATIENCE, end)
    timer.daemon = True
    timer.start()


class _Pulse:
    """A thread that brings signs of life, progress and the log's end to the store."""

    interval = 1.0
    """Seconds between looks at what has changed."""
    silence = 10.0
    """Seconds after which a sign of life goes out even if nothing has changed."""

    def __init__(self, store: JobStore, job: Job, context: JobContext) -> None:
        self._store = store
        self._job = job
        self._context = context
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kitfox-pulse", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        told: tuple[Progress | None, str] = (None, "")
        told_at = time.monotonic()
        while not self._ended.wait(self.interval):
            job_log.limit(self._job.log_path)
            news = (self._context.progress, job_log.tail(self._job.log_path))
            if news == told and time.monotonic() - told_at < self.silence:
                continue
            try:
                self._store.beat(
                    self._job.id, attempt=self._job.attempt, progress=news[0], log_tail=news[1]
                )
            except KitfoxError as error:  # the next look may have more luck
                log.warning("No sign of life could be given: %s", error)
            told, told_at = news, time.monotonic()


def leave(status: int) -> NoReturn:
    """Ends the process as Python does, but for taking itself apart, which may take 100 ms.

    As in `multiprocessing`: threads are waited for, exit handlers run, output is written.
    """
    threading._shutdown()  # type: ignore[attr-defined] # as multiprocessing does
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    leave(main())
