"""A module of many moods, for replicas to run: it works, and it dies in every way there is."""

import asyncio
import ctypes
import logging
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from kitfox.data import DataObjectBase, DataStream, dataobject
from kitfox.errors import NotFound, ValidationError
from kitfox.modules import ModuleBase, ModuleConfig, RequestContext, TaskBase, module, task

log = logging.getLogger("moody")


@dataobject("tests.moody")
class Said(DataObjectBase):
    text: str
    pid: int


@dataobject("tests.moody")
class Numbers(DataObjectBase):
    text: str
    values: Any


class Opaque:
    """Pickles, and does not unpickle elsewhere."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _only_here, (os.getpid(),)


def _only_here(pid: int) -> None:
    if pid != os.getpid():
        raise LookupError("this can be read only where it was made")


@task(
    unary_parameters={"text": str},
    unary_output_type=Said,
    streaming_parameters={"texts": Iterable[str]},
    streaming_output_type=Iterable[Said],
)
class MoodTask(TaskBase):
    pass


@module("00110203-0405-0607-0809-0a0b02dd0e11", "Moody", "1.0.0", MoodTask)
class Moody(ModuleBase):
    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config

    @classmethod
    def load(cls, model_path: str) -> "Moody":
        config = ModuleConfig.load(model_path)
        marks = config.get("marks")
        if marks:
            (Path(marks) / str(os.getpid())).touch()
        mood = config.get("mood")
        if mood == "sulks":
            print("I do not want to")  # noqa: T201 -- its output is what is tested
            raise RuntimeError("not today")
        if mood == "picky":
            raise ValueError("the weights are of another kind")
        if mood == "faints":
            os._exit(3)
        if mood == "dawdles" or (mood == "tires" and Path(model_path, "tired").exists()):
            time.sleep(60)
        if mood == "forgets":
            flag = Path(model_path) / "once"
            if flag.exists():
                raise RuntimeError("not again")
            flag.touch()
        return cls(dict(config))

    @property
    def public_model_info(self) -> dict[str, Any]:
        return {"mood": "fine"}

    @MoodTask.taskmethod(context_arg="context")
    def run(self, text: str, context: RequestContext | None = None) -> Said:
        verb, _, rest = text.partition(" ")
        action = getattr(self, f"_do_{verb}", None)
        if action is not None:
            text = action(rest, context) or text
        return Said(text, os.getpid())

    def _do_sleep(self, rest: str, context: RequestContext) -> None:
        time.sleep(float(rest))

    def _do_wait(self, rest: str, context: RequestContext) -> None:
        """Until a file is there, or the caller gone."""
        folder, name = os.path.split(rest)
        Path(folder, f"{name}.begun").touch()
        while not Path(rest).exists():
            if context.cancelled:
                Path(folder, f"{name}.cancelled").touch()
                return
            time.sleep(0.005)

    def _do_exit(self, rest: str, context: RequestContext) -> None:
        os._exit(int(rest.split()[0]))

    def _do_signal(self, rest: str, context: RequestContext) -> None:
        os.kill(os.getpid(), getattr(signal, rest.split()[0]))
        time.sleep(10)

    def _do_crash(self, rest: str, context: RequestContext) -> None:
        ctypes.string_at(0)

    def _do_hold(self, rest: str, context: RequestContext) -> None:
        """Never lets go of the interpreter lock."""
        re.match(r"(a+)+$", "a" * 64 + "b")

    def _do_fail(self, rest: str, context: RequestContext) -> None:
        match rest:
            case "value":
                raise ValueError("no such value")
            case "kitfox":
                raise NotFound("no such thing")
            case "fields":
                raise ValidationError.at(["text", 3], "must be nice", kind="mood")
            case "exit":
                sys.exit(4)
            case _:
                raise KeyError("a secret")

    def _do_say(self, rest: str, context: RequestContext) -> None:
        log.warning("logged %s", rest)
        print("printed", rest)  # noqa: T201 -- as above
        os.write(2, b"raw " + rest.encode() + b"\n")

    def _do_context(self, rest: str, context: RequestContext) -> str:
        left = context.time_remaining()
        return (
            f"{type(context).__name__} {context.model_id} {context.request_id} "
            f"{context.metadata.get('colour')} {left is not None and 0 < left <= 60}"
        )

    def _do_device(self, rest: str, context: RequestContext) -> str:
        names = ("KITFOX_DEVICE", "CUDA_VISIBLE_DEVICES")
        return " ".join(os.environ.get(name, "-") for name in names)

    def _do_opaque(self, rest: str, context: RequestContext) -> Any:
        return Opaque()

    def _do_lambda(self, rest: str, context: RequestContext) -> Any:
        return lambda: rest

    def _do_group(self, rest: str, context: RequestContext) -> str:
        return f"{os.getpgrp()} {os.getsid(0)} {os.getpid()}"

    def numbers(self, text: str, values: Any) -> Numbers:
        """Gives an array back, changed in place: it is the caller's no more."""
        array = np.asarray(values)
        array += 1
        return Numbers(text, array)

    @MoodTask.taskmethod(output_streaming=True, context_arg="context")
    def split(self, text: str, context: RequestContext | None = None) -> Iterable[Said]:
        word, _, rest = text.partition(" ")
        try:
            said = Said("", os.getpid())
            for index in range(int(word)):
                said.text = f"{rest}{index}"  # the same object again and again
                if rest == "crash" and index == 3:
                    ctypes.string_at(0)
                yield said
        finally:
            if rest.startswith("/"):
                Path(rest).touch()

    @MoodTask.taskmethod(input_streaming=True, output_streaming=True)
    def echo(self, texts: DataStream[str]) -> Iterable[Said]:
        for text in texts:
            if text == "crash":
                ctypes.string_at(0)
            yield Said(text, os.getpid())

    @MoodTask.taskmethod(input_streaming=True)
    def join(self, texts: DataStream[str]) -> Said:
        return Said(" ".join(texts), os.getpid())


@module("00110203-0405-0607-0809-0a0b02dd0e12", "Aloof", "1.0.0", MoodTask)
class Aloof(ModuleBase):
    """The same moods, asynchronous."""

    @classmethod
    def load(cls, model_path: str) -> "Aloof":
        return cls()

    @MoodTask.taskmethod()
    async def run(self, text: str) -> Said:
        if text == "crash":
            ctypes.string_at(0)
        if text.startswith("/"):
            try:
                Path(f"{text}.begun").touch()  # noqa: ASYNC240 -- a mark for the test
                await asyncio.sleep(60)
            finally:
                Path(text).touch()  # noqa: ASYNC240 -- as above
        await asyncio.sleep(0)
        return Said(text, os.getpid())

    @MoodTask.taskmethod(output_streaming=True)
    async def split(self, text: str) -> AsyncIterator[Said]:
        for index in range(int(text)):
            yield Said(str(index), os.getpid())

    @MoodTask.taskmethod(input_streaming=True, output_streaming=True)
    async def echo(self, texts: DataStream[str]) -> Iterable[Said]:
        return [Said(text, os.getpid()) async for text in texts]

    @MoodTask.taskmethod(input_streaming=True)
    async def join(self, texts: DataStream[str]) -> Said:
        return Said(" ".join([text async for text in texts]), os.getpid())
