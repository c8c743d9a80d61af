"""The context of `train`: which parameter it is, and what it does outside a job."""

import gc
import logging
from typing import Any, Optional, Self

import pytest

import kitfox
from kitfox.modules import (
    ModuleBase,
    ModuleLoader,
    ModuleSaver,
    TrainingContext,
    load_model,
    module,
)
from kitfox.modules.parameters import training_parameters
from kitfox.modules.training_context import enter_training, training_context


class Numbered(ModuleBase):
    def __init__(self, number: int = 0) -> None:
        super().__init__()
        self.number = number

    @classmethod
    def load(cls, model_path: str) -> Self:
        return cls(ModuleLoader(model_path).config.number)

    def save(self, model_path: str) -> None:
        with ModuleSaver(self, model_path) as saver:
            saver.update_config({"number": self.number})


def test_it_has_a_name_that_authors_import() -> None:
    assert kitfox.TrainingContext is TrainingContext


def with_plain(cls: Any, steps: int, context: TrainingContext) -> None: ...
def with_default(cls: Any, steps: int = 3, context: TrainingContext | None = None) -> None: ...
def with_optional(cls: Any, steps: int, *, about: Optional[TrainingContext]) -> None: ...  # noqa: UP045 -- as authors write it
def with_text(cls: Any, context: "TrainingContext", steps: int) -> None: ...


@pytest.mark.parametrize(
    ("train", "name"),
    [
        (with_plain, "context"),
        (with_default, "context"),
        (with_optional, "about"),
        (with_text, "context"),
    ],
)
def test_no_caller_sees_the_context_of_train(train: Any, name: str) -> None:
    methods = {"train": classmethod(train), "__module__": __name__}
    made: type[Numbered] = type("Contextual", (Numbered,), methods)
    cls = module("contextual", "Contextual", "1.0.0")(made)
    assert cls.TRAIN_SIGNATURE is not None
    assert cls.TRAIN_SIGNATURE.context_arg == name
    assert list(cls.TRAIN_SIGNATURE.parameters) == ["steps"]
    assert name not in cls.TRAIN_SIGNATURE.defaults
    request = training_parameters(cls, name=f"{train.__name__}_parameters", package="kitfox.tests")
    assert [field.name for field in request.get_proto_class().DESCRIPTOR.fields] == ["steps"]


def test_a_parameter_that_is_only_called_so_is_an_argument() -> None:
    @module("not-contextual", "Not contextual", "1.0.0")
    class Other(Numbered):
        @classmethod
        def train(cls, context: str) -> "Other":
            return cls()

    assert Other.TRAIN_SIGNATURE is not None
    assert Other.TRAIN_SIGNATURE.context_arg is None
    assert dict(Other.TRAIN_SIGNATURE.parameters) == {"context": str}


def test_one_context_is_enough() -> None:
    with pytest.raises(TypeError, match=r"Twice\.train`: one and other are both a TrainingContext"):

        @module("twice", "Twice", "1.0.0")
        class Twice(Numbered):
            @classmethod
            def train(cls, one: TrainingContext, other: TrainingContext) -> "Twice":
                return cls()


def test_the_context_is_given_by_name() -> None:
    with pytest.raises(TypeError, match=r"parameter `context`: .* must not be positional-only"):

        @module("positional", "Positional", "1.0.0")
        class Positional(Numbered):
            @classmethod
            def train(cls, context: TrainingContext, /) -> "Positional":
                return cls()


def test_outside_a_job_it_does_what_a_test_needs(caplog: pytest.LogCaptureFixture) -> None:
    Saved = module("numbered", "Numbered", "1.0.0")(Numbered)  # noqa: N806 -- a class
    context = TrainingContext()
    assert (context.id, context.attempt, context.should_stop) == ("", 1, False)
    assert context.last_checkpoint is None
    assert context.load_checkpoint() is None
    context.report(3, 10, loss=0.5)
    place = context.checkpoint(Saved(7))
    assert place.name == "1-3"
    assert context.last_checkpoint == place
    found = load_model(str(place))
    assert isinstance(found, Saved)
    assert found.number == 7
    context.checkpoint(Saved(8), 4)
    found = context.load_checkpoint()
    assert isinstance(found, Saved)
    assert found.number == 8
    with caplog.at_level(logging.INFO):
        context.log("100 % of it")
    assert "100 % of it" in caplog.messages
    folder = context.checkpoint_dir
    assert folder.is_dir()
    del context
    gc.collect()
    assert not folder.exists()


def test_code_that_train_calls_finds_the_context() -> None:
    context = TrainingContext()
    with enter_training(context):
        assert training_context() is context
    assert training_context() is not context
