"""Which models a list has, and in which order, so that it can be told a page at a time.

First come those of the models folder and those that are in memory, by name, and, where all are
asked for, each followed by its versions; then those that trainings have made, the newest first.
Nothing is read but names: a page costs a look at the folder, and what it tells.
"""

import os
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import NamedTuple

from kitfox.errors import InvalidArgument
from kitfox.models import ModelReference, ModelStore
from kitfox.training import Job, JobFilter, JobState, TrainingService

__all__ = ["Listed", "ModelListing"]

_JOBS = 100
"""How many trainings are looked at at a time."""
_IN_TRAININGS = "/"
"""What a token begins with that stands for a trained model; no model id does."""


class Listed(NamedTuple):
    """One model of a list."""

    model_id: str
    """What it is asked for by."""
    token: str
    """Asks for those after it."""


class ModelListing:
    """Goes through the models that there are. Reads the disk.

    Args:
        store: The models folder, and what has been brought from remote stores.
        trainings: What has made models; None: nothing has.
    """

    def __init__(self, store: ModelStore, trainings: TrainingService | None) -> None:
        self._store = store
        self._trainings = trainings

    def in_memory(self, pattern: str, known: Iterable[str], token: str = "") -> Iterator[Listed]:
        """Models that are loaded, are being loaded, or did not load.

        Args:
            pattern: What the id must contain; with `*`, `?` or `[` in it, a pattern for all of it.
            known: The ids of all of them.
            token: That of the last one that was told; empty: from the first.
        """
        return self._named(_matching(pattern), known, token, with_versions=False)

    def every(
        self,
        pattern: str,
        known: Collection[str] = (),
        token: str = "",
        *,
        everything: bool = False,
    ) -> Iterator[Listed]:
        """Models of the models folder as well.

        Args:
            pattern: As for `in_memory`.
            known: The ids of those that are loaded, are being loaded, or did not load.
            token: As for `in_memory`.
            everything: Whether there are also those that can be asked for without being seen in the
                folder: versions that are not current, trained ones, and those of remote stores
                that have been downloaded.
        """
        matches = _matching(pattern)
        if not token.startswith(_IN_TRAININGS):
            downloaded = self._store.downloaded() if everything else []
            names = {*self._store.names(), *known, *downloaded}
            yield from self._named(matches, names, token, with_versions=everything)
            token = ""
        if everything:
            yield from self._trained(matches, _hint(pattern), frozenset(known), token)

    def _named(
        self,
        matches: Callable[[str], bool],
        model_ids: Iterable[str],
        token: str,
        *,
        with_versions: bool,
    ) -> Iterator[Listed]:
        """Models by name, each followed by its versions but for that which its name stands for."""
        ids_of: defaultdict[str, set[str]] = defaultdict(set)
        for model_id in model_ids:
            ids_of[model_id.partition("@")[0]].add(model_id)
        versioned = self._store.versioned_names() if with_versions else frozenset[str]()
        names = sorted(ids_of.keys() | versioned)
        last = _place(token)
        for name in names[bisect_left(names, last[0]) :]:
            found = ids_of[name]
            if name in versioned:
                found = found | {f"{name}@{one}" for one in self._store.other_versions(name)}
            for model_id in sorted(found):
                if _place(model_id) > last and matches(model_id):
                    yield Listed(model_id, model_id)

    def _trained(
        self, matches: Callable[[str], bool], hint: str, known: Collection[str], token: str
    ) -> Iterator[Listed]:
        """Models that are nowhere but where a training has put them."""
        if self._trainings is None:
            return
        page_token, _, after = token.removeprefix(_IN_TRAININGS).partition("/")
        wanted = JobFilter(states=frozenset({JobState.COMPLETED}), text=hint)
        while True:
            page = self._trainings.page(wanted, limit=_JOBS, token=page_token)
            ids = [job.id for job in page.jobs]
            begin = ids.index(after) + 1 if after in ids else 0
            for job in page.jobs[begin:]:
                model_id = _id_of(job)
                if matches(model_id) and not self._is_told_elsewhere(job, model_id, known):
                    yield Listed(model_id, f"{_IN_TRAININGS}{page_token}/{job.id}")
            page_token, after = page.next_token, ""
            if not page_token:
                return

    def _is_told_elsewhere(self, job: Job, model_id: str, known: Collection[str]) -> bool:
        """Whether a trained model is in memory, or in the models folder under whatever name."""
        if job.id in known or model_id in known:
            return True
        root = self._store.root.absolute()
        # Trainings may be kept in the models folder: by their ids, or as models of their names.
        if Path(job.output_path).absolute().parent == root or os.path.lexists(root / job.id):
            return True
        return "@" in model_id and self._store.has_version(job.model_name, job.id)


def _id_of(job: Job) -> str:
    """What a trained model is asked for by: with its name, if it has one that ids can have."""
    model_id = f"{job.model_name}@{job.id}"
    try:
        ModelReference.parse(model_id)
    except InvalidArgument:
        return job.id
    return model_id


def _place(model_id: str) -> tuple[str, str]:
    """Where an id is in the order of names: right behind the model that it is a version of."""
    return model_id.partition("@")[0], model_id


def _matching(pattern: str) -> Callable[[str], bool]:
    if any(char in pattern for char in "*?["):
        return partial(_fits, pattern)
    return partial(_contains, pattern)


def _fits(pattern: str, model_id: str) -> bool:
    return fnmatchcase(model_id, pattern)


def _contains(part: str, model_id: str) -> bool:
    return part in model_id


def _hint(pattern: str) -> str:
    """What the name or the id of a training must contain for `name@id` to match; empty: anything.

    Trainings are found by it without a look at each: there may be very many.
    """
    if any(char in pattern for char in "*?["):
        pattern = re.split(r"[*?[]", pattern, maxsplit=1)[0]
    return max(pattern.split("@"), key=len)
