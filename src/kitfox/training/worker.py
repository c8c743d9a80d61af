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
from collections.abc import Callable, Coroutine, Sequence
from types import FrameType
from typing import Any, NoReturn, TypeVar

from kitfox.caikit import install_if_asked
from kitfox.errors import FailedPrecondition
from kitfox.modules.publication import make_folder
from kitfox.training import job_log, processes, publication
from kitfox.training.arguments import decode_arguments
from kitfox.training.capture import captured_bars
from kitfox.training.checkpoints import Checkpoints
from kitfox.training.data_record import DataRecorder
from kitfox.training.database import StoreGone
from kitfox.training.disk_space import explained_space
from kitfox.training.environment import system
from kitfox.training.jobs import Job, Library, Order
from kitfox.training.launchers import STORE_VARIABLE
from kitfox.training.outcome import Outcome, describe, insist, kind_of
from kitfox.training.progress import JobContext, Stopped, enter_training
from kitfox.training.pulse import LOST_STATUS, Pulse
from kitfox.training.store import JobStore
from kitfox.training.worker_settings import WorkerSettings

__all__ = ["import_libraries", "leave", "main", "prepare_process", "work"]

log = logging.getLogger("kitfox.TRAINING")
Result = TypeVar("Result")

_OPENING_PATIENCE = 5.0
"""For how many seconds a worker tries to open the store, before there is anything to be lost."""
_TERMINATED = 128 + signal.SIGTERM
"""The exit status of a process that SIGTERM has ended."""
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
    signal.signal(signal.SIGTERM, _terminator())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the server's terminal
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    sys.stdout.flush()
    sys.stdout, sys.stderr = job_log.open_output(1), job_log.open_output(2)
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
    try:
        return _work(url, job_id, attempt)
    except Terminated:  # before there was anything to end, or when all had been told
        return _TERMINATED


def _work(url: str, job_id: str, attempt: int) -> int:
    settings = WorkerSettings.from_environ(os.environ)
    store = insist(lambda: JobStore(url, create=False, busy_timeout=30), seconds=_OPENING_PATIENCE)
    job = _begin(store, job_id, attempt)
    if job is None:
        log.info("Attempt %d of training %s is not wanted any more", attempt, job_id)
        return 0
    pulse = Pulse(store, job, cancel=lambda: os.kill(os.getpid(), signal.SIGTERM))
    checkpoints = Checkpoints(job, kept=settings.checkpoints)
    context = JobContext(job, checkpoints=checkpoints, tell=pulse.tell_checkpoint)
    data = DataRecorder(digest_bytes=settings.digest_bytes)
    outcome = Outcome(store, job, context, data, settling=pulse.ignore_orders)
    pulse.start(context)
    try:
        return _end(store, job, outcome, lambda: _perform(store, job, context, data, outcome))
    except StoreGone as error:
        log.error("%s. Nobody would learn what has become of this training", error)
        publication.discard(job)
        return LOST_STATUS
    finally:
        pulse.stop()
        _limit_exit()


def _begin(store: JobStore, job_id: str, attempt: int) -> Job | None:
    """The record of the job, which names this process now; None if it is not wanted any more."""
    pid, start = os.getpid(), processes.start_token(os.getpid())
    found = insist(
        lambda: store.begin(job_id, attempt=attempt, pid=pid, start=start, environment=system())
    )
    if found is None:
        # What the store did not say yes to may have been done all the same.
        found = store.get(job_id)
        if (found.attempt, found.worker_pid, found.worker_start) != (attempt, pid, start):
            return None
    return found


def _end(store: JobStore, job: Job, outcome: Outcome, perform: Callable[[], None]) -> int:
    """Performs, and tells what came of it, whatever that is; gives the exit status."""
    try:
        perform()
    except (Terminated, Stopped):
        order = insist(lambda: store.order(job.id, attempt=job.attempt))
        if order is Order.STOP:
            return _end(store, job, outcome, outcome.keep_checkpoint)
        if order is Order.GO and job.deaths < job.retries:
            # As when a machine is shut down: whoever watches, now or later, has it begun again.
            outcome.leave()
        else:
            outcome.fail("the worker was stopped by signal 15 (SIGTERM)")
        return _TERMINATED
    except StoreGone:
        raise
    except BaseException as error:  # the edge of the job: whatever a module raises, also SystemExit
        log.error("Training %s failed", job.id, exc_info=error)
        outcome.fail(describe(error), kind_of(error))
        return 1
    return 0


def _perform(
    store: JobStore, job: Job, context: JobContext, data: DataRecorder, outcome: Outcome
) -> None:
    """Trains, saves and publishes; what goes wrong is raised."""
    from kitfox.modules import ModuleBase, default_registry

    if job.working_dir:
        os.chdir(job.working_dir)
    import_libraries(job.libraries)
    cls = default_registry().find(job.module_id)
    signature = cls.TRAIN_SIGNATURE
    if signature is None:
        raise FailedPrecondition(f"Module {job.module_id} ({cls.MODULE_NAME}) has no train method")
    arguments = decode_arguments(
        signature,
        json.loads(store.parameters(job.id)),
        base_dir=job.data_base_dir,
        model_paths=job.model_paths,
        watch=data,
    )
    if signature.context_arg is not None:
        arguments[signature.context_arg] = context
    with enter_training(context), captured_bars(context.note_bar):
        model = cls.train(**arguments)
        if inspect.iscoroutine(model):
            model = _run(model)
        if not isinstance(model, ModuleBase):
            kind = type(model).__name__
            raise FailedPrecondition(
                f"train() of module {job.module_id} returned {kind}; expected a module to save"
            )
        partial = publication.partial_path(job)
        with explained_space("saving the model", partial, partial.parent):
            make_folder(partial.parent)
            model.save(str(partial))
    outcome.seal()
    outcome.publish()


def _run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """What an asynchronous `train` returns."""
    import asyncio  # here: it is slow to import, and few need it

    return asyncio.run(coroutine)


def _terminator() -> Callable[[int, FrameType | None], None]:
    """What handles SIGTERM: raises the first time, so that nothing disturbs the cleaning up.

    A scheduler and the pulse may both ask for the end; who does not end is killed.
    """
    came = False

    def terminate(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if not came:
            came = True
            raise Terminated

    return terminate


def _limit_exit() -> None:
    """Ends the process in a while, should a thread or an exit handler of the module not end."""

    def end() -> None:
        os._exit(0)

    timer = threading.Timer(_EXIT_PATIENCE, end)
    timer.daemon = True
    timer.start()


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
