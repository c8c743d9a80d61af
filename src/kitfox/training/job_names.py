"""What a search by names looks through: the names of 64 jobs in two texts, in a table of its own.

To look at 100,000 rows one by one takes a database 15 to 100 ms, whatever is in them; at 1,600 such
texts it is 3 or 8. What is in a text never changes while its job is there. Beside them stands when
the first and the last of the jobs were accepted, so that a search by time passes over most.

A line of `names` is the number of a job, the name of its model and the number of its module; one of
`ids` is the number and the id. Before each of these is a separator, and one after the last, so that
each is found whole in a text, or not at all.
"""

import fnmatch
import re
from collections.abc import Collection, Iterator

from kitfox.training.database import Connection
from kitfox.training.jobs import JobFilter

__all__ = ["BLOCK", "NameFilter", "forget_names", "keep_names"]

BLOCK = 64
"""How many numbers of jobs a text is for."""
_BEGIN, _NEXT = "\x1e", "\x1f"
_REPLACED = "\ufffd"


def _plain(text: str) -> str:
    return text.replace(_BEGIN, _REPLACED).replace(_NEXT, _REPLACED)


def _plain_sql(column: str) -> str:
    return f"replace(replace({column}, '{_BEGIN}', '{_REPLACED}'), '{_NEXT}', '{_REPLACED}')"


_NAMES = (
    f"'{_BEGIN}' || jobs.number || '{_NEXT}' || {_plain_sql('jobs.model_name')} || '{_NEXT}' || "
    f"job_modules.number || '{_NEXT}'"
)
_IDS = f"'{_BEGIN}' || jobs.number || '{_NEXT}' || {_plain_sql('jobs.id')} || '{_NEXT}'"
_JOB = (
    "FROM jobs JOIN job_modules ON job_modules.module_id = jobs.module_id "
    "AND job_modules.module_name = jobs.module_name WHERE jobs.id = :id"
)
_KEEP_MODULE = """
    INSERT INTO job_modules (module_id, module_name)
    SELECT module_id, module_name FROM jobs WHERE id = :id AND NOT EXISTS (
        SELECT 1 FROM job_modules
        WHERE job_modules.module_id = jobs.module_id AND job_modules.module_name = jobs.module_name
    )
    ON CONFLICT (module_id, module_name) DO NOTHING
"""
_KEEP_NAMES = f"""
    INSERT INTO job_names (kind, block, created_from, created_to, names, ids)
    SELECT jobs.kind, jobs.number / {BLOCK}, jobs.created, jobs.created, {_NAMES}, {_IDS} {_JOB}
    ON CONFLICT (kind, block) DO UPDATE SET
        names = job_names.names || excluded.names,
        ids = job_names.ids || excluded.ids,
        created_from = CASE WHEN excluded.created_from < job_names.created_from
            THEN excluded.created_from ELSE job_names.created_from END,
        created_to = CASE WHEN excluded.created_to > job_names.created_to
            THEN excluded.created_to ELSE job_names.created_to END
"""
_OF_JOB = (
    "WHERE kind = (SELECT kind FROM jobs WHERE id = :id) "  # noqa: S608 -- constants of this file
    f"AND block = (SELECT number / {BLOCK} FROM jobs WHERE id = :id)"
)
_FORGET_NAMES = (
    f"UPDATE job_names SET names = replace(names, (SELECT {_NAMES} {_JOB}), ''), "  # noqa: S608 -- as above
    f"ids = replace(ids, (SELECT {_IDS} {_JOB}), '') {_OF_JOB}"
)
_FORGET_TEXT = f"DELETE FROM job_names {_OF_JOB} AND names = ''"  # noqa: S608 -- as above


def keep_names(connection: Connection, job_id: str) -> None:
    """Adds the names of a job whose row has just been added."""
    connection.change(_KEEP_MODULE, id=job_id)
    connection.change(_KEEP_NAMES, id=job_id)


def forget_names(connection: Connection, job_id: str) -> None:
    """Takes out the names of a job whose row is about to go."""
    connection.change(_FORGET_NAMES, id=job_id)
    connection.change(_FORGET_TEXT, id=job_id)


class NameFilter:
    """Finds the jobs in two texts whose names fit a filter.

    Args:
        wanted: The filter, of which `module`, `model_name` and `text` count.
        modules: The numbers of the modules that fit, if it names one.
    """

    def __init__(self, wanted: JobFilter, modules: Collection[int]) -> None:
        self._model = _plain(wanted.model_name)
        self._modules = frozenset(map(str, modules)) if wanted.module else None
        self._text = _plain(wanted.text)
        self._pattern = _pattern(self._text)
        parts = [self._model] if self._model else []
        if len(modules) == 1:
            parts += self._modules or ()
        self.exact = [f"{_NEXT}{part}{_NEXT}" for part in parts]
        """What is in `names` if a job fits there."""
        self.part = _longest_part(self._text)
        """What is in `names` or in `ids`; empty if that may be anything."""

    @property
    def needs_ids(self) -> bool:
        """Whether `ids` matter."""
        return bool(self._text)

    def numbers(self, names: str, ids: str) -> Collection[int]:
        """The numbers of the jobs that fit, in whatever order."""
        # Most texts have no job that fits, and are done with here.
        for part in self.exact:
            if part not in names:
                return ()
        if not self._text:
            return set(self._of_model_and_module(names))
        if self.part not in ids and self.part not in names:
            return ()
        found = {*self._with_text(names), *self._with_text(ids)}
        if found and (self._model or self._modules is not None):
            found.intersection_update(self._of_model_and_module(names))
        return found

    def _of_model_and_module(self, names: str) -> Iterator[int]:
        for line in _lines_with(self.exact[0] if self.exact else _BEGIN, names):
            number, model_name, module, _ = line.split(_NEXT)
            if self._model in ("", model_name) and (
                self._modules is None or module in self._modules
            ):
                yield int(number)

    def _with_text(self, text: str) -> Iterator[int]:
        for line in _lines_with(self.part or _BEGIN, text):
            number, name, *_ = line.split(_NEXT)
            fits = self._pattern.fullmatch(name) if self._pattern else self._text in name
            if fits:
                yield int(number)


def _lines_with(part: str, names: str) -> Iterator[str]:
    """The lines that have a part in them, each once."""
    at = names.find(part)
    while at >= 0:
        begin = names.rfind(_BEGIN, 0, at + 1) + 1
        end = names.find(_BEGIN, begin)
        if end < 0:
            end = len(names)
        yield names[begin:end]
        at = names.find(part, end)


def _pattern(text: str) -> re.Pattern[str] | None:
    """The expression that a text with wildcards stands for; it takes no square of time."""
    if "*" not in text and "?" not in text:
        return None
    return re.compile(fnmatch.translate(text.replace("[", "[[]")))


def _longest_part(text: str) -> str:
    """What is in every name that fits a text."""
    return max(re.split(r"[*?]", text), key=len)
