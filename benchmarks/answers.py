"""Asks a target once, with a stock client, and looks whether the answer is right."""

import socket
import time
import urllib.request
from collections.abc import Callable

import grpc

from benchmarks.contestants import Target

__all__ = ["WrongAnswer", "ask", "wait_for_answer"]


class WrongAnswer(Exception):
    """A target did not answer what it should."""


def ask(target: Target, seconds: float = 30.0) -> None:
    """Sends the first body.

    Raises:
        WrongAnswer: There was no answer, or a wrong one.
    """
    if not target.checked:
        with socket.create_connection(("127.0.0.1", target.port), seconds):
            return
    try:
        parts = (_ask_grpc if target.protocol == "grpc" else _ask_rest)(target, seconds)
    except (OSError, grpc.RpcError) as err:
        raise WrongAnswer(f"{target.path}: {err}") from err
    count = sum(part.count(target.expect) for part in parts) if target.expect else len(parts)
    if count != target.messages:
        raise WrongAnswer(
            f"{target.path}: expected {target.expect[:60]!r} {target.messages} times, "
            f"got it {count} times: {b' '.join(parts)[:300]!r}"
        )


def _ask_grpc(target: Target, seconds: float) -> list[bytes]:
    metadata = tuple(target.headers.items())
    # A pool of its own: the shared one would wait a second after each vain attempt.
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{target.port}", options) as channel:
        if target.messages == 1:
            unary: Callable[..., bytes] = channel.unary_unary(target.path, _same, _same)
            return [unary(target.bodies[0], metadata=metadata, timeout=seconds)]
        many = channel.unary_stream(target.path, _same, _same)
        return list(many(target.bodies[0], metadata=metadata, timeout=seconds))


def _same(message: bytes) -> bytes:
    return message


def _ask_rest(target: Target, seconds: float) -> list[bytes]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{target.port}{target.path}",
        method=target.method,
        data=None if target.method == "GET" else target.bodies[0],
        headers={"content-type": "application/json", **target.headers},
    )
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        return [answer.read()]


def wait_for_answer(target: Target, alive: Callable[[], bool], seconds: float = 180.0) -> None:
    """Returns when a server that is starting answers rightly.

    Raises:
        WrongAnswer: It ended, or did not do so in time.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection(("127.0.0.1", target.port), 1.0):
                pass
            return ask(target)
        except (OSError, WrongAnswer) as err:
            if not alive():
                raise WrongAnswer("the server ended by itself") from err
            if time.monotonic() > end:
                raise WrongAnswer(f"no right answer within {seconds:g} s: {err}") from err
            time.sleep(0.005)
