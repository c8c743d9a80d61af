"""Replicas of moody models, for tests."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kitfox.models.replicas import InProcesses
from kitfox.models.replicas.supervisor import Backoff
from kitfox.modules import ModuleBase, RequestContext
from tests.conftest import Server
from tests.models.moody import Moody, Said

__all__ = [
    "Background",
    "Settings",
    "alive",
    "ask",
    "model_folder",
    "opened",
    "until",
    "workers",
    "workers_of",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    replicas: int = 1
    devices: tuple[str, ...] = ()
    threads: int = 1
    queue_limit: int = 1000
    run_seconds: float = 0
    retry: bool = False
    max_batch_size: int = 0
    max_batch_delay_seconds: float = 0
    max_batch_weight: float = 0
    batch_weight: str = ""


def model_folder(folder: Path, module: type[ModuleBase] = Moody, **config: Any) -> Path:
    """A model's folder."""
    lines = [f"module_id: {module.MODULE_ID}", *(f"{k}: {v}" for k, v in config.items())]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yml").write_text("\n".join(lines))
    return folder


@asynccontextmanager
async def opened(
    path: Path,
    *,
    on_change: Callable[[], None] | None = None,
    backoff: Callable[[], Backoff] = Backoff,
    all_ready: bool = True,
    warm_up: Callable[[InProcesses], Awaitable[None]] | None = None,
    load_seconds: float = 0.0,
    **settings: Any,
) -> AsyncIterator[InProcesses]:
    """The replicas of a model, until the end of the block; then nothing of them is left."""
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 -- names only
    execution = await InProcesses.open(
        "moody",
        path,
        settings=Settings(**settings),
        loop=asyncio.get_running_loop(),
        libraries=(),
        on_change=on_change,
        backoff=backoff,
        warm_up=warm_up,
        load_seconds=load_seconds,
    )
    try:
        if all_ready:
            await until(lambda: all(it.state == "ready" for it in execution.replicas))
        yield execution
    finally:
        pids = [item.pid for item in execution.replicas if item.pid]
        await asyncio.to_thread(execution.close)
        assert not [pid for pid in pids if alive(pid)]
    assert set(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208 -- names only


async def ask(execution: InProcesses, text: str, **context: Any) -> Said:
    """What `run` says."""
    made = RequestContext(model_id="moody", **context)
    result: Said = await execution.unary("run")({"text": text}, made)
    return result


async def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Waits for a condition, on the event loop."""
    for _ in range(int(seconds * 200)):
        if found := condition():
            return found
        await asyncio.sleep(0.005)
    pytest.fail("the condition did not come true in time")


def alive(pid: int) -> bool:
    """Whether there is a process of this number, a zombie too."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def workers() -> set[int]:
    """The replica processes of this process."""
    mine = str(os.getpid()).encode()
    return {int(entry.name) for entry, words in _workers() if mine in words}


def workers_of(server: Server) -> list[int]:
    """Those of a server."""
    port = f"RUNTIME_GRPC_PORT={server.grpc_port}".encode()
    found = []
    for entry, _ in _workers():
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if port in environment.split(b"\0"):
            found.append(int(entry.name))
    return found


def _workers() -> Iterator[tuple[Path, list[bytes]]]:
    """The processes that are replicas, of whomever, with their command lines."""
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"kitfox.models.replicas.worker" in words:
            yield entry, words


class Background:
    """An event loop in a thread, with replicas that several tests share because none harms them.

    Args:
        path: The model.
        settings: Of its replicas.
    """

    def __init__(self, path: Path, **settings: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._opened = opened(path, **settings)
        self.execution = self.run(self._opened.__aenter__())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Does some work on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def close(self) -> None:
        """Ends everything."""
        self.run(self._opened.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
