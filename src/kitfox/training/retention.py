"""What goes of trainings that have ended, and when: record, log, checkpoints and model.

A job is first marked in the store, which hides it; then its files go, the model by a rename to a
hidden name before anything of it is removed; then its record. Whoever looks after the store next
does what is left to do, so that nothing lies about however the process ended.
"""

import contextlib
import datetime
import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from kitfox import logs
from kitfox.errors import FailedPrecondition
from kitfox.modules.manifest import UnreadableModel
from kitfox.modules.publication import remove_tree, sync_folder
from kitfox.training import publication
from kitfox.training.given_values import data_folder
from kitfox.training.jobs import TERMINAL, Job, JobState, RetentionRules
from kitfox.training.store import JobStore

__all__ = ["Retention", "RetentionRules", "is_current"]

log = logs.channel("TRAINING")

_BATCH = 500
"""How many jobs are taken at a time."""
_UNFINISHED = frozenset(JobState) - TERMINAL


def _nothing_more(job: Job) -> bool:
    return False


class Retention:
    """Removes the trainings of one store, by rules or at somebody's word.

    Args:
        store: The jobs.
        rules: How much is kept; everything unless given.
        is_kept: Tells what must stay for other reasons, as a model that is in use.
        period: Seconds between two looks at the rules.
        shared: Whether others look as well, so that this one passes over a look that would be too
            early: of many commands one after the other few look.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        rules: RetentionRules | None = None,
        is_kept: Callable[[Job], bool] = _nothing_more,
        period: float = 60.0,
        shared: bool = False,
    ) -> None:
        self.store = store
        self.rules = rules or RetentionRules()
        self._is_kept = is_kept
        self._period = period
        self._shared = shared
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to look at the rules. Called by who runs the jobs of the store, so by one."""
        if self._thread is not None:
            raise FailedPrecondition("This retention has been started already")
        self._thread = threading.Thread(target=self._run, name="kitfox-retention", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, after the job that it is at."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def sweep(self) -> int:
        """Removes what breaks a rule, and what was begun to be removed; tells how many it was."""
        count = self._finish(self.store.removed(_BATCH))
        if self.rules.bytes is not None:
            self._measure()
        limit = _BATCH
        while not self._ended.is_set():
            now = datetime.datetime.now(datetime.UTC)
            expired = self.store.expired(self.rules, now, limit=limit)
            needed = self._needed()
            going = [job for job in expired if not needed.has(job) and not self._is_kept(job)]
            marked = self.store.mark_removed([job.id for job in going], unused=True)
            count += self._finish(marked)
            if len(expired) < limit:
                break
            if not marked:
                limit *= 2  # those that come first are all kept
        return count

    def remove_now(self, job: Job) -> None:
        """Removes one training, whatever the rules say.

        Raises:
            FailedPrecondition: It has not ended, is pinned, or another training needs its files.
            JobNotFound: It has been removed already.
        """
        current = self.store.get(job.id, log_tail=False)
        if current.state not in TERMINAL:
            raise FailedPrecondition(
                f"Training {job.id} is {current.state}; only one that has ended can be removed"
            )
        if user := self._needed().by(current):
            raise FailedPrecondition(
                f"Training {job.id} cannot be removed: training {user} needs its files"
            )
        marked = self.store.mark_removed([job.id])
        if not marked:
            raise FailedPrecondition(f"Training {job.id} is pinned; unpin it to remove it")
        self._finish(marked)

    def _run(self) -> None:
        while True:
            try:
                if not self._shared or self.store.begin_sweep(self._period):
                    count = self.sweep()
                    if count:
                        log.info("%d trainings were kept long enough and are removed", count)
            except Exception:
                log.exception("Trainings that have been kept long enough could not be removed")
            if self._ended.wait(self._period):
                return

    def _needed(self) -> "_NeededFiles":
        unfinished = self.store.list(states=_UNFINISHED, limit=1_000_000)
        return _NeededFiles(unfinished)

    def _measure(self) -> None:
        """Looks how much ended jobs keep on the disk, once for each."""
        while not self._ended.is_set():
            jobs = self.store.unmeasured(limit=_BATCH)
            if not jobs:
                return
            self.store.measured({job.id: sum(map(_size, _files(job))) for job in jobs})

    def _finish(self, marked: Iterable[Job]) -> int:
        """Removes files and records of jobs that are marked."""
        done = []
        for job in marked:
            try:
                _remove_files(job)
            except (OSError, UnreadableModel) as error:
                log.warning("The files of training %s cannot be removed yet: %s", job.id, error)
            else:
                done.append(job.id)
        if done:
            self.store.remove(done)
        return len(done)


def is_current(job: Job, models_dir: Path) -> bool:
    """Whether a training's model is what the model's name means; yes, where nobody can tell.

    Args:
        job: The training.
        models_dir: The models folder: what was promoted has a copy there, which tells whose it is.
    """
    try:
        if job.overwrite:
            return publication.is_published(job)
        if not job.model_name:
            return False
        found = publication.trainer(models_dir / job.model_name)
    except UnreadableModel:
        return True
    return found is not None and found[0] == job.id


class _NeededFiles:
    """What jobs that have not ended read of others.

    Args:
        unfinished: Those jobs.
    """

    def __init__(self, unfinished: Iterable[Job]) -> None:
        self._users = {
            Path(path): job.id
            for job in unfinished
            for path in (*job.model_paths.values(), job.resume_path)
            if path
        }

    def has(self, job: Job) -> bool:
        """Whether one of them reads of this job."""
        return self.by(job) is not None

    def by(self, job: Job) -> str | None:
        """The id of a job that reads of this one."""
        own = (Path(job.output_path), publication.checkpoint_root(job))
        for path, user in self._users.items():
            if any(path == place or place in path.parents for place in own):
                return user
        return None


def _files(job: Job) -> list[Path]:
    """What a job keeps on the disk."""
    place = Path(job.output_path)
    try:
        is_own = publication.is_published(job)
    except UnreadableModel:
        is_own = False  # what cannot be read is not measured either
    return [
        *([place] if is_own else []),
        publication.checkpoint_root(job),
        *([Path(job.log_path), data_folder(job.log_path)] if job.log_path else []),
    ]


def _remove_files(job: Job) -> None:
    """Removes what a job keeps; may be repeated.

    Raises:
        OSError: The model cannot be taken out of its place, or something is left.
        UnreadableModel: There may be a model in its place.
    """
    place = Path(job.output_path)
    trash = place.with_name(f".{place.name}.{job.id}.removed")
    if publication.is_published(job):
        # So nobody ever finds a half of it.
        place.rename(trash)
        sync_folder(place.parent)
    _remove(trash)
    publication.discard(job, checkpoints=True)
    _remove(publication.checkpoint_root(job))
    if job.log_path:
        _remove(data_folder(job.log_path))
        _remove(Path(job.log_path))
    if place.parent.name == job.id:  # the folder that was made for this job alone
        with contextlib.suppress(OSError):
            place.parent.rmdir()  # fails if somebody else has put something there


def _remove(path: Path) -> None:
    """Removes a file or a folder; what is left when its record is gone would be left for ever."""
    remove_tree(path)
    if os.path.lexists(path):
        raise OSError(errno.EBUSY, "it is still there", str(path))


def _size(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    total = 0
    for file in (path, *_below(path)):
        try:
            status = file.lstat()
        except OSError:
            continue  # there is nothing, or not any more
        total += status.st_blocks * 512
    return total


def _below(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in names:
            yield Path(parent, name)
