"""Trainings as the commands see them, whoever runs them: a server, or this process.

Each thing that can be done is a row of the method table. `Calls` performs rows: over REST where a
server answers (`server_calls`), else by the same handlers in this process (`local_trainings`).
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from kitfox.cli.data_sources import data_sources
from kitfox.cli.server_calls import ServerCalls, choose, row_of
from kitfox.config import Config
from kitfox.errors import Unavailable
from kitfox.modules.parameters import stream_element
from kitfox.services import Method, MethodTable, Purpose

__all__ = ["ENDED", "Calls", "Description", "StartOptions", "Trainings", "find_trainings"]

Description = dict[str, Any]
"""What is known of a training: the JSON of a `TrainingDescription`."""
Event = dict[str, Any]
"""How a training goes: the JSON of a `TrainingEvent`."""

ENDED = frozenset({"COMPLETED", "CANCELED", "ERRORED"})
"""The states in which a training stays."""

_LOOK_AGAIN = 0.1
"""Seconds between looks at a training whose end or begin is waited for."""
_PATIENCE = 60.0
"""For how many seconds a server that went away is waited for."""


class Calls(Protocol):
    """Performs rows of the method table; requests and answers are JSON values."""

    @property
    def table(self) -> MethodTable:
        """The rows."""

    def call(self, method: Method, fields: Mapping[str, Any], headers: Mapping[str, str]) -> Any:
        """Performs one with one answer."""

    def events(self, method: Method, fields: Mapping[str, Any]) -> Iterator[Event]:
        """Performs one with a stream of answers."""

    def parts(self, method: Method, fields: Mapping[str, Any]) -> Iterator[bytes]:
        """Performs one that answers with a file."""

    def attend(self) -> AbstractContextManager[bool]:
        """Sees to it that trainings are run, for the length of a `with` statement.

        What it gives tells whether this process runs them.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class StartOptions:
    """How a training is to be run; None is as the server's configuration has it."""

    priority: int | None = None
    """The higher ones run first."""
    retries: int | None = None
    """How often it is begun again when its process dies."""
    promote: bool | None = None
    """Whether its model becomes the current one of its name."""

    def headers(self) -> dict[str, str]:
        """The same as headers of the call that starts it."""
        values = {"priority": self.priority, "retries": self.retries, "promote": self.promote}
        return {
            f"kitfox-{name}": str(value).lower()
            for name, value in values.items()
            if value is not None
        }


class Trainings:
    """What the commands do with trainings.

    Args:
        calls: Performs the rows of the method table.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def start(
        self,
        module: str,
        *,
        data: Sequence[str] = (),
        parameters: Mapping[str, Any],
        name: str,
        options: StartOptions,
    ) -> Description:
        """Accepts a training.

        Args:
            module: The module's name, class name or id.
            data: What `--data` says.
            parameters: Arguments of `train`, by name.
            name: What the model will be called.
            options: How it is to be run.
        """
        method = self._trainer(module)
        sources = data_sources(data, _streams(method))
        fields = {"model_name": name, "parameters": {**sources, **parameters}}
        answer: Description = self._calls.call(method, fields, options.headers())
        return answer

    def repeat(
        self,
        training_id: str,
        *,
        data: Sequence[str] = (),
        parameters: Mapping[str, Any],
        name: str,
        options: StartOptions,
    ) -> Description:
        """Accepts a training like an earlier one, but for what is given here."""
        changes = dict(parameters)
        if data:
            method = self._trainer(self.show(training_id)["module_id"])
            changes = {**data_sources(data, _streams(method)), **changes}
        fields: dict[str, Any] = {"training_id": training_id}
        fields |= {"model_name": name} if name else {}
        fields |= {"parameters": changes} if changes else {}
        return self._call(Purpose.TRAINING_REPEAT, fields, options.headers())

    def list(self, *, limit: int, **wanted: Any) -> Iterator[Description]:
        """Trainings, the newest first.

        Args:
            limit: The most.
            wanted: Fields of `ListTrainingsRequest`.
        """
        token, left = "", limit
        while left > 0:
            fields = {**wanted, "page_size": min(left, 1000), "page_token": token}
            page = self._call(Purpose.TRAINING_LIST, fields)
            found = page.get("trainings") or []
            yield from found
            left -= len(found)
            token = page.get("next_page_token") or ""
            if not token:
                return

    def show(self, training_id: str) -> Description:
        """All that is known of a training."""
        return self._one(Purpose.TRAINING_SHOW, training_id)

    def cancel(self, training_id: str) -> Description:
        """Ends a training; it may take a moment."""
        self._one(Purpose.TRAINING_CANCEL, training_id)
        return self.show(training_id)

    def stop(self, training_id: str) -> Description:
        """Ends a training early and keeps what it has; it may take a moment."""
        return self._one(Purpose.TRAINING_STOP, training_id)

    def retry(self, training_id: str) -> Description:
        """Takes up a training again that failed or was ended: a new training."""
        return self._one(Purpose.TRAINING_RETRY, training_id)

    def delete(self, training_id: str) -> None:
        """Forgets a training that has ended, and removes its log and its model."""
        self._one(Purpose.TRAINING_DELETE, training_id)

    def pin(self, training_id: str, *, pinned: bool) -> Description:
        """Keeps a training for ever, or no longer."""
        fields = {"training_id": training_id, "pinned": pinned}
        return self._call(Purpose.TRAINING_PIN, fields)

    def log(self, training_id: str) -> Iterator[str]:
        """What a training has printed and logged so far."""
        offset = 0
        while True:
            fields = {"training_id": training_id, "offset": offset}
            part = self._call(Purpose.TRAINING_LOG, fields)
            if int(part["next_offset"]) <= offset:
                return
            offset = int(part["next_offset"])
            yield part["text"]

    def download(self, training_id: str) -> Iterator[bytes]:
        """The trained model as the pieces of a zip file."""
        method = row_of(self._calls.table, Purpose.TRAINING_DOWNLOAD)
        return self._calls.parts(method, {"training_id": training_id})

    def follow(
        self, training_id: str, *, on_away: Callable[[str], None] = lambda why: None
    ) -> Iterator[Event]:
        """How a training goes, now and at each change, until it has ended.

        Args:
            training_id: Which.
            on_away: Called when the server went away. It is waited for: the next one goes on where
                it was.

        Raises:
            Unavailable: None came.
        """
        method = row_of(self._calls.table, Purpose.TRAINING_FOLLOW)
        offset, is_there, deadline = 0, True, time.monotonic() + _PATIENCE
        with self._calls.attend():
            while True:
                fields = {"training_id": training_id, "log_from": offset}
                try:
                    for event in self._calls.events(method, fields):
                        offset, is_there = int(event["log_offset"]), True
                        deadline = time.monotonic() + _PATIENCE
                        yield event
                        if event["state"] in ENDED:
                            return
                except Unavailable as away:
                    if time.monotonic() > deadline:
                        raise
                    if is_there:
                        on_away(away.message)
                    is_there = False
                time.sleep(_LOOK_AGAIN)

    def wait(self, training_id: str) -> Description:
        """What is known of a training when it has ended."""
        with self._calls.attend():
            while (found := self.show(training_id))["state"] not in ENDED:
                time.sleep(_LOOK_AGAIN)
        return found

    def launch(self, training_id: str) -> None:
        """Returns when somebody else sees to a training, or it has begun and needs nobody."""
        with self._calls.attend() as is_here:
            while is_here and self.show(training_id)["state"] == "QUEUED":
                time.sleep(_LOOK_AGAIN)

    def _trainer(self, module: str) -> Method:
        methods = {
            label: method
            for method in self._calls.table
            if method.module is not None
            for label in (
                method.module.MODULE_NAME,
                method.module.__name__,
                method.module.MODULE_ID,
            )
        }
        return choose(methods, module, "MODULE")

    def _one(self, purpose: Purpose, training_id: str) -> Description:
        return self._call(purpose, {"training_id": training_id})

    def _call(
        self, purpose: Purpose, fields: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Description:
        method = row_of(self._calls.table, purpose)
        answer: Description = self._calls.call(method, fields, headers or {})
        return answer


@contextmanager
def find_trainings(settings: Config, url: str) -> Iterator[Trainings]:
    """The trainings of the server, if one answers; one that was named must.

    Raises:
        Unavailable: The server that was named does not answer.
    """
    server = ServerCalls(settings, url)
    try:
        server.greet()
    except Unavailable:
        if url:
            raise
    else:
        yield Trainings(server)
        return
    from kitfox.cli.local_trainings import LocalTrainings

    local = LocalTrainings(settings, server.table)
    try:
        yield Trainings(local)
    finally:
        local.close()


def _streams(method: Method) -> "list[str]":
    """The parameters of a training that are streams of data."""
    signature = method.module.TRAIN_SIGNATURE if method.module is not None else None
    parameters = signature.parameters if signature is not None else {}
    return [name for name, kind in parameters.items() if stream_element(kind) is not None]
