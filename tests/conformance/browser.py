"""A browser as a test's tool: a Chromium without a window, driven by scripts.

A script is the body of an asynchronous JavaScript function. It has `page`, a page of playwright's
(https://playwright.dev/docs/api/class-page), and `args`, what the test hands over:

    visit = browser.visit("await page.goto(args.url); return page.title();", url=server.url)
    assert visit.value == "Shapes"
    assert visit.errors == []
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from tests.conformance.node import SCRIPTS, Node

__all__ = ["Browser", "Pages", "Visit"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """What a script saw."""

    value: Any
    """What the script returned."""
    errors: list[str]
    """What the page wrote to its console as errors, and exceptions that it did not catch."""
    requests: list[str]
    """The addresses that the page asked for, in order."""


class Browser:
    """A running browser; made by `started`."""

    def __init__(self, node: Node, endpoint: str) -> None:
        self._node = node
        self._endpoint = endpoint

    @classmethod
    @contextmanager
    def started(cls, node: Node, program: str, profile: Path) -> Iterator["Browser"]:
        """Starts a browser, and ends it.

        Args:
            node: Has the package `playwright-core`.
            program: The path of Chromium.
            profile: A folder for all that the browser keeps.
        """
        process = subprocess.Popen(
            [node.program, str(SCRIPTS / "browser.cjs"), program, str(profile)],
            env=node.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with process:
            endpoint = process.stdout.readline().strip()
            assert endpoint.startswith("ws://"), "the browser did not start"
            yield cls(node, endpoint)
            process.stdin.close()  # the script closes the browser and ends
            process.wait(30)

    def visit(self, script: str, **args: Any) -> Visit:
        """Runs a script with a new page of a new profile."""
        told = json.dumps({"endpoint": self._endpoint, "script": script, "args": args})
        done = subprocess.run(
            [self._node.program, str(SCRIPTS / "visit.cjs")],
            input=told,
            env=self._node.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return Visit(**json.loads(done.stdout))


class Pages:
    """A web server of pages that call a server of ours from another origin."""

    def __init__(self) -> None:
        self._pages: dict[str, tuple[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._port = self._server.server_port

    @property
    def origin(self) -> str:
        """The origin of the pages."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def stranger(self) -> str:
        """Another origin of the same pages."""
        return f"http://localhost:{self._port}"

    def add(self, path: str, body: str, media_type: str = "text/html") -> None:
        self._pages[path] = (media_type, body)

    @contextmanager
    def served(self) -> Iterator["Pages"]:
        thread = Thread(target=self._server.serve_forever)
        thread.start()
        yield self
        self._server.shutdown()
        self._server.server_close()
        thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        pages = self._pages

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                media_type, body = pages.get(self.path, ("", ""))
                data = body.encode()
                self.send_response(200 if media_type else 404)
                self.send_header("content-type", f"{media_type or 'text/plain'}; charset=utf-8")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                """Says nothing."""

        return Handler
