"""The real ASGI application with real models, in this process, without a socket."""

import asyncio
import contextlib
import os
import shutil
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from kitfox import config
from kitfox.caikit import install
from kitfox.config import Server
from kitfox.server._handover import CONFIG_VARIABLE
from kitfox.server.app import Application
from kitfox.server.runtime import Runtime, start_runtime
from kitfox.services import Method, Names, build_table
from tests.conftest import ROOT

__all__ = ["LIMITS", "Offer", "Target", "started"]

LIMITS = Server(
    address="127.0.0.1",
    max_message_size=64 * 1024,
    max_decompressed_size=128 * 1024,
    max_json_depth=64,
    max_concurrent_streams=64,
)
"""Small enough to be met by chance."""

_LIBRARIES = {
    "parrot": ("tests/fuzz/parrot_project", "."),
    "kinds": ("tests/golden/kinds_for_caikit", "library"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """What can be asked for."""

    methods: tuple[Method, ...]
    models: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target(Offer):
    """A library's application."""

    name: str
    app: Application
    runtime: Runtime

    def in_flight(self) -> int:
        """The calls that it is working on, as its metrics have it."""
        server = self.runtime.metrics_server
        assert server is not None
        url = f"http://127.0.0.1:{server.port}/metrics"
        with urllib.request.urlopen(url, timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        [count] = [line.split()[1] for line in lines if line.startswith("calls_in_flight ")]
        return int(float(count))


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[list[Target]]:
    """The applications of all libraries.

    Args:
        folder: Where their job stores and results are written.
    """
    install()
    targets: list[Target] = []
    before = os.environ.get(CONFIG_VARIABLE)
    try:
        targets += [await _start(name, folder / name) for name in _LIBRARIES]
        yield targets
    finally:
        for target in targets:
            await target.runtime.close()
            _close(target.runtime.metrics_server)
        if before is not None:
            os.environ[CONFIG_VARIABLE] = before


async def _start(library: str, folder: Path) -> Target:
    project, place = (Path(part) for part in _LIBRARIES[library])
    # Copied: among the requests are those that bring models and those that remove them.
    models = folder / "models"
    shutil.copytree(ROOT / project / "models", models)
    settings = config.parse(
        {
            "runtime": {
                "library": library,
                "python_path": [str(ROOT / project / place)],
                "local_models_dir": str(models),
                "server_thread_pool_size": 8,
                "metrics": {"port": 0},
                "training": {"output_dir": str(folder / "trainings")},
            },
            "server": msgspec.to_builtins(LIMITS),
            "log": {"level": "error"},
        },
        source="the fuzzer",
    )
    os.environ[CONFIG_VARIABLE] = msgspec.json.encode(settings).decode()
    path = list(sys.path)
    runtime = await start_runtime()
    sys.path[:] = path
    # Trainings are accepted and not run: what they read is not the server's to judge.
    await asyncio.to_thread(runtime.trainings.scheduler.stop)
    table = build_table(library, names=Names.of(library), protocols=True)
    return Target(
        name=library,
        app=Application(endpoints=runtime.endpoints, is_ready=lambda: True),
        methods=tuple(method for method in table if method.path in runtime.endpoints.rpcs),
        models=tuple(sorted(runtime.models.loaded)),
        runtime=runtime,
    )


def _close(server: Any) -> None:
    with contextlib.suppress(AttributeError):
        server.server_close()
