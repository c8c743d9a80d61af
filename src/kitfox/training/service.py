"""The door to training: start, ask, cancel, find the model."""

import datetime
import json
import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kitfox.errors import InvalidArgument, JobNotFound
from kitfox.training.jobs import Job, JobState, Library
from kitfox.training.publication import trainer
from kitfox.training.scheduler import Scheduler, log_folder
from kitfox.training.store import JobStore

if TYPE_CHECKING:
    from kitfox.modules import ModuleBase

__all__ = ["TrainingService", "check_model_name"]

_LONGEST_NAME = 200
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


class TrainingService:
    """Trainings as callers see them.

    Args:
        store: The job store.
        scheduler: Who runs the jobs; started and stopped by the caller.
        output_dir: The folder below which models are written.
        save_with_id: Whether each training writes into a folder named after its id. Without, a
            model is known by its name alone, and training it again replaces it.
        libraries: What workers import to find the modules.
        data_base_dir: Where training files with a relative name are looked for.
        working_dir: The working directory of workers; the present one unless given.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        scheduler: Scheduler,
        output_dir: Path | str,
        save_with_id: bool = True,
        libraries: Sequence[Library] = (),
        data_base_dir: Path | str = "",
        working_dir: Path | str = "",
    ) -> None:
        self.store = store
        self.scheduler = scheduler
        self.output_dir = Path(output_dir).absolute()
        self.save_with_id = save_with_id
        self.libraries = tuple(libraries)
        self.data_base_dir = str(Path(data_base_dir).absolute()) if data_base_dir else ""
        self.working_dir = str(Path(working_dir).absolute())
        self._logs = log_folder(store, self.output_dir)

    def start(
        self,
        module_cls: "type[ModuleBase]",
        parameters: Mapping[str, Any],
        model_name: str = "",
        *,
        model_paths: Mapping[str, str] | None = None,
        training_id: str | None = None,
    ) -> Job:
        """Accepts a training; it is in the store when this returns.

        Args:
            module_cls: Whose `train` is called.
            parameters: Its arguments as JSON values, by name. Streams and models are given by
                their sources: `{"data_stream": {...}}`, `{"model_id": "..."}`.
            model_name: What the model will be called.
            model_paths: The folder of each model that the parameters name by id.
            training_id: An id from outside; a new one unless given.

        Raises:
            InvalidArgument: A model name, or parameters, that cannot be used.
            ResourceExhausted: The queue is full.
        """
        check_model_name(model_name, needed=not self.save_with_id)
        job_id = str(uuid.uuid4()) if training_id is None else training_id
        if not _ID.fullmatch(job_id):
            raise InvalidArgument(
                f"training_id: {job_id!r} must have 1 to 64 letters, digits, '-', '_' or '.', and "
                "not begin with '.'"
            )
        place = self.output_dir / job_id if self.save_with_id else self.output_dir
        job = Job(
            id=job_id,
            module_id=module_cls.MODULE_ID,
            module_name=module_cls.MODULE_NAME,
            module_version=module_cls.MODULE_VERSION,
            model_name=model_name,
            parameters=_json_text(parameters),
            libraries=self.libraries,
            model_paths={
                key: str(Path(path).absolute()) for key, path in (model_paths or {}).items()
            },
            data_base_dir=self.data_base_dir,
            working_dir=self.working_dir,
            output_path=str(place / model_name),
            overwrite=not self.save_with_id,
            log_path=str(self._logs / f"{job_id}.log"),
            created=datetime.datetime.now(datetime.UTC),
        )
        self.scheduler.submit(job)
        return job

    def get(self, training_id: str) -> Job:
        """The training as it is now; `JobNotFound` if there is none of that id."""
        return self.store.get(training_id)

    def cancel(self, training_id: str) -> Job:
        """Ends a training that has not ended; gives it as it is then, maybe CANCELING still."""
        return self.scheduler.cancel(training_id)

    def list(
        self,
        *,
        states: Collection[JobState] = tuple(JobState),
        limit: int = 100,
        offset: int = 0,
        newest_first: bool = True,
    ) -> list[Job]:
        """Trainings in these states, newest first unless told otherwise."""
        return self.store.list(states=states, limit=limit, offset=offset, newest_first=newest_first)

    def model_path(self, training_id: str) -> Path | None:
        """Where the model of a completed training lies.

        None if there is no such training, it has made no model, or a later training under the
        same name has replaced it.
        """
        try:
            job = self.store.get(training_id)
        except JobNotFound:
            return None
        place = Path(job.output_path)
        if job.state is JobState.COMPLETED and trainer(place) == (job.id, job.attempt):
            return place
        return None


def check_model_name(name: str, *, needed: bool) -> None:
    """Raises `InvalidArgument` unless a folder can have that name and stays where it belongs.

    Args:
        name: The model's name, as a caller gave it.
        needed: Whether there must be one.
    """
    if not name:
        if needed:
            raise InvalidArgument(
                "model_name: must not be empty, as trainings are saved under their model's name "
                "(runtime.training.save_with_id is false)"
            )
        return
    if "/" in name or "\0" in name:
        raise InvalidArgument(f"model_name: {name!r} must not contain '/' or NUL")
    if name.startswith("."):
        raise InvalidArgument(f"model_name: {name!r} must not begin with '.'")
    if len(name.encode(errors="replace")) > _LONGEST_NAME:
        raise InvalidArgument(
            f"model_name: must not be longer than {_LONGEST_NAME} bytes; "
            f"{name[:20]!r}... has {len(name.encode(errors='replace'))}"
        )
    if not name.isprintable():
        raise InvalidArgument(f"model_name: {name!r} must not contain control characters")


def _json_text(parameters: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(parameters), ensure_ascii=True)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"parameters: cannot be written as JSON: {error}") from error
