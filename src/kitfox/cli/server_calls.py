"""Calls of a running server over REST, by the routes of the method table."""

import http.client
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from functools import partial
from types import MappingProxyType
from typing import Any

from kitfox.config import Config
from kitfox.errors import InvalidArgument, KitfoxError, Unavailable
from kitfox.services import BodyStyle, Method, MethodTable, Purpose, configured_table

__all__ = ["ServerCalls", "choose", "row_of"]

_NONE: Mapping[str, str] = MappingProxyType({})
_UNSAID: tuple[Any, ...] = ("", None, [])
_SILENCE = 60.0
"""Seconds after which a server that says nothing counts as gone; it says something every 15."""
_PIECE = 1 << 18
_OK, _UNAVAILABLE = 200, 503


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
        self.table = configured_table(config.runtime, protocols=True)

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
            for method in self.table
            if method.purpose is Purpose.INFERENCE and method.route
            for name in (method.name.removesuffix("Predict"), method.route.path.rsplit("/", 1)[1])
        }
        return self.call(choose(methods, task, "--task"), body)

    def manage(self, purpose: Purpose, **fields: Any) -> Any:
        """Calls one of the methods that manage models.

        Args:
            purpose: Which.
            fields: Of its request.
        """
        return self.call(row_of(self.table, purpose), fields)

    def call(
        self, method: Method, fields: Mapping[str, Any], headers: Mapping[str, str] = _NONE
    ) -> Any:
        """Calls a method.

        Args:
            method: A row of the table.
            fields: Of its request.
            headers: What is said beside it.
        """
        return self._send(self._request(method, fields, headers))

    def events(self, method: Method, fields: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """What a method with a stream of answers tells, as it comes.

        Raises:
            Unavailable: The server is not there, or went away in the middle.
        """
        request = self._request(method, fields, {"accept": "application/x-ndjson"})
        with self._open(request, timeout=_SILENCE) as answer:
            for line in _read(answer.readline):
                if line.strip():  # else it only says that the server is still there
                    event: dict[str, Any] = json.loads(line)
                    if (failure := event.get("error")) is not None:
                        kind = Unavailable if failure.get("code") == _UNAVAILABLE else KitfoxError
                        raise kind(_details(failure))
                    yield event

    def parts(self, method: Method, fields: Mapping[str, Any]) -> Iterator[bytes]:
        """The pieces of a file that a method answers with."""
        with self._open(self._request(method, fields, {}), timeout=_SILENCE) as answer:
            yield from _read(partial(answer.read, _PIECE))

    def send_file(self, method: Method, pieces: Iterator[bytes], **fields: str) -> Any:
        """Calls a method that takes a file, with the file as it is read.

        Args:
            method: A row of the table.
            pieces: Of the file.
            fields: The other fields of its request.

        Raises:
            Unavailable: The server is not there, or went away in the middle.
            KitfoxError: It refuses the file.
        """
        route = method.route
        assert route is not None, method.name  # noqa: S101 -- chosen for its route
        address = urllib.parse.urlsplit(self._url)
        connection = (
            http.client.HTTPConnection(address.netloc)
            if self._tls is None
            else http.client.HTTPSConnection(address.netloc, context=self._tls)
        )
        path = f"{address.path}{route.path}?{urllib.parse.urlencode(fields)}"
        with closing(connection):
            try:
                connection.putrequest(route.verb, path)
                connection.putheader("content-type", "application/zip")
                connection.putheader("transfer-encoding", "chunked")
                connection.endheaders()
                # Not by `urllib`, which would lose an answer that comes before the end.
                with suppress(BrokenPipeError, ConnectionResetError):
                    for piece in pieces:
                        connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
                    connection.send(b"0\r\n\r\n")
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as err:
                raise Unavailable(f"{self._url}: the upload was broken off: {err}") from err
        if answer.status != _OK:
            raise KitfoxError(_reason(answer.status, text))
        return json.loads(text)

    def attend(self) -> AbstractContextManager[bool]:
        """Nothing to do: the server runs its trainings."""
        return nullcontext(False)

    def _request(
        self, method: Method, fields: Mapping[str, Any], headers: Mapping[str, str]
    ) -> urllib.request.Request:
        route = method.route
        assert route is not None, method.name  # noqa: S101 -- chosen for its route
        url, body = self._url + route.path, None
        if route.style is BodyStyle.QUERY:
            query = {name: _text(value) for name, value in fields.items() if value not in _UNSAID}
            url += "?" + urllib.parse.urlencode(query, doseq=True) if query else ""
        else:
            body = json.dumps(fields).encode()
        return urllib.request.Request(  # noqa: S310 -- the user's own address
            url,
            method=route.verb,
            data=body,
            headers={"content-type": "application/json", **headers},
        )

    def _send(self, request: urllib.request.Request) -> Any:
        with self._open(request) as answer:
            text = answer.read()
            return json.loads(text) if text[:1] in (b"{", b"[") else text

    def _open(self, request: urllib.request.Request, timeout: float | None = None) -> Any:
        try:
            return urllib.request.urlopen(request, context=self._tls, timeout=timeout)  # noqa: S310 -- as above
        except urllib.error.HTTPError as err:
            raise KitfoxError(_reason(err.code, err.read())) from err
        except (urllib.error.URLError, OSError, http.client.HTTPException) as err:
            reason = getattr(err, "reason", "") or str(err) or type(err).__name__
            raise Unavailable(
                f"no server answers at {self._url} ({reason}); is `kitfox serve` running?"
            ) from err


def row_of(table: MethodTable, purpose: Purpose) -> Method:
    """The one row that a server has for a purpose."""
    return next(method for method in table if method.purpose is purpose)


def _read(read: Callable[[], bytes]) -> Iterator[bytes]:
    """What comes until the end."""
    while True:
        try:
            piece = read()
        except (OSError, http.client.HTTPException) as err:
            raise Unavailable(f"the server went away: {str(err) or type(err).__name__}") from err
        if not piece:
            return
        yield piece


def _text(value: Any) -> Any:
    """A value as a query holds it."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, list) else str(value)


def choose(methods: dict[str, Method], wanted: str, what: str) -> Method:
    """The method that goes by a name; where there is only one, no name is needed."""
    if wanted in methods:
        return methods[wanted]
    if not wanted and len({method.path for method in methods.values()}) == 1:
        return next(iter(methods.values()))
    known = ", ".join(sorted(methods)) or "none"
    raise InvalidArgument(f"{what} {wanted!r}: expected one of: {known}")


def _reason(status: int, body: bytes) -> str:
    text = body.decode(errors="replace")
    try:
        return _details(json.loads(text))
    except (ValueError, AttributeError):
        return f"HTTP {status}: {text[:200]}"


def _details(body: dict[str, Any]) -> str:
    return str(body.get("details") or body.get("detail"))
