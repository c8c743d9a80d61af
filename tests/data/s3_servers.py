"""S3 services for tests: a whole one in a process of its own, and one that says what it is told."""

import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped] # has no types

from tests.conftest import hold_port
from tests.waiting import wait_for

ACCESS_KEY = "AKIDEXAMPLE"
SECRET_KEY = "a/secret+that=is-never-shown"  # noqa: S105 # nobody's
BUCKET = "samples"


@dataclass(frozen=True, kw_only=True)
class Service:
    """A running S3 service with one bucket."""

    url: str

    def put(self, key: str, content: bytes | str, acl: str = "private") -> None:
        data = content.encode() if isinstance(content, str) else content
        self._client("s3").put_object(Bucket=BUCKET, Key=key, Body=data, ACL=acl)

    def make_bucket(self, acl: str = "private") -> None:
        self._client("s3").create_bucket(Bucket=BUCKET, ACL=acl)

    def make_reader(self) -> tuple[str, str]:
        """The keys of a user who may read everything."""
        iam = self._client("iam")
        iam.create_user(UserName="reader")
        rule = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [rule]})
        iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=policy)
        keys = iam.create_access_key(UserName="reader")["AccessKey"]
        return keys["AccessKeyId"], keys["SecretAccessKey"]

    @contextmanager
    def checking_signatures(self) -> Iterator[None]:
        """Within, only users with their keys are let in."""
        self._let_in("0")
        try:
            yield
        finally:
            self._let_in("inf")

    def _let_in(self, requests: str) -> None:
        """Let so many requests in unchecked."""
        request = urllib.request.Request(
            f"{self.url}/moto-api/reset-auth",
            data=requests.encode(),
            headers={"Content-Type": "text/plain"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    def _client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )


@contextmanager
def running_service(log: Path) -> Iterator[Service]:
    """An S3 service in a process of its own, until the end of the block."""
    with hold_port() as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environment = {name: value for name, value in os.environ.items() if name[:4] != "AWS_"}
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, env=environment) as process,
    ):
        try:
            wait_for(lambda: _answers(port) or process.poll() is not None, what="the S3 service")
            assert process.poll() is None, log.read_text()
            yield Service(url=f"http://127.0.0.1:{port}")
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the told service answers."""

    status: int = 206
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


@contextmanager
def telling_service(reply: Callable[[dict[str, str]], Reply]) -> Iterator[str]:
    """A service that answers each request with what a function makes of its headers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = reply({name.lower(): value for name, value in self.headers.items()})
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
