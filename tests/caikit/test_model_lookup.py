"""Models are found where the settings say."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from kitfox.data import DataObjectBase, dataobject
from kitfox.modules import ModuleBase, TaskBase, default_registry, module, task
from kitfox.toolkit import model_lookup, settings
from kitfox.toolkit.settings import Settings


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The path of a saved model, and settings of the test's own."""
    made = Settings({}, environ={})
    monkeypatch.setattr(settings, "process_settings", lambda: made)
    folder = tmp_path / "store" / "hello"
    folder.mkdir(parents=True)
    (folder / "config.yml").write_text("module_id: lookup-test\nname: Hello\nversion: 1.0.0\n")
    with default_registry().preserved():

        @dataobject("lookup_test")
        class Word(DataObjectBase):
            text: str

        @task(unary_parameters={"word": Word}, unary_output_type=Word)
        class EchoTask(TaskBase):
            pass

        @module("lookup-test", "Hello", "1.0.0", EchoTask)
        class Hello(ModuleBase):
            @classmethod
            def load(cls, model_path: str, **kwargs: Any) -> "Hello":
                return cls()

            def run(self, word: Word) -> Word:
                return word

        yield folder


def test_a_path_that_exists_is_taken(model: Path) -> None:
    assert model_lookup.load(str(model)).MODULE_NAME == "Hello"
    assert model_lookup.load(model, load_singleton=True) is model_lookup.load(
        model, load_singleton=True
    )


@pytest.mark.parametrize(
    "keys",
    [
        lambda folder: {"load_path": folder},
        lambda folder: {
            "model_management": {"finders": {"default": {"config": {"load_path": folder}}}}
        },
    ],
)
def test_other_paths_are_looked_for_below_the_configured_folders(model: Path, keys: Any) -> None:
    with pytest.raises(FileNotFoundError):
        model_lookup.load("hello")
    settings.configure(config_dict=keys(str(model.parent)))
    found = model_lookup.load("hello")
    assert found.metadata["model_path"] == str(model)
    assert model_lookup.resolve_and_load("hello").MODULE_NAME == "Hello"
    with pytest.raises(FileNotFoundError, match="absent"):
        model_lookup.load("absent")


def test_a_model_is_given_back_and_what_is_none_refused(model: Path) -> None:
    loaded = model_lookup.load(model)
    assert model_lookup.resolve_and_load(loaded) is loaded
    with pytest.raises(ValueError, match="absent"):
        model_lookup.resolve_and_load("absent")
    with pytest.raises(TypeError):
        model_lookup.load(5)  # type: ignore[arg-type] # that is the test


def test_zipped_models_are_loaded_and_extracted(model: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "hello"), "zip", model)
    manager = model_lookup.MODEL_MANAGER
    assert manager.load(Path(archive).read_bytes()).MODULE_NAME == "Hello"
    assert manager.resolve_and_load(archive).MODULE_NAME == "Hello"
    assert (Path(manager.extract(archive, tmp_path / "out")) / "config.yml").is_file()


@pytest.mark.parametrize("keyword", ["finder", "initializer"])
def test_there_are_no_other_finders_and_initializers(model: Path, keyword: str) -> None:
    load: Any = model_lookup.load
    assert load(model, **{keyword: "default"}).MODULE_NAME == "Hello"
    with pytest.raises(ValueError, match=f"{keyword} 'remote' is not known"):
        load(model, **{keyword: "remote"})
