"""Trainings from Python: durable jobs in processes of their own, without a server.

    import kitfox

    handle = kitfox.train(MyModule, "data.csv", model_name="mine", alpha=0.1)
    print(handle.progress)
    model = handle.result()

The calling process runs the job store meanwhile, unless a server does. When it ends, trainings that
run go on, and whoever opens the store next looks after them.
"""

import atexit
import importlib
import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kitfox.config import Config
from kitfox.errors import FailedPrecondition, InvalidArgument
from kitfox.modules import ModuleBase, default_registry, load_model
from kitfox.modules.parameters import stream_element
from kitfox.modules.publication import remove_tree
from kitfox.training.attendance import Attendance
from kitfox.training.given_values import data_folder, read_given
from kitfox.training.jobs import TERMINAL, Job, JobOptions, JobState, Library, Progress
from kitfox.training.opening import library_of, open_scheduler, open_shared_retention
from kitfox.training.scheduler import Scheduler, log_folder
from kitfox.training.service import TrainingService
from kitfox.training.store import JobStore

__all__ = ["TrainingHandle", "train"]

_LOOK_AGAIN = 0.05
"""Seconds between looks at a job that is waited for."""


class TrainingHandle:
    """One training that was accepted. Another process may look after it, and outlive this one.

    Args:
        job_id: The training's id.
        service: Where it is found.
    """

    def __init__(self, job_id: str, service: TrainingService) -> None:
        self.id = job_id
        self._service = service

    def __repr__(self) -> str:
        return f"<TrainingHandle {self.id}>"

    @property
    def job(self) -> Job:
        """All that is known of it now."""
        return self._service.get(self.id)

    @property
    def state(self) -> JobState:
        """Where it is in its life."""
        return self.job.state

    @property
    def progress(self) -> Progress | None:
        """How far it said it is, last; None if it has said nothing."""
        return self.job.progress

    def log(self) -> str:
        """What it has printed and logged so far."""
        parts: list[str] = []
        offset = 0
        while True:
            part = self._service.log(self.id, offset=offset)
            if part.next_offset <= offset:
                return "".join(parts)
            parts.append(part.text)
            offset = part.next_offset

    def wait(self, timeout: float | None = None) -> Job:
        """All that is known of it when it has ended, in whatever state.

        Args:
            timeout: Seconds to wait at most; for ever unless given.

        Raises:
            TimeoutError: It has not ended by then. It goes on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (job := self.job).state not in TERMINAL:
            left = _LOOK_AGAIN if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"training {self.id} is {job.state} after {timeout} s")
            time.sleep(min(_LOOK_AGAIN, left))
        return job

    def result(self, timeout: float | None = None) -> ModuleBase:
        """The trained model, loaded; waits for the end.

        Raises:
            TimeoutError: It has not ended by then. It goes on.
            FailedPrecondition: It made no model; the message says why.
        """
        job = self.wait(timeout)
        if job.state is not JobState.COMPLETED:
            reasons = "; ".join(job.reasons)
            raise FailedPrecondition(
                f"Training {self.id} is {job.state}" + (f": {reasons}" if reasons else "")
            )
        place = self._service.model_path(self.id)
        if place is None:
            raise FailedPrecondition(
                f"The model of training {self.id} is not at {job.output_path} any more"
            )
        return load_model(str(place))

    def cancel(self) -> Job:
        """Ends it; nothing is kept. It may be CANCELING for a moment, until all is gone."""
        return self._service.cancel(self.id)

    def stop(self) -> Job:
        """Ends it early; what it has by then, at least its last checkpoint, becomes the model."""
        return self._service.stop(self.id)

    def events(self) -> Iterator[Job]:
        """What is known of it, now and whenever state or progress have changed, until it ends."""
        told: tuple[JobState, Progress | None] | None = None
        while True:
            job = self.job
            if (job.state, job.progress) != told:
                told = (job.state, job.progress)
                yield job
            if job.state in TERMINAL:
                return
            time.sleep(_LOOK_AGAIN)


def train(
    module: type[ModuleBase] | str,
    data: Any = None,
    /,
    *,
    model_name: str = "",
    store: str | Path = "",
    output_dir: str | Path = "",
    config: Config | None = None,
    priority: int = 0,
    retries: int | None = None,
    wait: bool = False,
    **parameters: Any,
) -> TrainingHandle:
    """Trains a module in a process of its own; the training is in the store when this returns.

    Args:
        module: The class, or its id. It must be in a file that a worker can import, not in the
            script that is run.
        data: For the one parameter of `train` that is a stream: a path, a list of paths, a folder,
            a `DataStream`, or data objects to iterate over. Where there are several, give each by
            its name.
        model_name: What the model will be called.
        store: The job store: a file, or a URL. By default as `config` says.
        output_dir: Below which the model is written. By default as `config` says.
        config: As of a server, of which `training` and `runtime.training` count. By default the
            store is `training_output/jobs.sqlite3` in the working directory.
        priority: Of those that wait, the higher ones run first.
        retries: How often it is begun again when its process dies.
        wait: Whether to return only when it has ended.
        **parameters: For the module's `train`; a model is given as such, or as its path.

    Raises:
        FailedPrecondition: The class is in a script that workers cannot import, or does not train.
        InvalidArgument: `train` has no such parameter, or needs one that is not given.
        ValidationError: A value that its annotation does not allow.
        KitfoxError: The store cannot be used, or its queue is full.
    """
    cls = default_registry().find(module) if isinstance(module, str) else module
    signature = cls.TRAIN_SIGNATURE
    if signature is None:
        raise FailedPrecondition(f"Module {cls.__qualname__} has no train method")
    library = _library_of(cls)
    config = config or Config()
    place = Path(output_dir or config.runtime.training.output_dir).absolute()
    embedded = _EMBEDDED.find(_store_url(store, place, config), config, library)
    values = {**_data_argument(cls, data), **parameters}
    service = TrainingService(
        store=embedded.store,
        scheduler=embedded.scheduler,
        output_dir=place,
        save_with_id=config.runtime.training.save_with_id,
        libraries=[library],
        data_base_dir=config.data_streams.file_source_base or "",
        retries=config.training.retries,
    )
    job_id = str(uuid.uuid4())
    folder = data_folder(log_folder(embedded.store, place) / f"{job_id}.log")
    try:
        given = read_given(signature, values, folder=folder)
        job = service.start(
            cls,
            given.parameters,
            model_name,
            model_paths=given.model_paths,
            training_id=job_id,
            options=JobOptions(priority=priority, retries=retries),
        )
    except BaseException:
        remove_tree(folder)
        raise
    handle = TrainingHandle(job.id, service)
    if wait:
        handle.wait()
    return handle


def _data_argument(cls: type[ModuleBase], data: Any) -> dict[str, Any]:
    """The positional data by the name of its parameter."""
    if data is None:
        return {}
    signature = cls.TRAIN_SIGNATURE
    parameters: Mapping[str, Any] = signature.parameters if signature is not None else {}
    streams = [name for name, kind in parameters.items() if stream_element(kind) is not None]
    if len(streams) == 1:
        return {streams[0]: data}
    if not streams:
        raise InvalidArgument(f"{cls.__qualname__}.train() takes no stream of data")
    raise InvalidArgument(
        f"{cls.__qualname__}.train() takes several streams of data; give each by its name: "
        f"{', '.join(streams)}"
    )


def _library_of(cls: type[ModuleBase]) -> Library:
    """What a worker imports to find a class."""
    if cls.__module__ == "__main__":
        raise FailedPrecondition(
            f"{cls.__qualname__} is defined in the script that is run, where the training's "
            "process cannot import it; put it into a file of its own and import it from there"
        )
    package = importlib.import_module(cls.__module__.split(".")[0])
    library = library_of(package)
    # Of a folder without __init__.py, importing the folder would not import the class's file.
    return library if package.__file__ else replace(library, package=cls.__module__)


def _store_url(store: str | Path, output_dir: Path, config: Config) -> str:
    if isinstance(store, str) and "://" in store:
        return store
    if store:
        return f"sqlite:///{Path(store).absolute()}"
    return config.training.store or f"sqlite:///{output_dir / 'jobs.sqlite3'}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _EmbeddedStore:
    """A store that this process uses, and may run."""

    store: JobStore
    scheduler: Scheduler
    attendance: Attendance


class _EmbeddedStores:
    """The stores of this process: each has one scheduler in it, whoever calls."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, str], _EmbeddedStore] = {}
        self._guard = threading.Lock()

    def find(self, url: str, config: Config, library: Library) -> _EmbeddedStore:
        """The store of this URL; opened, and run if nobody does, when it is asked for first."""
        key = (os.getpid(), url)  # a fork has none of its parent's threads
        with self._guard:
            found = self._found.get(key)
            if found is None:
                if not self._found:
                    atexit.register(self.close)
                found = self._found[key] = _open(url, config, library)
            return found

    def close(self) -> None:
        """Ends the schedulers; trainings that run go on in their processes."""
        with self._guard:
            for (pid, _), found in self._found.items():
                if pid == os.getpid():
                    found.attendance.stop()
                    found.store.close()
            self._found.clear()


def _open(url: str, config: Config, library: Library) -> _EmbeddedStore:
    store = JobStore(url)
    scheduler = open_scheduler(store, config.training, [library])
    models_dir = Path(config.runtime.local_models_dir)
    attendance = Attendance(
        scheduler, retention=open_shared_retention(store, config.training, models_dir)
    )
    attendance.start()
    return _EmbeddedStore(store=store, scheduler=scheduler, attendance=attendance)


# Authors call a function: the process has one set of stores, which all calls share.
_EMBEDDED = _EmbeddedStores()
