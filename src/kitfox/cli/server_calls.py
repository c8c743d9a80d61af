"""Calls of a running server over REST, by the routes of the method table."""

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from kitfox.config import Config
from kitfox.errors import InvalidArgument, KitfoxError, Unavailable
from kitfox.services import Method, Purpose, configured_table

__all__ = ["ServerCalls"]

_END = {"COMPLETED", "CANCELED", "ERRORED"}


class ServerCalls:
    """The methods of a server that the command line uses.

    Args:
        config: Names the library, and the port when `url` is empty.
        url: The server's address, such as `http://localhost:8080`.
    """

    def __init__(self, config: Config, url: str) -> None:
        scheme = "https" if config.runtime.tls.server.cert else "http"
        self._url = url.rstrip("/") or f"{scheme}://localhost:{config.runtime.http.port}"
        self._tls = None
        if self._url.startswith("https:"):
            from kitfox.server.tls import client_context

            self._tls = client_context(config, is_own=not url)
        sys.path[:0] = config.runtime.python_path
        self._table = configured_table(config.runtime, protocols=True)

    def greet(self) -> None:
        """Finds out whether the server answers.

        Raises:
            Unavailable: It does not.
        """
        self._send(urllib.request.Request(f"{self._url}/health"))  # noqa: S310 -- the user's own

    def infer(self, task: str, body: dict[str, Any]) -> Any:
        """Runs a model; `task` may be the task's class name or its route."""
        methods = {
            name: method
            for method in self._table
            if method.purpose is Purpose.INFERENCE and method.route
            for name in (method.name.removesuffix("Predict"), method.route.path.rsplit("/", 1)[1])
        }
        return self._call(_chosen(methods, task, "--task"), body)

    def train(self, module: str, data: Path, name: str, settings: dict[str, Any]) -> Any:
        """Starts a training on a file that the server can read."""
        methods = {
            label: method
            for method in self._table
            if method.module is not None
            for label in (
                method.module.MODULE_NAME,
                method.module.__name__,
                method.module.MODULE_ID,
            )
        }
        method = _chosen(methods, module, "MODULE")
        parameters = {self._data_parameter(method): _file_source(data), **settings}
        return self._call(method, {"model_name": name, "parameters": parameters})

    def status(self, training_id: str) -> Any:
        """How a training goes."""
        return self._managed(Purpose.TRAINING_STATUS, training_id)

    def cancel(self, training_id: str) -> Any:
        """Ends a training."""
        return self._managed(Purpose.TRAINING_CANCEL, training_id)

    def manage(self, purpose: Purpose, **fields: Any) -> Any:
        """Calls one of the methods that manage models.

        Args:
            purpose: Which.
            fields: Of its request.
        """
        method = next(method for method in self._table if method.purpose is purpose)
        if method.route is not None and method.route.verb == "POST":
            return self._call(method, fields)
        query = {name: str(value) for name, value in fields.items() if value not in ("", None)}
        return self._call(method, None, **query)

    def follow(self, training_id: str) -> Any:
        """Waits until a training has ended; tells its last state."""
        while True:
            status = self.status(training_id)
            if status["state"] in _END:
                return status
            time.sleep(0.1)

    def _managed(self, purpose: Purpose, training_id: str) -> Any:
        method = next(method for method in self._table if method.purpose is purpose)
        return self._call(method, None, training_id=training_id)

    @staticmethod
    def _data_parameter(method: Method) -> str:
        parameters = method.request.get_field_message_type("parameters")
        assert parameters is not None, method.name  # noqa: S101 -- every training request has it
        for field in parameters.get_proto_class().DESCRIPTOR.fields:
            if field.message_type and field.message_type.name.startswith("DataStreamSource"):
                return str(field.name)
        raise InvalidArgument(f"{method.name} takes no stream of training data")

    def _call(self, method: Method, body: Any, **query: str) -> Any:
        assert method.route is not None, method.name  # noqa: S101 -- chosen for its route
        url = self._url + method.route.path
        if query:
            url += "?" + urllib.parse.urlencode(query)
        request = urllib.request.Request(  # noqa: S310 -- the user's own address
            url,
            method=method.route.verb,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        return self._send(request)

    def _send(self, request: urllib.request.Request) -> Any:
        try:
            with urllib.request.urlopen(request, context=self._tls) as answer:  # noqa: S310 -- as above
                text = answer.read()
                return json.loads(text) if text[:1] in (b"{", b"[") else text
        except urllib.error.HTTPError as err:
            raise KitfoxError(_reason(err)) from err
        except urllib.error.URLError as err:
            raise Unavailable(
                f"no server answers at {self._url} ({err.reason}); is `kitfox serve` running?"
            ) from err


def _chosen(methods: dict[str, Method], wanted: str, what: str) -> Method:
    if wanted in methods:
        return methods[wanted]
    if not wanted and len({method.path for method in methods.values()}) == 1:
        return next(iter(methods.values()))
    known = ", ".join(sorted(methods)) or "none"
    raise InvalidArgument(f"{what} {wanted!r}: expected one of: {known}")


def _file_source(path: Path) -> dict[str, Any]:
    return {"data_stream": {"filename": str(path.resolve())}}


def _reason(err: urllib.error.HTTPError) -> str:
    text = err.read().decode(errors="replace")
    try:
        body = json.loads(text)
        return str(body.get("details") or body.get("detail"))
    except (ValueError, AttributeError):
        return f"HTTP {err.code}: {text[:200]}"
