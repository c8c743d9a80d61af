"""Requests that are nearly right: each follows from a seed and a number, to be made again."""

import enum
import gzip
import random
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kitfox.services import Method, Purpose
from kitfox.services.methods import BodyStyle
from tests.fuzz.mutations import mutate_bytes, mutate_json, mutate_message, write_json
from tests.fuzz.parts import (
    CONTROLS,
    JSON,
    Headers,
    as_web,
    body_of,
    cut,
    form_of,
    grpc_frame,
    packed,
    query_of,
    wrong_address,
    wrong_frames,
    wrong_headers,
)
from tests.fuzz.pool import Pool, make_pool
from tests.fuzz.targets import Offer

__all__ = ["Case", "Maker"]

# Durable, so slow: less often.
_RARE = {
    Purpose.TRAINING: 0.05,
    Purpose.TRAINING_STATUS: 0.1,
    Purpose.TRAINING_CANCEL: 0.1,
    Purpose.TRAINING_LIST: 0.1,
    Purpose.TRAINING_SHOW: 0.1,
    Purpose.TRAINING_FOLLOW: 0.1,
    Purpose.TRAINING_LOG: 0.1,
    Purpose.TRAINING_STOP: 0.1,
    Purpose.TRAINING_RETRY: 0.1,
    Purpose.TRAINING_REPEAT: 0.1,
    Purpose.TRAINING_PIN: 0.1,
    Purpose.TRAINING_DELETE: 0.1,
    Purpose.TRAINING_DOWNLOAD: 0.1,
    Purpose.MODEL_UPLOAD: 0.1,
    Purpose.JOB_START: 0.03,
    Purpose.JOB_STATUS: 0.03,
    Purpose.JOB_RESULT: 0.03,
    Purpose.JOB_CANCEL: 0.03,
    Purpose.RUNTIME_INFO: 0.1,
    Purpose.MODELS_INFO: 0.1,
    Purpose.HEALTH_LIST: 0.1,
    Purpose.HEALTH_WATCH: 0.02,
    Purpose.REFLECTION: 0.5,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One request, and how its client behaves."""

    target: int
    """Which of the applications it goes to."""
    verb: str
    path: str
    query: bytes = b""
    headers: Headers = field(default_factory=list)
    pieces: tuple[bytes, ...] = ()
    """The body, as it comes."""
    leaves: bool = False
    """The client is gone after the last piece, whether or not it was all."""
    takes: int = 1_000_000
    """How many pieces of the answer the client takes before it is gone."""
    like_envoy: bool = False
    """`receive` behaves as in Envoy, otherwise as in hypercorn."""
    is_valid: bool = False
    """Nothing is wrong with it: it must succeed."""


class Flaw(enum.Enum):
    """Where a request is wrong."""

    CONTENT = enum.auto()
    """Its fields are not what they should be."""
    BYTES = enum.auto()
    """Some bytes are others."""
    FRAMES = enum.auto()
    """The bytes around its messages are not what they should be, or the body is cut."""
    HEADERS = enum.auto()
    """Its headers, its path, its verb."""
    NONE = enum.auto()


_FLAWS = tuple(Flaw)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Goal:
    """What a case is for."""

    target: int
    method: Method
    pool: Pool
    model: str
    flaw: Flaw

    @property
    def must_succeed(self) -> bool:
        """Whether there is nothing in it that could be refused."""
        if self.method.purpose is not Purpose.INFERENCE or self.method.input_streaming:
            return False
        # Not every model does every task.
        is_able = self.model != "asynchronous" or "File" not in self.method.name
        return is_able and self.flaw is Flaw.NONE


class Maker:
    """Makes cases.

    Args:
        targets: What the applications offer.
        seed: All cases follow from it.
        without: What no case is for.
    """

    def __init__(
        self, targets: Sequence[Offer], seed: int, *, without: Container[Purpose] = ()
    ) -> None:
        self.seed = seed
        self._models = [target.models for target in targets]
        methods = [
            (number, method)
            for number, target in enumerate(targets)
            for method in target.methods
            if method.purpose not in without
        ]
        self._choices = [
            (number, method, make_pool(method, random.Random(f"{seed} {method.path}")))  # noqa: S311
            for number, method in methods
        ]
        self._weights = [_RARE.get(method.purpose, 1.0) for _, method in methods]

    def make(self, number: int) -> Case:
        """The case of a number."""
        chance = random.Random(self.seed << 64 | number)  # noqa: S311 -- to be made again
        [(target, method, pool)] = chance.choices(self._choices, self._weights)
        goal = _Goal(
            target=target,
            method=method,
            pool=pool,
            model=chance.choice(self._models[target]),
            flaw=chance.choice(_FLAWS),
        )
        by_rest = method.route is not None and chance.random() < 0.5
        case = _rest_case(goal, chance) if by_rest else _grpc_case(goal, chance)
        case = replace(case, like_envoy=chance.random() < 0.5)
        if method.purpose is Purpose.HEALTH_WATCH:
            # It has no other end.
            return replace(case, leaves=True)
        if not case.is_valid and chance.random() < 0.05:
            if chance.random() < 0.5:
                kept = chance.randint(0, len(case.pieces))
                return replace(case, pieces=case.pieces[:kept], leaves=True)
            return replace(case, takes=chance.randrange(4))
        return case


def _grpc_case(goal: _Goal, chance: random.Random) -> Case:
    """A request of gRPC or gRPC-Web."""
    count = chance.choice((0, 1, 2, 5)) if goal.method.input_streaming else 1
    messages = [chance.choice(goal.pool)[0] for _ in range(count)]
    other = goal.pool[0][0]
    if goal.flaw is Flaw.CONTENT:
        messages = [mutate_message(message, chance) for message in messages]
    elif goal.flaw is Flaw.BYTES:
        messages = [mutate_bytes(message, chance, other) for message in messages]
    headers = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
    headers.append((b"mm-model-id", goal.model.encode()))
    is_packed = chance.random() < 0.15
    if is_packed:
        headers.append((b"grpc-encoding", b"gzip"))
        if chance.random() < 0.5:
            headers.append((b"grpc-accept-encoding", b"identity,deflate,gzip"))
        well = goal.flaw is Flaw.NONE or chance.random() < 0.7
        messages = [
            gzip.compress(item, 1, mtime=0) if well else packed(item, chance) for item in messages
        ]
    body = b"".join(grpc_frame(message, is_packed) for message in messages)
    if goal.flaw is Flaw.FRAMES:
        body = wrong_frames(body, other, chance)
    if chance.random() < 0.15:
        body = as_web(headers, body, chance)
    verb, path = "POST", goal.method.path
    if goal.flaw is Flaw.HEADERS:
        headers = wrong_headers(headers, chance)
        verb, path = wrong_address(verb, path, chance)
    return Case(
        target=goal.target,
        verb=verb,
        path=path,
        headers=headers,
        pieces=cut(body, chance),
        is_valid=goal.must_succeed,
    )


def _rest_case(goal: _Goal, chance: random.Random) -> Case:
    """A request of REST."""
    route = goal.method.route
    assert route is not None
    fields = chance.choice(goal.pool)[1]
    headers: Headers = []
    if chance.random() < 0.1:
        headers.append((b"accept-encoding", b"gzip"))
    in_form = chance.random() < 0.15 and route.style in (BodyStyle.INFERENCE, BodyStyle.MESSAGE)
    query = body = b""
    if route.style is BodyStyle.QUERY:
        query = query_of(fields, chance, is_wrong=goal.flaw is Flaw.CONTENT)
    elif in_form:
        content = body_of(goal.method, fields, goal.model)
        body = form_of(content, headers, chance, is_wrong=goal.flaw is Flaw.CONTENT)
    else:
        body = _json(goal, headers, chance)
        if route.style is BodyStyle.STREAM and chance.random() < 0.3:
            query = b"model_id=" + goal.model.encode()
    if goal.flaw in (Flaw.BYTES, Flaw.FRAMES):
        body = mutate_bytes(body, chance, b'{"inputs": {"a": [1, 2.5e3, null]}}\r\n--b')
        query = query and mutate_bytes(query, chance, b"a=%00&b=%ff&model_id=x")
    if chance.random() < 0.05:
        headers.append((b"content-encoding", b"gzip"))
        body = gzip.compress(body, mtime=0) if goal.flaw is Flaw.NONE else packed(body, chance)
    verb, path = route.verb, route.path
    if goal.flaw is Flaw.HEADERS:
        headers = wrong_headers(headers, chance)
        verb, path = wrong_address(verb, path, chance)
    if body and chance.random() < 0.5:
        headers.append((b"content-length", b"%d" % len(body)))
    return Case(
        target=goal.target,
        verb=verb,
        path=path,
        # No server lets these through.
        query=query.translate(None, CONTROLS),
        headers=headers,
        pieces=cut(body, chance),
        is_valid=goal.must_succeed and not in_form,
    )


def _json(goal: _Goal, headers: Headers, chance: random.Random) -> bytes:
    """A body of JSON, or of lines of it."""
    route = goal.method.route
    assert route is not None
    is_stream = route.style is BodyStyle.STREAM
    headers.append((b"content-type", b"application/x-ndjson" if is_stream else JSON))
    lines = []
    for _ in range(chance.choice((0, 1, 3)) if is_stream else 1):
        value: Any = body_of(goal.method, chance.choice(goal.pool)[1], goal.model)
        if goal.flaw is Flaw.CONTENT:
            value = mutate_json(value, chance)
        lines.append(write_json(value, chance))
    return b"\n".join(line.replace(b"\n", b" ") for line in lines) if is_stream else lines[0]
