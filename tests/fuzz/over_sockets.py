"""Plays cases against a server process, through its sockets, beside bytes that are no requests."""

import asyncio
import importlib
import json
import random
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from kitfox.server.asgi import Message, header
from kitfox.services import Names, Purpose, build_table
from tests.fuzz.campaign import HANG_SECONDS, Campaign
from tests.fuzz.cases import Case, Maker
from tests.fuzz.checks import STATUSES
from tests.fuzz.clients import Broken, Http1Client, Http2Client
from tests.fuzz.in_process import EXPECTED
from tests.fuzz.targets import LIMITS, Offer
from tests.fuzz.wires import http1_bytes, http2_bytes, is_proper, speak, wrong_bytes
from tests.server.shapes import ShapesServer

__all__ = ["OverSockets", "fuzzed_server"]

PROJECT = Path(__file__).with_name("parrot_project")

_LOOK_EVERY = 5_000
_WRONG_BYTES = 0.06
"""The share of cases that do not arrive as what they are."""
_HEALTHY = 20
"""How many valid requests are sent after the others."""
_ENGINES_OWN = {411, 414, 426, 431, 501, 505}
"""With what an engine may refuse what is no proper request. 501 and 505: methods and versions of
HTTP that there are not."""
_DEFECTS = {2, 13, 15}
"""gRPC's codes for a defect of the server."""
# They start processes, and what is asked about them takes its time; other tests are about those.
_LEFT_OUT = {Purpose.TRAINING, Purpose.TRAINING_RETRY, Purpose.TRAINING_REPEAT}
_SHARED = 4
"""How many HTTP/2 connections there are, with all requests that go over it."""


class ParrotServer(ShapesServer):
    """A server of the library that repeats what it is told."""

    @classmethod
    def make(cls, folder: Path, **environment: str) -> "ParrotServer":
        project = folder / PROJECT.name
        shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
        return cls(project, environment)


@asynccontextmanager
async def fuzzed_server(folder: Path, engine: str, seed: int) -> AsyncIterator["OverSockets"]:
    """A server process, and what plays cases against it.

    Args:
        folder: Where its files are.
        engine: The server's.
        seed: All cases follow from it.
    """
    limits = ("max_message_size", "max_decompressed_size", "max_json_depth")
    settings = {f"SERVER_{name.upper()}": str(getattr(LIMITS, name)) for name in limits}
    server = ParrotServer.make(
        folder,
        SERVER_ENGINE=engine,
        LOG_LEVEL="error",
        SERVER_MAX_CONCURRENT_STREAMS=str(LIMITS.max_concurrent_streams),
        **settings,
    )
    await asyncio.to_thread(server.start)
    try:
        sys.path.append(str(PROJECT))
        importlib.import_module("parrot")
        table = build_table("parrot", names=Names.of("parrot"), protocols=True)
        models = sorted(path.name for path in (PROJECT / "models").iterdir())
        offer = Offer(methods=tuple(table), models=tuple(models))
        campaign = OverSockets(server, Maker([offer], seed, without=_LEFT_OUT))
        yield campaign
        campaign.close()
        status = await asyncio.to_thread(server.stop)
        if status:
            campaign.note(-1, f"the server ended with status {status}")
    finally:
        if server.process is not None and server.process.poll() is None:
            await asyncio.to_thread(server.kill)


class OverSockets(Campaign):
    """Plays cases against a server.

    Args:
        server: It runs.
        maker: Makes the cases.
    """

    def __init__(self, server: ParrotServer, maker: Maker) -> None:
        super().__init__(maker, look_every=_LOOK_EVERY)
        self._server = server
        self._idle: list[Http1Client] = []
        self._shared: list[Http2Client] = []
        self._read = 0
        self._started = server.metric("process_start_time_seconds")

    def close(self) -> None:
        """Ends all connections."""
        for client in self._idle:
            client.close()
        for shared in self._shared:
            shared.close()

    async def carry_out(self, case: Case, number: int) -> list[Message] | None:
        """Sends it over HTTP/2 or HTTP/1.1, as it is or with wrong bytes."""
        chance = random.Random(f"{self.maker.seed} {number} on the wire")  # noqa: S311 -- as above
        kind = header(case.headers, b"content-type")
        needs_http2 = kind.startswith(b"application/grpc") and b"-web" not in kind
        is_http2 = needs_http2 or chance.random() < 0.3
        is_wrong = not case.is_valid and chance.random() < _WRONG_BYTES
        if is_wrong or not is_proper(case):
            await self._speak(case, number, chance, is_http2=is_http2, is_wrong=is_wrong)
            return None
        for is_last in (False, True):
            client = await (self._http2(chance) if is_http2 else self._http1())
            is_new = client.is_new
            try:
                sent = await client.call(case)
            except Broken as err:
                if case.leaves or case.takes < 1_000_000:
                    self.figures.outcomes["left early"] += 1
                    return None
                # A connection that was used before may be at its end.
                if is_new or is_last:
                    self.note(number, f"no whole answer: {err}")
                    return None
            else:
                if isinstance(client, Http1Client) and not client.is_closed:
                    self._idle.append(client)
                return sent
        return None

    async def _speak(
        self, case: Case, number: int, chance: random.Random, *, is_http2: bool, is_wrong: bool
    ) -> None:
        pieces = list(http2_bytes(case) if is_http2 else http1_bytes(case))
        if is_wrong:
            pieces = [wrong_bytes(b"".join(pieces), chance)]
        abruptly = chance.random() < 0.2
        told = await speak(self._port(chance), pieces, abruptly=abruptly, is_http2=is_http2)
        for status in told.statuses:
            if status not in STATUSES | _ENGINES_OWN:
                self.note(number, f"status {status} for what is no proper request")
        for code in told.codes:
            if code in _DEFECTS:
                self.note(number, f"gRPC code {code} for what is no proper request")
        first = told.statuses[0] if told.statuses else "closed" if told.is_closed else "silence"
        self.figures.outcomes[f"wrong bytes {first}" if is_wrong else f"improper {first}"] += 1

    def _port(self, chance: random.Random) -> int:
        return chance.choice((self._server.grpc_port, self._server.http_port))

    async def _http1(self) -> Http1Client:
        return self._idle.pop() if self._idle else await Http1Client.connect(self._server.http_port)

    async def _http2(self, chance: random.Random) -> Http2Client:
        self._shared = [client for client in self._shared if not client.is_closed]
        if len(self._shared) < _SHARED:
            client = await Http2Client.connect(self._server.grpc_port)
            self._shared.append(client)
            return client
        return chance.choice(self._shared)

    async def look(self) -> int:
        """The server is the same process, works on nothing, has logged nothing, and answers."""
        process = self._server.process
        if process is None or process.poll() is not None:
            raise RuntimeError(f"the server has ended: {self._server.log[-3000:]}")
        deadline = time.monotonic() + HANG_SECONDS
        while flying := await asyncio.to_thread(self._in_flight):
            if time.monotonic() > deadline:
                self.note(-1, f"left in flight: {flying}")
                break
            await asyncio.sleep(0.05)
        if await self._metric("process_start_time_seconds") != self._started:
            self.note(-1, "the server's process was replaced by another one")
        self._read_log()
        await self._play_valid()
        return await self._metric("process_resident_memory_bytes")

    def _in_flight(self) -> int:
        return self._server.in_flight() + self._server.metric("probes_in_flight")

    async def _metric(self, name: str) -> int:
        return await asyncio.to_thread(self._server.metric, name)

    def _read_log(self) -> None:
        log = self._server.log[self._read :]
        self._read += len(log)
        for line in filter(None, log.split("\n")):
            try:
                record = json.loads(line)
            except ValueError:
                self.note(-1, f"written: {line}")
                continue
            if record["log_code"] not in EXPECTED:
                trace = (record["exception"] or "")[-1500:]
                self.note(-1, f"logged: {record['message']}\n{trace}")

    async def _play_valid(self) -> None:
        """Other cases than those that are counted."""
        number, left = 1 << 40, _HEALTHY
        while left:
            if self.maker.make(number).is_valid:
                await self.play(number)
                left -= 1
            number += 1
