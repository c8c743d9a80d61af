"""Models whose loading goes as their `config.yml` says, and managers of them."""

import asyncio
import concurrent.futures
import errno
import logging
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from kitfox.config import ModelExecution, Models
from kitfox.models import (
    ExecutionSettings,
    LoadedModel,
    ModelLoader,
    ModelManager,
    ModelOpener,
    ModelStore,
)
from kitfox.modules import ModuleBase, ModuleLoader, RequestContext, module

__all__ = ["ACTOR", "HOARD", "Actor", "Stage", "ask", "manager_of", "run", "write_model"]

ACTOR = "7d1c4b7e-63f0-4a8b-8f63-5c1a0a1d8a01"
HOARD = 48 << 20
"""Bytes that an actor holds whose act is to hoard."""


class Stage:
    """What the actors of one test do, and what they have done."""

    def __init__(self) -> None:
        self.loads: Counter[str] = Counter()
        self.go = threading.Event()
        """Lets actors whose `load` is to wait go on."""
        self.failures: Counter[str] = Counter()
        """How often the `load` of a model is to fail for a reason that passes."""
        self.alive: weakref.WeakSet[Actor] = weakref.WeakSet()
        """The models that are still there."""

    def actor(self) -> type["Actor"]:
        """Defines the module; to be called within `default_registry().preserved()`."""
        return module(ACTOR, "Actor", "1.0.0")(type("StagedActor", (Actor,), {"stage": self}))


class Actor(ModuleBase):
    """Does as its `config.yml` says."""

    stage: Stage

    def __init__(self, word: str, held: bytes = b"") -> None:
        super().__init__()
        self.word = word
        self.held = held
        self.stage.alive.add(self)

    @classmethod
    def load(cls, model_path: str) -> "Actor":
        loader = ModuleLoader(model_path)
        name, stage = Path(model_path).name, cls.stage
        stage.loads[name] += 1
        if stage.failures[name] > 0:
            stage.failures[name] -= 1
            raise OSError(errno.EIO, "the disk is tired")
        held = b""
        match loader.config.act:
            case "raise":
                raise RuntimeError("the lines are forgotten")
            case "talk":
                sys.stdout.write("looking for weights\n")
                logging.getLogger("actor").warning("no weights of %s", name)
                raise RuntimeError("the lines are forgotten")
            case "exit":
                sys.exit(3)
            case "interrupt":
                raise KeyboardInterrupt
            case "cancel":
                raise asyncio.CancelledError
            case "give up":
                raise concurrent.futures.CancelledError
            case "stop":
                raise StopIteration("no more lines")
            case "wait":
                sys.stdout.write(f"{name} waits\n")
                stage.go.wait(60)
            case "hoard":
                held = b"h" * HOARD
            case "slow":
                time.sleep(0.05)
        weights = Path(model_path) / "weights.bin"
        if loader.config.weights is not None and weights.stat().st_size != loader.config.weights:
            raise RuntimeError(f"weights.bin is truncated: {weights.stat().st_size} bytes")
        return cls(str(loader.config.word), held)

    def run(self) -> str:
        return self.word


def write_model(root: Path, name: str, word: str = "", *, size: int = 0, **values: Any) -> Path:
    """A model's folder, complete before it is in its place."""
    folder = root / name
    partial = root / f".{name}.partial"
    partial.mkdir(parents=True)
    config = {"module_id": ACTOR, "word": word or name, **values}
    (partial / "config.yml").write_text(yaml.safe_dump(config))
    if size:
        (partial / "weights.bin").write_bytes(b"w" * size)
    if folder.exists():
        old = root / f".{name}.{time.monotonic_ns()}.old"
        folder.rename(old)
    partial.rename(folder)
    return folder


@asynccontextmanager
async def manager_of(
    root: Path,
    *,
    loading: dict[str, Any] | None = None,
    execution: dict[str, Any] | None = None,
    settings_of: dict[str, dict[str, Any]] | None = None,
    threads: int = 2,
    **settings: Any,
) -> AsyncIterator[ModelManager]:
    """A manager of the models of a folder.

    Args:
        root: The folder.
        loading: How the `ModelLoader` is made.
        execution: How models are run, as `models.execution` says it.
        settings_of: How certain ones are run, as `models.settings` says it.
        threads: The most calls of a model at a time.
        settings: How the manager is made.
    """
    store = ModelStore(root)
    running = ExecutionSettings(
        Models(execution=ModelExecution(**(execution or {})), settings=settings_of or {})
    )
    opener = ModelOpener(threads=threads, settings=running)
    models = ModelManager(
        store=store,
        loader=ModelLoader(opener, verify=store.verify, **(loading or {})),
        **settings,
    )
    try:
        yield models
    finally:
        models.close()


def run(scenario: Callable[[ModelManager], Awaitable[None]], root: Path, **settings: Any) -> None:
    """Runs a scenario with a manager of a folder, on an event loop of its own."""

    async def whole() -> None:
        async with manager_of(root, **settings) as models:
            await scenario(models)

    asyncio.run(whole())


async def ask(models: ModelManager, name: str) -> str:
    """What a model says: a call as the handlers make it."""
    model: LoadedModel | None = models.peek(name) or await models.get(name)
    assert model is not None
    submit, context = model.execution.unary("run"), RequestContext()
    model.leases.add(context)
    try:
        return str(await submit({}, context))
    finally:
        model.release(context)
