"""Trainings in threads of the calling process: their states, results and places."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kitfox.interfaces.common.data_model import JobStatus
from kitfox.modules import (
    ModuleBase,
    ModuleLoader,
    ModuleSaver,
    TrainingContext,
    default_registry,
    module,
)
from kitfox.toolkit.author_errors import CaikitCoreException, CaikitCoreStatusCode
from kitfox.toolkit.local_training import LocalTrainer
from tests.caikit.conftest import GOLDEN, RunScript
from tests.waiting import wait_for

MODULE = "local-training-test"


@pytest.fixture
def remembering() -> Iterator[Any]:
    """A module that is trained by a function, and saves what that returned."""
    with default_registry().preserved():

        @module(MODULE, "Remembering", "1.0.0")
        class Remembering(ModuleBase):
            def __init__(self, text: str) -> None:
                super().__init__()
                self.text = text

            @classmethod
            def train(cls, text: Any, times: int = 1) -> Any:
                found = text() if callable(text) else text
                return cls(found * times) if isinstance(found, str) else found

            @classmethod
            def load(cls, model_path: str) -> "Remembering":
                return cls(ModuleLoader(model_path).config.text)

            def save(self, model_path: str) -> None:
                with ModuleSaver(self, model_path) as saver:
                    saver.update_config({"text": self.text})
                    if self.text == "unsavable":
                        raise OSError("disk full")

        yield Remembering


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a training waits for; it is opened at the end, whatever happens."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("by_id", [False, True])
def test_a_training_gives_a_model(remembering: Any, by_id: bool) -> None:
    trainer = LocalTrainer()
    future = trainer.train(MODULE if by_id else remembering, "ab", times=2, wait=True)
    info = future.get_info()
    assert (info.status, info.errors, future.save_path) == (JobStatus.COMPLETED, [], None)
    assert info.completion_time is not None
    assert info.submission_time <= info.completion_time
    assert info.submission_time.tzinfo is not None
    model: Any = future.load()
    assert model.text == "abab"
    assert future.result() is model
    assert trainer.get_model_future(future.id) is future


@pytest.mark.parametrize(
    ("path", "arguments", "place"),
    [
        ("out", {}, "out"),
        ("out", {"model_name": "m"}, "out/m"),
        ("out", {"save_with_id": True}, "out/ID"),
        ("out", {"save_with_id": True, "model_name": "m"}, "out/ID/m"),
        ("out/m", {"model_name": "m"}, "out/m"),
        ("ID", {"save_with_id": True, "model_name": "m"}, "ID/m"),
        ("models", {"model_name": "model"}, "models/model"),
    ],
)
def test_a_model_is_saved_below_the_path(
    remembering: Any, tmp_path: Path, path: str, arguments: dict[str, Any], place: str
) -> None:
    future = LocalTrainer().train(
        remembering, "a", save_path=tmp_path / path, external_training_id="ID", **arguments
    )
    loaded: Any = future.load()
    assert loaded.text == "a"
    assert future.save_path == str(tmp_path / place)
    assert [item.name for item in (tmp_path / place).iterdir()] == ["config.yml"]
    assert [item.name for item in (tmp_path / place).parent.iterdir()] == [Path(place).name]


def test_what_lies_in_the_folder_stays(remembering: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    trainer = LocalTrainer()
    for text in ("old", "new"):
        trainer.train(remembering, text, save_path=tmp_path, wait=True)
    assert {item.name for item in tmp_path.iterdir()} == {"notes.txt", "config.yml"}
    assert remembering.load(str(tmp_path)).text == "new"


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        (lambda: 1 // 0, ZeroDivisionError, "by zero"),
        (lambda: [][1], IndexError, "out of range"),
        (5, TypeError, "returned int; expected a module"),
        ("unsavable", OSError, "disk full"),
    ],
)
def test_a_failure_is_kept(
    remembering: Any, tmp_path: Path, text: Any, kind: type[Exception], reason: str
) -> None:
    place = tmp_path / "out" / "m"
    future = LocalTrainer().train(remembering, text, save_path=place, wait=True)
    info = future.get_info()
    assert info.status is JobStatus.ERRORED
    assert info.completion_time is not None
    (error,) = info.errors
    assert isinstance(error, kind)
    with pytest.raises(kind, match=reason):
        future.load()
    wait_for(lambda: not place.parent.exists() or not any(place.parent.iterdir()))


def test_an_asynchronous_training_is_run(remembering: Any) -> None:
    async def text() -> Any:
        return remembering("later")

    found: Any = LocalTrainer().train(remembering, text).load()
    assert found.text == "later"


def test_a_cancelled_training_saves_nothing(
    remembering: Any, tmp_path: Path, gate: threading.Event
) -> None:
    begun = threading.Event()

    def text() -> str:
        begun.set()
        gate.wait()
        return "late"

    before = set(threading.enumerate())
    future = LocalTrainer().train(remembering, text, save_path=tmp_path / "m")
    assert begun.wait(30)
    assert future.get_info().status is JobStatus.RUNNING
    future.cancel()
    future.wait()
    info = future.get_info()
    assert (info.status, info.errors) == (JobStatus.CANCELED, [])
    assert info.completion_time is not None
    with pytest.raises(CaikitCoreException, match="was cancelled"):
        future.load()
    gate.set()
    wait_for(lambda: not set(threading.enumerate()) - before, what="the end of the thread")
    assert list(tmp_path.iterdir()) == []
    assert future.get_info() == info


def test_cancelling_what_has_ended_changes_nothing(remembering: Any) -> None:
    future = LocalTrainer().train(remembering, "a", wait=True)
    future.cancel()
    assert future.get_info().status is JobStatus.COMPLETED


def test_an_id_is_used_once_at_a_time(remembering: Any, gate: threading.Event) -> None:
    trainer = LocalTrainer()
    first = trainer.train(remembering, gate.wait, external_training_id="mine")
    with pytest.raises(ValueError, match="mine is running"):
        trainer.train(remembering, "b", external_training_id="mine")
    gate.set()
    first.wait()
    again: Any = trainer.train(remembering, "b", external_training_id="mine").load()
    assert again.text == "b"


def test_what_cannot_be_trained_is_refused(remembering: Any) -> None:
    trainer: Any = LocalTrainer()
    with pytest.raises(ValueError, match=MODULE) as caught:
        trainer.train("no-such-module")
    assert type(caught.value) is ValueError
    with pytest.raises(TypeError, match="expected a class of a module"):
        trainer.train(int)
    with pytest.raises(ValueError, match="only 'default'"):
        trainer.train(remembering, "a", trainer="other")
    with pytest.raises(ValueError, match="leads out of save_path"):
        trainer.train(remembering, "a", save_path="out", model_name="../m")
    with pytest.raises(CaikitCoreException, match="Unknown training_id: nope") as unknown:
        trainer.get_model_future("nope")
    assert unknown.value.status_code is CaikitCoreStatusCode.NOT_FOUND


def test_scripts_train_by_caikits_names(run_script: RunScript, tmp_path: Path) -> None:
    found = run_script(
        f"""
        import sys
        sys.path.insert(0, "library")
        import caikit
        import example
        from caikit.core.data_model import DataStream
        from example.data_model import HelloWorldInput, HelloWorldTrainingType

        data = DataStream.from_iterable([HelloWorldTrainingType("a", "b")])
        future = caikit.train(
            example.modules.HelloWorldModule, data, save_path=r"{tmp_path}", model_name="hello"
        )
        future.wait()
        assert caikit.get_model_future(future.id) is future
        assert caikit.core.MODEL_MANAGER.get_model_future(future.id) is future
        assert caikit.core.train is caikit.train
        info = future.get_info()
        print(info.status is caikit.core.data_model.TrainingStatus.COMPLETED, info.status.name)
        print(caikit.load(future.save_path).run(HelloWorldInput("World")).greeting)
        """,
        cwd=GOLDEN / "example",
    )
    assert found == "True COMPLETED\nHello World\n"


def test_a_training_in_a_thread_has_a_context_too() -> None:
    with default_registry().preserved():

        @module("local-context", "With context", "1.0.0")
        class WithContext(ModuleBase):
            @classmethod
            def train(cls, text: str, context: TrainingContext) -> "WithContext":
                context.report(1, 1, length=len(text))
                found = cls()
                found.context = context  # type: ignore[attr-defined] # for the test
                return found

        trainer = LocalTrainer()
        made: Any = trainer.train(WithContext, "ab", wait=True).load()
        assert isinstance(made.context, TrainingContext)
        mine = TrainingContext()
        for future in (
            trainer.train(WithContext, "ab", mine),
            trainer.train(WithContext, "ab", context=mine),
        ):
            made = future.load()
            assert made.context is mine
