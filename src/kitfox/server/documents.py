"""What describes the server to its callers: `/openapi.json`, and the page `/docs` that tries it.

Nothing of it is made, read or even imported before the first request for it. The document is made
in a thread and kept as bytes until other models are loaded, whose names it gives as examples.
"""

import asyncio
import gzip
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, TypeAlias

import msgspec

from kitfox import logs
from kitfox.errors import KitfoxError
from kitfox.models import ModelManager
from kitfox.server.answers import LargeAnswer, send_failure
from kitfox.server.asgi import Endpoint, Headers, Receive, Scope, Send, header, request_id_of
from kitfox.server.compression import accepts_gzip
from kitfox.server.large_answers import LARGE, LargeAnswers
from kitfox.services import Method

__all__ = ["Documents"]

log = logs.channel("SERVER")

Models: TypeAlias = dict[str, type[Any]]

_FILES = {
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/docs/docs.css": ("docs.css", "text/css; charset=utf-8"),
    "/docs/icon.svg": ("icon.svg", "image/svg+xml"),
    **{
        f"/docs/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8")
        for name in ("calls", "docs", "elements", "forms", "operations", "results", "schemas")
    },
}
_TEXT = b"text/plain; charset=utf-8"
# Relative, so that they lead to the same place behind a proxy that shows the server in a folder.
_REDIRECTS = {"/": "docs", "/redoc": "docs", "/docs/": "../docs"}
# The page loads from this server and calls this server, and nothing else; no frame of others' pages
# shows it, and no text becomes code or markup.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; media-src blob:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'self'; require-trusted-types-for 'script'"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Content:
    """A document as it is sent."""

    kind: str
    """Its media type."""
    plain: bytes
    packed: bytes
    """The same, compressed."""
    tag: str
    """Changes with the content."""


class Documents:
    """The endpoints of the documents.

    Args:
        methods: What the server answers.
        library: The package that is served, or several with commas between; they are imported.
        models: Whose loaded models are named in examples.
        large_answers: Sends what is large.
    """

    def __init__(
        self,
        methods: Sequence[Method],
        *,
        library: str,
        models: ModelManager,
        large_answers: LargeAnswers,
    ) -> None:
        self._methods = methods
        self._large = large_answers
        self._library = library
        self._models = models
        self._files: dict[str, _Content] = {}
        self._openapi: tuple[Models, _Content] | None = None
        self._lock = asyncio.Lock()

    def endpoints(self) -> dict[str, dict[str, Endpoint]]:
        """By path and verb."""
        endpoints: dict[str, Endpoint] = {
            "/openapi.json": self._send_openapi,
            **dict.fromkeys(_FILES, self._send_file),
            **dict.fromkeys(_REDIRECTS, _redirect),
        }
        return {path: {"GET": endpoint} for path, endpoint in endpoints.items()}

    async def _send_openapi(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            content = await self._document()
        except Exception as err:
            log.error(
                "The OpenAPI document cannot be made: %s",
                err,
                exc_info=err,
                extra={"log_code": "<KFX30040E>"},
            )
            text = b"The OpenAPI document cannot be made; the server's log says why.\n"
            await _send(scope, send, 500, {b"content-type": _TEXT}, text)
            return
        await self._send_content(scope, receive, send, content, {})

    async def _document(self) -> _Content:
        loaded = self._models.loaded
        models = {name: loaded[name].module for name in sorted(loaded)}
        async with self._lock:
            if self._openapi is None or self._openapi[0] != models:
                # Outside the event loop: it takes as long as hundreds of calls.
                self._openapi = models, await asyncio.to_thread(self._make, models)
            return self._openapi[1]

    def _make(self, models: Models) -> _Content:
        # Loaded only here: a server that nobody asks for documents does without.
        from kitfox.export.openapi import library_info, openapi_document

        info = library_info(self._library)
        document = openapi_document(self._methods, info=info, models=models)
        return _content("application/json", msgspec.json.encode(document))

    async def _send_file(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        content = self._files.get(path)
        if content is None:
            content = self._files[path] = await asyncio.to_thread(_read, path)
        headers = {b"content-security-policy": _POLICY.encode()} if path == "/docs" else {}
        await self._send_content(scope, receive, send, content, headers)

    async def _send_content(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        content: _Content,
        extra: Mapping[bytes, bytes],
    ) -> None:
        """Sends a document, packed for those that take it, or nothing to those that have it."""
        packed = accepts_gzip(header(scope["headers"], b"accept-encoding"))
        # Two representations, two tags.
        tag = f'"{content.tag}{"-gzip" if packed else ""}"'.encode()
        headers = {
            b"etag": tag,
            b"cache-control": b"no-cache",  # kept, and asked for anew: 304 if it is still the same
            b"vary": b"accept-encoding",
            b"x-content-type-options": b"nosniff",
            **extra,
        }
        if tag in _tags(scope["headers"]):
            await _send(scope, send, 304, headers, b"")
            return
        headers[b"content-type"] = content.kind.encode()
        if packed:
            headers[b"content-encoding"] = b"gzip"
        body = content.packed if packed else content.plain
        if len(body) <= LARGE:
            await _send(scope, send, 200, headers, body)
            return
        lines = [*headers.items(), (b"x-request-id", request_id_of(scope))]
        answer = LargeAnswer(send, lines, size=len(body))
        try:
            await self._large.send(body, answer.send, receive=receive)
        except KitfoxError as err:
            if not answer.is_started:
                await send_failure(send, err, request_id_of(scope).decode())


def _read(path: str) -> _Content:
    name, kind = _FILES[path]
    return _content(kind, resources.files("kitfox.server").joinpath("pages", name).read_bytes())


def _content(kind: str, plain: bytes) -> _Content:
    tag = hashlib.sha256(plain).hexdigest()[:32]
    return _Content(kind=kind, plain=plain, packed=gzip.compress(plain, mtime=0), tag=tag)


async def _redirect(scope: Scope, receive: Receive, send: Send) -> None:
    target = _REDIRECTS[scope["path"]]
    headers = {b"location": target.encode(), b"content-type": _TEXT}
    await _send(scope, send, 307, headers, f"The documentation is at {target}\n".encode())


async def _send(
    scope: Scope, send: Send, status: int, headers: Mapping[bytes, bytes], body: bytes
) -> None:
    lines = [*headers.items(), (b"x-request-id", request_id_of(scope))]
    if status != 304:
        lines.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _tags(headers: Headers) -> set[bytes]:
    """The tags of `if-none-match`; they are compared weakly."""
    values = b",".join(value for key, value in headers if key == b"if-none-match")
    return {item.strip().removeprefix(b"W/") for item in values.split(b",")}
