"""What a model's `config.yml` lists as its first requests is answered before others see it."""

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kitfox.data import DataObjectBase, dataobject
from kitfox.errors import KitfoxError
from kitfox.models import ModelLoader, ModelManager, ModelOpener, ModelStore
from kitfox.modules import ModuleBase, TaskBase, default_registry, module, task
from kitfox.services import MethodTable, Names, build_table
from kitfox.services.warm_up import WarmUp

KIND = "2f0c7e55-8f3c-4d52-9d5b-0d4b7f1c9e77"


@dataobject(package="warm")
class Word(DataObjectBase):
    text: str


@task(
    unary_parameters={"word": Word},
    unary_output_type=Word,
    streaming_output_type=Iterable[Word],
)
class EchoTask(TaskBase):
    """Says it again."""


@task(unary_parameters={"word": Word}, unary_output_type=Word)
class ShoutTask(TaskBase):
    """Says it louder."""


class Echo(ModuleBase):
    """Keeps what it was asked."""

    heard: list[str]

    @classmethod
    def load(cls, model_path: str) -> "Echo":
        return cls()

    @EchoTask.taskmethod()
    def run(self, word: Word) -> Word:
        self.heard.append(word.text)
        if word.text == "bad":
            raise RuntimeError("not this word")
        return word

    @EchoTask.taskmethod(output_streaming=True)
    def run_stream(self, word: Word) -> Iterable[Word]:
        self.heard.append(f"stream of {word.text}")
        yield word

    @ShoutTask.taskmethod()
    def shout(self, word: Word) -> Word:
        self.heard.append(word.text.upper())
        return word


@pytest.fixture
def heard() -> Iterator[list[str]]:
    with default_registry().preserved():
        made: list[str] = []
        Echo.heard = made
        module(KIND, "Echo", "1.0.0", tasks=[EchoTask, ShoutTask])(Echo)
        yield made


@pytest.fixture
def table(heard: list[str]) -> MethodTable:
    return build_table("tests", names=Names.of("tests"), training=False)


def load(folder: Path, table: MethodTable, warm_up: Any, **loading: Any) -> ModelManager:
    """A manager that has loaded a model with this list of requests, or tried to."""
    (folder / "echo").mkdir()
    text = yaml.safe_dump({"module_id": KIND, "warm_up": warm_up})
    (folder / "echo" / "config.yml").write_text(text)

    async def scenario() -> ModelManager:
        models = ModelManager(
            store=ModelStore(folder),
            loader=ModelLoader(ModelOpener(threads=2), warm_up=WarmUp(table), **loading),
        )
        try:
            await models.get("echo")
        finally:
            models.close()
        return models

    return asyncio.run(scenario())


def test_the_listed_requests_are_answered_in_their_order(
    tmp_path: Path, table: MethodTable, heard: list[str]
) -> None:
    models = load(
        tmp_path,
        table,
        [
            {"word": {"text": "one"}},
            {"task": "ShoutTask", "request": {"word": {"text": "two"}}},
            {
                "task": "ServerStreamingEchoTaskPredict",
                "request": {"word": {"text": "three"}},
            },
        ],
    )
    assert heard == ["one", "TWO", "stream of three"]
    assert models.loaded["echo"].in_flight == 0
    assert models.loaded["echo"].operations == {}


@pytest.mark.parametrize(
    ("warm_up", "reason"),
    [
        ([{"word": {"text": "good"}}, {"word": {"text": "bad"}}], r"warm_up\[1\]: not this word"),
        ([{"word": {"text": 5}}], r"warm_up\[0\]: word.text: expected text, got the number 5"),
        ([{"words": {}}], r"warm_up\[0\]: words: "),
        (["World"], r"warm_up\[0\]: expected the fields of a request, got str"),
        ([{}], r"warm_up\[0\]: required inputs are missing: expected word"),
        ({"word": {}}, "config.yml: warm_up: expected a list of requests, got dict"),
        (
            [{"task": "SingTask", "request": {}}],
            r"warm_up\[0\]: task 'SingTask': Echo has: EchoTask, ShoutTask",
        ),
    ],
)
def test_a_model_that_does_not_warm_up_is_not_served(
    tmp_path: Path, table: MethodTable, heard: list[str], warm_up: Any, reason: str
) -> None:
    with pytest.raises(KitfoxError, match=reason):
        load(tmp_path, table, warm_up)
