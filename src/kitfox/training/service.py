"""The door to training: start, ask, end, take up again, find the model."""

import contextlib
import datetime
import json
import re
import threading
import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kitfox.errors import FailedPrecondition, InvalidArgument, JobNotFound
from kitfox.modules import module_registry
from kitfox.modules.manifest import UnreadableModel
from kitfox.modules.publication import remove_tree
from kitfox.training.given_values import carry_over, data_folder
from kitfox.training.jobs import (
    TERMINAL,
    Job,
    JobFilter,
    JobOptions,
    JobPage,
    JobState,
    Library,
)
from kitfox.training.log_parts import LogPart, read_part
from kitfox.training.publication import newest_checkpoint, patiently, trainer
from kitfox.training.redaction import Redactions
from kitfox.training.retention import Retention
from kitfox.training.scheduler import Scheduler, log_folder
from kitfox.training.store import JobStore

if TYPE_CHECKING:
    from kitfox.modules import ModuleBase

__all__ = ["TrainingService", "check_model_name"]

_AS_CONFIGURED = JobOptions()
_ALL = JobFilter()
_LONGEST_NAME = 200
_LARGEST_LOG_PART = 1 << 20
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


class TrainingService:
    """Trainings as callers see them: without the keys and passwords that are in their parameters.

    Everything here waits for the disk.

    Args:
        store: The job store.
        scheduler: Who runs the jobs; started and stopped by the caller.
        output_dir: The folder below which models are written.
        save_with_id: Whether each training writes into a folder named after its id. Without, a
            model is known by its name alone, and training it again replaces it.
        libraries: What workers import to find the modules.
        data_base_dir: Where training files with a relative name are looked for.
        working_dir: The working directory of workers; the present one unless given.
        retries: How often a training whose worker died is begun again, unless it says otherwise.
        promote: Whether a model becomes the current version of its name, unless its training says
            otherwise.
        promotable: Whether that takes a step of its own.
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
        retries: int = 0,
        promote: bool = False,
        promotable: bool = True,
    ) -> None:
        self.store = store
        self.scheduler = scheduler
        self.output_dir = Path(output_dir).absolute()
        self.save_with_id = save_with_id
        self.libraries = tuple(libraries)
        self.data_base_dir = str(Path(data_base_dir).absolute()) if data_base_dir else ""
        self.working_dir = str(Path(working_dir).absolute())
        self._retries = retries
        self._promote = promote
        self._promotable = promotable
        self._logs = log_folder(store, self.output_dir)
        self._redact = Redactions(store.parameters)
        self._removal = Retention(store=store)
        self._read: Counter[str] = Counter()
        self._guard = threading.Lock()

    def start(
        self,
        module_cls: "type[ModuleBase]",
        parameters: Mapping[str, Any],
        model_name: str = "",
        *,
        model_paths: Mapping[str, str] | None = None,
        training_id: str | None = None,
        options: JobOptions = _AS_CONFIGURED,
        request_id: str = "",
    ) -> Job:
        """Accepts a training; it is in the store when this returns.

        Args:
            module_cls: Whose `train` is called.
            parameters: Its arguments as JSON values, by name. Streams and models are given by
                their sources: `{"data_stream": {...}}`, `{"model_id": "..."}`.
            model_name: What the model will be called.
            model_paths: The folder of each model that the parameters name by id.
            training_id: An id from outside; a new one unless given.
            options: How it is to be run.
            request_id: Identifies the call that asks for it.

        Raises:
            InvalidArgument: A model name, or parameters, that cannot be used.
            ResourceExhausted: The queue is full.
        """
        retries = options.retries
        if retries is None:
            retries = module_cls.TRAIN_RETRIES
        promote = self._promote and bool(model_name) if options.promote is None else options.promote
        job = Job(
            id="" if training_id is None else training_id,
            module_id=module_cls.MODULE_ID,
            module_name=module_cls.MODULE_NAME,
            module_version=module_cls.MODULE_VERSION,
            model_name=model_name,
            parameters=_json_text(parameters),
            libraries=self.libraries,
            model_paths=_absolute(model_paths),
            data_base_dir=self.data_base_dir,
            working_dir=self.working_dir,
            created=datetime.datetime.now(datetime.UTC),
            priority=options.priority or 0,
            retries=self._retries if retries is None else retries,
            promotion=self._promotion(promote, model_name),
            resume_path=options.resume_path,
            retry_of=options.retry_of,
            again_of=options.again_of,
            request_id=request_id,
        )
        return self._submit(job, is_new=training_id is None)

    def get(self, training_id: str) -> Job:
        """The training as it is now; `JobNotFound` if there is none of that id."""
        return self._shown(self.store.get(training_id))

    def page(
        self,
        wanted: JobFilter = _ALL,
        *,
        limit: int = 100,
        token: str = "",
        newest_first: bool = True,
    ) -> JobPage:
        """Trainings that fit a filter, without the ends of their logs.

        Args:
            wanted: The filter.
            limit: The most of them.
            token: The `next_token` of the page before.
            newest_first: In which order.

        Raises:
            InvalidArgument: The token is none.
        """
        found = self.store.page(wanted, limit=limit, token=token, newest_first=newest_first)
        return replace(found, jobs=tuple(self._shown(job) for job in found.jobs))

    def list(
        self,
        *,
        states: Collection[JobState] = tuple(JobState),
        limit: int = 100,
        offset: int = 0,
        newest_first: bool = True,
    ) -> list[Job]:
        """Trainings in these states, newest first unless told otherwise."""
        found = self.store.list(
            states=states, limit=limit, offset=offset, newest_first=newest_first
        )
        return [self._shown(job) for job in found]

    def counts(self) -> dict[str, int]:
        """How many trainings there are, by the name of their state."""
        return {state.value: number for state, number in self.store.counts().items()}

    def these(self, training_ids: Collection[str]) -> dict[str, Job]:
        """Those of some trainings that are there, by their ids, as in a page."""
        return {job.id: self._shown(job) for job in self.store.these(training_ids)}

    def cancel(self, training_id: str) -> Job:
        """Ends a training that has not ended; gives it as it is then, maybe CANCELING still."""
        return self._shown(self.scheduler.cancel(training_id))

    def stop(self, training_id: str) -> Job:
        """Asks a training to end early and to keep what it has; one that waits is CANCELED."""
        return self._shown(self.scheduler.stop_job(training_id))

    def retry(self, training_id: str, *, request_id: str = "") -> Job:
        """Takes up again a training that failed or was ended, as a new one.

        It goes on from the last checkpoint, if there is one.

        Raises:
            FailedPrecondition: It has not ended, or has made its model.
            ResourceExhausted: The queue is full.
            UnreadableModel: There may be a checkpoint.
        """
        old = self.store.get(training_id)
        if old.state not in TERMINAL or old.state is JobState.COMPLETED:
            what = "has made its model; repeat it" if old.state in TERMINAL else "goes on"
            raise FailedPrecondition(
                f"Training {old.id} is {old.state}: only one that failed or was ended can be taken "
                f"up again, and this one {what}"
            )
        place = patiently(lambda: newest_checkpoint(old))
        job = replace(
            self._like(old),
            resume_path=str(place) if place else old.resume_path,
            retry_of=old.id,
            request_id=request_id,
        )
        return self._submit(job)

    def repeat(
        self,
        training_id: str,
        changes: Mapping[str, Any] | None = None,
        *,
        model_name: str | None = None,
        model_paths: Mapping[str, str] | None = None,
        options: JobOptions = _AS_CONFIGURED,
        request_id: str = "",
    ) -> Job:
        """Trains again with the parameters and the data of an earlier training, from the start.

        Args:
            training_id: The earlier one, in whatever state.
            changes: Parameters that are to be different; None as a value leaves one out.
            model_name: What the model will be called; as then unless given.
            model_paths: The folder of each model that the changes name by id.
            options: How it is to be run, where that is to be different.
            request_id: Identifies the call that asks for it.

        Raises:
            InvalidArgument: A model name, or parameters, that cannot be used.
            ResourceExhausted: The queue is full.
        """
        old = self.store.get(training_id)
        job = replace(self._like(old), again_of=old.id, request_id=request_id)
        if changes:
            kept = {**json.loads(job.parameters or "{}"), **changes}
            given = {name: value for name, value in kept.items() if value is not None}
            job = replace(
                job,
                parameters=_json_text(given),
                model_paths={**job.model_paths, **_absolute(model_paths)},
            )
        if model_name is not None:
            job = replace(job, model_name=model_name, promotion=job.promotion if model_name else "")
        if options.priority is not None:
            job = replace(job, priority=options.priority)
        if options.retries is not None:
            job = replace(job, retries=options.retries)
        if options.promote is not None:
            job = replace(job, promotion=self._promotion(options.promote, job.model_name))
        return self._submit(job)

    def pin(self, training_id: str, pinned: bool) -> Job:
        """Keeps a training, its log and its model for ever, or no longer."""
        return self._shown(self.store.set(training_id, pinned=pinned))

    def delete(self, training_id: str) -> None:
        """Forgets a training that has ended, and removes its log, its checkpoints and its model.

        Raises:
            FailedPrecondition: It has not ended, is pinned, or somebody needs its files.
        """
        job = self.store.get(training_id, log_tail=False)
        if self.is_read(job.id):
            raise FailedPrecondition(f"Training {job.id} cannot be removed: it is being downloaded")
        self._removal.remove_now(job)

    def parameters(self, training_id: str) -> str:
        """What its `train` was given, as JSON text, keys and passwords included."""
        return self.store.parameters(training_id)

    def log(self, training_id: str, *, offset: int = 0, limit: int = 65536) -> LogPart:
        """A part of what a training has logged.

        Args:
            training_id: The training.
            offset: The byte to begin at: 0, or the `next_offset` of the part before.
            limit: The most bytes.

        Raises:
            InvalidArgument: There is no such part.
        """
        if offset < 0:
            raise InvalidArgument(f"offset: must not be negative, got {offset}")
        if not 1 <= limit <= _LARGEST_LOG_PART:
            raise InvalidArgument(f"limit: expected 1 to {_LARGEST_LOG_PART}, got {limit}")
        job = self.store.get(training_id)
        part = self.log_of(job, offset=offset, limit=limit)
        if part is None:
            part = _of_tail(self._redact(job.id, job.log_tail), offset, limit)
        return replace(part, ended=part.ended and job.state in TERMINAL)

    def log_of(
        self, job: Job, *, offset: int, limit: int, whole_lines: bool = False
    ) -> LogPart | None:
        """The same of a training that is at hand, as far as it is in its file.

        Args:
            job: The training.
            offset: The byte to begin at.
            limit: The most bytes.
            whole_lines: See `read_part`.

        Returns:
            `ended` says whether the part reaches to the end of what is in the file now. None where
            there is no file: on another host, or when nothing was written yet.
        """
        part = read_part(job.log_path, offset, limit, whole_lines=whole_lines)
        return part and replace(part, text=self._redact(job.id, part.text))

    def model_path(self, training_id: str) -> Path | None:
        """Where the model of a completed training lies.

        None if there is no such training, it has made no model, or a later training under the
        same name has replaced it.
        """
        try:
            job = self.store.get(training_id, log_tail=False)
        except JobNotFound:
            return None
        return self.place(job)

    def place(self, job: Job) -> Path | None:
        """Where the model of a training lies; None as for `model_path`."""
        if job.state is not JobState.COMPLETED:
            return None
        place = Path(job.output_path)
        try:
            made_by = trainer(place)
        except UnreadableModel:  # lists show the others all the same
            return None
        return place if made_by == (job.id, job.attempt) else None

    @contextlib.contextmanager
    def reading(self, training_id: str) -> Iterator[Path]:
        """The folder of a training's model, which stays while somebody reads it.

        Raises:
            FailedPrecondition: It has no model.
        """
        with self._guard:
            self._read[training_id] += 1
        try:
            job = self.store.get(training_id, log_tail=False)
            place = self.place(job)
            if place is None:
                why = f"it is {job.state}"
                if job.state is JobState.COMPLETED:
                    why = "another one has taken its place, or it was removed"
                raise FailedPrecondition(f"Training {job.id} has no model: {why}")
            yield place
        finally:
            with self._guard:
                self._read[training_id] -= 1
                if not self._read[training_id]:
                    del self._read[training_id]

    def is_read(self, training_id: str) -> bool:
        """Whether somebody reads its model just now."""
        with self._guard:
            return training_id in self._read

    def _promotion(self, promote: bool, model_name: str) -> str:
        """What is kept of whether a model is to become the current one."""
        if promote and not model_name:
            raise InvalidArgument(
                "model_name: must not be empty, as the model is to become the current one of its "
                "name"
            )
        return "wanted" if promote and self._promotable else ""

    def _submit(self, job: Job, *, is_new: bool = True) -> Job:
        """Gives a job its id and its places, and keeps it."""
        check_model_name(job.model_name, needed=not self.save_with_id)
        job_id = str(uuid.uuid4()) if is_new else job.id
        if not _ID.fullmatch(job_id):
            raise InvalidArgument(
                f"training_id: {job_id!r} must have 1 to 64 letters, digits, '-', '_' or '.', and "
                "not begin with '.'"
            )
        folder = self.output_dir / job_id if self.save_with_id else self.output_dir
        placed = replace(
            job,
            id=job_id,
            output_path=str(folder / job.model_name),
            overwrite=not self.save_with_id,
            log_path=str(self._logs / f"{job_id}.log"),
        )
        if origin := placed.retry_of or placed.again_of:
            placed = carry_over(placed, origin)
        try:
            self.scheduler.submit(placed)
        except BaseException:
            remove_tree(data_folder(placed.log_path))
            raise
        return placed

    def _like(self, old: Job) -> Job:
        """A job that does what an earlier one did; its module may be of a later version."""
        module = module_registry().get(old.module_id)
        return Job(
            id="",
            module_id=old.module_id,
            module_name=old.module_name if module is None else module.MODULE_NAME,
            module_version=old.module_version if module is None else module.MODULE_VERSION,
            model_name=old.model_name,
            parameters=self.store.parameters(old.id),
            libraries=old.libraries,
            model_paths=old.model_paths,
            data_base_dir=old.data_base_dir,
            working_dir=old.working_dir,
            created=datetime.datetime.now(datetime.UTC),
            priority=old.priority,
            retries=old.retries,
            promotion="wanted" if old.promotion else "",
        )

    def _shown(self, job: Job) -> Job:
        """The job as it may be shown."""
        if not job.reasons and not job.log_tail:
            return job
        return replace(
            job,
            reasons=tuple(self._redact(job.id, reason) for reason in job.reasons),
            log_tail=self._redact(job.id, job.log_tail),
        )


def _of_tail(tail: str, offset: int, limit: int) -> LogPart:
    """A part of a log of which there is only the end."""
    data = tail.encode()
    piece = data[offset : offset + limit]
    return LogPart(
        text=piece.decode(errors="replace"),
        next_offset=min(offset, len(data)) + len(piece),
        ended=offset + limit >= len(data),
    )


def _absolute(paths: Mapping[str, str] | None) -> dict[str, str]:
    return {key: str(Path(path).absolute()) for key, path in (paths or {}).items()}


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
