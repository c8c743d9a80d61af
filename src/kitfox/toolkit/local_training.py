"""Trainings in threads of the calling process, for scripts that train with live Python objects.

    future = local_training.train(HelloWorldModule, stream, save_path="trained", model_name="hello")
    future.wait()
    future.load().run(...)

They end with the process. A server's trainings are other ones: they have processes of their own.
"""

import asyncio
import inspect
import logging
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kitfox.errors import InvalidArgument
from kitfox.interfaces.common.data_model import JobStatus
from kitfox.modules import (
    ModuleBase,
    TrainingContext,
    UnknownModule,
    default_registry,
    load_model,
)
from kitfox.toolkit.author_errors import CaikitCoreException, CaikitCoreStatusCode

__all__ = ["LocalTrainer", "TrainingFuture", "TrainingInfo", "get_model_future", "train"]

log = logging.getLogger("kitfox.TRAINING")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingInfo:
    """How a training goes."""

    status: JobStatus
    """Its state."""
    errors: list[BaseException]
    """What ended it, if it is ERRORED."""
    submission_time: datetime
    """When it began (aware, UTC)."""
    completion_time: datetime | None
    """When it ended, in whatever state."""


class TrainingFuture:
    """A training that runs in a thread, or has ended.

    Args:
        training_id: Its id.
        save_path: The folder to save the model to; None for a model that stays in memory.
    """

    def __init__(self, training_id: str, *, save_path: str | None = None) -> None:
        self.id = training_id
        self.save_path = save_path
        self._model: ModuleBase | None = None
        self._errors: list[BaseException] = []
        self._status = JobStatus.QUEUED
        self._submitted = datetime.now(UTC)
        self._completed: datetime | None = None
        self._lock = threading.RLock()
        self._ended = threading.Event()

    def start(self, work: Callable[[], Any]) -> None:
        """Calls `work`, which trains, in a thread.

        The process does not end before the thread does, so nothing is half saved.
        """
        self._status = JobStatus.RUNNING
        name = f"kitfox-training-{self.id}"
        threading.Thread(target=self._run, args=(work,), name=name).start()

    def get_info(self) -> TrainingInfo:
        """The training's state, what ended it, and when."""
        with self._lock:
            return TrainingInfo(
                status=self._status,
                errors=list(self._errors),
                submission_time=self._submitted,
                completion_time=self._completed,
            )

    def cancel(self) -> None:
        """Gives the training up; one that has ended stays as it is.

        Its state is CANCELED at once, and nothing is saved. Python cannot stop a thread: `train`
        itself goes on to its end, and what it returns is dropped.
        """
        self._end(JobStatus.CANCELED)

    def wait(self) -> None:
        """Returns when the training has ended, in whatever state."""
        self._ended.wait()

    def load(self) -> ModuleBase:
        """Waits, and gives the trained model: loaded from `save_path`, if it was saved.

        Raises:
            CaikitCoreException: The training was cancelled.
            BaseException: It failed, with this.
        """
        self.wait()
        if self._errors:
            raise self._errors[0]
        if self._status is JobStatus.CANCELED:
            raise _not_found(f"Training {self.id} was cancelled")
        if self._model is not None:
            return self._model
        return load_model(self.save_path or "")

    result = load

    def _run(self, work: Callable[[], Any]) -> None:
        try:
            model = work()
            if inspect.iscoroutine(model):
                model = asyncio.run(model)
            if not isinstance(model, ModuleBase):
                kind = type(model).__name__
                raise TypeError(f"train() returned {kind}; expected a module")
            if self.save_path is None:
                self._model = model
                self._end(JobStatus.COMPLETED)
            elif self._status is JobStatus.RUNNING:
                self._save(model, Path(self.save_path).absolute())
        except BaseException as error:  # the edge of the training, SystemExit too
            if self._end(JobStatus.ERRORED, error):
                log.error("Training %s failed", self.id, exc_info=error)

    def _save(self, model: ModuleBase, place: Path) -> None:
        """Saves beside the place, so that a model that fails to be saved leaves nothing there."""
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f".{place.name}.{self.id}.partial")
        try:
            model.save(str(partial))
            if not partial.exists():
                raise FileNotFoundError("save() has made no folder at the path that it was given")
            with self._lock:
                if self._status is JobStatus.RUNNING:
                    _put(partial, place)
                    self._end(JobStatus.COMPLETED)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _end(self, status: JobStatus, error: BaseException | None = None) -> bool:
        """Enters a state for ever; False if that has happened before."""
        with self._lock:
            if self._status.is_terminal:
                return False
            self._status = status
            self._errors = [] if error is None else [error]
            self._completed = datetime.now(UTC)
            self._ended.set()
            return True


class LocalTrainer:
    """Starts trainings, and finds them again by their ids."""

    def __init__(self) -> None:
        self._futures: dict[str, TrainingFuture] = {}
        self._lock = threading.Lock()

    def train(
        self,
        module: type[ModuleBase] | str,
        /,
        *args: Any,
        trainer: str = "default",
        save_path: str | os.PathLike[str] | None = None,
        save_with_id: bool = False,
        model_name: str | None = None,
        external_training_id: str | None = None,
        wait: bool = False,
        **kwargs: Any,
    ) -> TrainingFuture:
        """Trains a module in a thread of this process.

        Args:
            module: The class, or its id.
            *args: For the module's `train`.
            trainer: `default`; there is no other.
            save_path: Where the model is saved; if not given, it stays in memory.
            save_with_id: Whether a folder named after the training is made below `save_path`.
            model_name: The name of a folder that is made below that.
            external_training_id: The training's id, in place of a random one.
            wait: Whether to return only when the training has ended.
            **kwargs: For the module's `train`.

        Raises:
            ValueError: No imported module has that id, or another argument cannot be used.
            TypeError: `module` is neither a class of a module nor text.
        """
        cls = _module_class(module)
        if trainer != "default":
            raise InvalidArgument(f"trainer {trainer!r} is not known; there is only 'default'")
        training_id = external_training_id or str(uuid.uuid4())
        place = _place(save_path, training_id if save_with_id else "", model_name or "")
        future = TrainingFuture(training_id, save_path=place)
        with self._lock:
            other = self._futures.get(training_id)
            if other is not None and not other.get_info().status.is_terminal:
                raise InvalidArgument(f"training {training_id} is running; give another id")
            self._futures[training_id] = future
            given = _with_context(cls, args, kwargs)
            future.start(lambda: cls.train(*args, **given))
        if wait:
            future.wait()
        return future

    def get_model_future(self, training_id: str) -> TrainingFuture:
        """The training with that id, running or ended.

        Raises:
            CaikitCoreException: This process has started none.
        """
        with self._lock:
            found = self._futures.get(training_id)
        if found is None:
            raise _not_found(f"Unknown training_id: {training_id}")
        return found


# Authors call functions: the process has one trainer, which knows all trainings in it.
_TRAINER = LocalTrainer()
train = _TRAINER.train
get_model_future = _TRAINER.get_model_future


def _module_class(module: Any) -> type[ModuleBase]:
    if isinstance(module, str):
        try:
            return default_registry().find(module)
        except UnknownModule as error:
            raise ValueError(str(error)) from error
    if not (isinstance(module, type) and issubclass(module, ModuleBase)):
        raise TypeError(f"expected a class of a module or its id, got {module!r}")
    return module


def _with_context(
    cls: type[ModuleBase], args: Sequence[Any], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The named arguments, with a context where `train` takes one and none is given."""
    signature = cls.TRAIN_SIGNATURE
    if signature is None or signature.context_arg is None:
        return kwargs
    given = inspect.signature(cls.train).bind_partial(*args, **kwargs).arguments
    if signature.context_arg in given:
        return kwargs
    return {**kwargs, signature.context_arg: TrainingContext()}


def _place(save_path: str | os.PathLike[str] | None, *parts: str) -> str | None:
    """The folder for the model: a name that the path has in it already is not added again."""
    if save_path is None:
        return None
    path = Path(save_path)
    for part in parts:
        if Path(part).is_absolute() or ".." in Path(part).parts:
            raise InvalidArgument(f"{part!r} leads out of save_path; give a plain name")
        if part not in path.parts:
            path /= part
    return str(path)


def _put(partial: Path, place: Path) -> None:
    """Moves a saved model to its place; what else lies there already stays."""
    if place.is_dir() and any(place.iterdir()):
        shutil.copytree(partial, place, dirs_exist_ok=True)
    else:
        partial.rename(place)


def _not_found(message: str) -> CaikitCoreException:
    return CaikitCoreException(CaikitCoreStatusCode.NOT_FOUND, message)
