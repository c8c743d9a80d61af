import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kitfox.data import DataObjectBase, DataStream, dataobject
from kitfox.modules import (
    ModuleBase,
    ModuleConfig,
    ModuleLoader,
    ModuleSaver,
    ProducerId,
    TaskBase,
    load_model,
    module,
    task,
)


@dataobject(package="kitfox.tests.module_class")
class Greeting(DataObjectBase):
    text: str


@task(unary_parameters={"name": str}, unary_output_type=Greeting)
class GreetTask(TaskBase):
    pass


class Greeter(ModuleBase):
    def __init__(self, word: str) -> None:
        self.word = word  # super().__init__() is forgotten on purpose

    @classmethod
    def load(cls, model_path: str, **kwargs: Any) -> "Greeter":
        return cls(ModuleLoader(model_path).config.word or "Hello")

    def save(self, model_path: str) -> None:
        with ModuleSaver(self, model_path) as saver:
            saver.update_config({"word": self.word})

    def run(self, name: str | Greeting, end: str = "") -> Greeting:
        name = name if isinstance(name, str) else name.text
        return Greeting(text=f"{self.word} {name}{end}")


@pytest.fixture
def greeter() -> Greeter:
    module("greeter", "Greeter", "1.0.0", GreetTask)(Greeter)
    return Greeter("Hi")


def test_what_a_module_does_not_provide_is_not_implemented() -> None:
    bare = ModuleBase()
    calls: list[Callable[[], Any]] = [
        ModuleBase.train,
        ModuleBase.bootstrap,
        bare.run,
        partial(bare.save, "somewhere"),
        bare.validate_training_data,
        bare.validate_loaded_model,
        bare.evaluate_quality,
    ]
    for call in calls:
        with pytest.raises(NotImplementedError, match=r"^This is not available in this module\.$"):
            call()


def test_metadata_is_there_without_the_base_constructor(greeter: Greeter) -> None:
    assert greeter.metadata == {}
    greeter.metadata["note"] = 1
    assert greeter.metadata == {"note": 1}
    greeter.metadata = {"other": 2}
    assert greeter.metadata == {"other": 2}
    assert greeter.module_metadata == {"name": "Greeter", "version": "1.0.0"}
    assert greeter.public_model_info == {}


def test_any_load_keeps_what_the_folder_says(greeter: Greeter, tmp_path: Path) -> None:
    greeter.save(str(tmp_path))
    for loaded in (
        Greeter.load(str(tmp_path)),
        Greeter.load(model_path=str(tmp_path)),
        Greeter.load(ModuleConfig.load(tmp_path)),  # type: ignore[arg-type] # caikit allows it
    ):
        assert loaded.metadata["word"] == "Hi"
        assert loaded.metadata["model_path"] == str(tmp_path)


def test_a_load_from_elsewhere_is_left_alone() -> None:
    class Elsewhere(ModuleBase):
        @classmethod
        def load(cls, model_path: str) -> "Elsewhere":
            return cls()

    assert Elsewhere.load("s3://bucket/key").metadata == {}


def test_the_default_load_opens_the_folder(tmp_path: Path) -> None:
    @module("opener", "Opener", "1.0.0")
    class Opener(ModuleBase):
        word = ""

        @classmethod
        def _load(cls, module_loader: ModuleLoader, *args: Any, **kwargs: Any) -> "Opener":
            opener = cls()
            opener.word = module_loader.config.word
            return opener

    (tmp_path / "config.yml").write_text("module_id: opener\nword: Aha\n")
    loaded = Opener.load(str(tmp_path))
    assert loaded.word == "Aha"
    assert loaded.metadata["word"] == "Aha"

    class Neither(ModuleBase):
        pass

    with pytest.raises(NotImplementedError):
        Neither.load(str(tmp_path))


def test_run_batch_spreads_lists_and_repeats_the_rest(greeter: Greeter) -> None:
    assert greeter.run_batch(["Ada", "Alan"], end="!") == (
        Greeting(text="Hi Ada!"),
        Greeting(text="Hi Alan!"),
    )
    assert greeter.run_batch(name=("Ada",), end=["?"]) == (Greeting(text="Hi Ada?"),)
    assert greeter.run_batch([Greeting(text="Eve")]) == (Greeting(text="Hi Eve"),)
    assert greeter.run_batch([]) == ()


def test_run_batch_refuses_what_it_cannot_spread(greeter: Greeter) -> None:
    with pytest.raises(ValueError, match="needs a list of text or of data objects"):
        greeter.run_batch("Ada")
    with pytest.raises(ValueError, match="needs a list of text or of data objects"):
        greeter.run_batch([1, 2])
    with pytest.raises(ValueError, match="same length: 0 has 1, 'end' has 2"):
        greeter.run_batch(["Ada"], end=["!", "?"])
    with pytest.raises(ValueError, match="takes lists, no streams: argument 0 is one"):
        greeter.run_batch(DataStream.from_iterable(["Ada"]))
    with pytest.raises(ValueError, match="takes lists, no streams: argument 'name' is one"):
        greeter.run_batch(name=(name for name in ["Ada"]))


def test_stream_runs_on_each_item(greeter: Greeter) -> None:
    names = DataStream.from_iterable(["Ada", "Alan"])
    wanted = [Greeting(text="Hi Ada!"), Greeting(text="Hi Alan!")]
    assert list(greeter.stream(names, end="!")) == wanted
    assert list(greeter.stream(names, "!")) == wanted
    assert [item.text for item in names | greeter] == ["Hi Ada", "Hi Alan"]


def test_a_model_as_bytes_is_a_zip_of_its_folder(greeter: Greeter) -> None:
    with zipfile.ZipFile(greeter.as_file_like_object()) as archive:
        assert archive.namelist() == ["config.yml"]
    loaded = load_model(greeter.as_bytes())
    assert isinstance(loaded, Greeter)
    assert loaded.word == "Hi"


def test_timed_run_counts_calls(greeter: Greeter) -> None:
    seconds, calls, result = greeter.timed_run("Ada", num_iterations=3)
    assert (seconds > 0, calls, result) == (True, 3, Greeting(text="Hi Ada"))
    assert greeter.timed_run("Ada", num_seconds=1e-9)[1] == 1
    assert greeter.timed_run("Ada")[1] == 100
    with pytest.raises(ValueError, match="not both"):
        greeter.timed_run("Ada", num_seconds=1, num_iterations=1)
    with pytest.raises(ValueError, match="positive"):
        greeter.timed_run("Ada", num_iterations=0)


def test_timed_load_gives_the_model(greeter: Greeter, tmp_path: Path) -> None:
    greeter.save(str(tmp_path))
    seconds, loaded = Greeter.timed_load(str(tmp_path))
    assert seconds > 0
    assert loaded.word == "Hi"


def test_the_load_backend_is_noted(greeter: Greeter) -> None:
    assert greeter.load_backend is None
    greeter.set_load_backend("a backend")
    assert greeter.load_backend == "a backend"


def test_producers_add_up() -> None:
    both = ProducerId(name="a", version="1.0.0") + ProducerId(name="b", version="2.0.0")
    assert both == ProducerId(name="a & b", version="0.0.0")
