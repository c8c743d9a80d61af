"""Saving and loading: what goes out comes in again, and what is wrong is told."""

import datetime
import gc
import io
import logging
import os
import shutil
import uuid
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from kitfox.errors import InvalidArgument, ResourceExhausted
from kitfox.modules import (
    JSONSerializer,
    ModelConfigError,
    ModuleBase,
    ModuleConfig,
    ModuleLoader,
    ModuleSaver,
    TextSerializer,
    UnknownModule,
    UnsafeArchive,
    compress,
    extract,
    load_json,
    load_model,
    load_txt_lines,
    module,
    resolve_and_load,
)


class Words(ModuleBase):
    """A model with a configuration value and a file."""

    def __init__(self, greeting: str = "Hello", words: list[str] | None = None) -> None:
        super().__init__()
        self.greeting = greeting
        self.words = words or []

    @classmethod
    def load(cls, model_path: str, **kwargs: Any) -> "Words":
        loader = ModuleLoader(model_path)
        words = load_txt_lines(Path(loader.model_path) / loader.config.words)
        return cls(kwargs.get("greeting", loader.config.greeting), words)

    def save(self, model_path: str) -> None:
        with ModuleSaver(self, model_path=model_path) as saver:
            relative, _ = saver.save_object(self.words, "words.txt", TextSerializer(), "data")
            saver.update_config({"greeting": self.greeting, "words": relative})


class Pair(ModuleBase):
    """A model of models."""

    def __init__(self, first: ModuleBase, others: list[ModuleBase]) -> None:
        super().__init__()
        self.first = first
        self.others = others

    @classmethod
    def load(cls, model_path: str) -> "Pair":
        loader = ModuleLoader(model_path)
        return cls(loader.load_module("first"), loader.load_module_list("others"))

    def save(self, model_path: str) -> None:
        with ModuleSaver(self, model_path) as saver:
            saver.save_module(self.first, "first")
            places = {f"other/{index}": model for index, model in enumerate(self.others)}
            saver.save_module_list(places, config_key="others")


@pytest.fixture(autouse=True)
def modules(preserved_registry: None) -> None:
    module("words", "The words", "1.2.3")(Words)
    module("pair", "The pair", "1.0.0")(Pair)


def config_of(folder: Path | str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((Path(folder) / "config.yml").read_text())
    return found


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    folder = str(tmp_path / "deep" / "er")
    Words("Hi", ["a", "b"]).save(folder)
    loaded = load_model(folder)
    assert isinstance(loaded, Words)
    assert (loaded.greeting, loaded.words) == ("Hi", ["a", "b"])
    assert loaded.metadata["model_path"] == folder
    assert load_model(Path(folder), greeting="Ho").greeting == "Ho"  # type: ignore[attr-defined] # a Words


def test_a_config_says_what_made_the_model(tmp_path: Path) -> None:
    Words().save(str(tmp_path))
    config = config_of(tmp_path)
    library = Words.__module__.partition(".")[0]
    assert config == {
        "created": config["created"],
        "greeting": "Hello",
        f"{library}_version": "0.0.0",
        "model_backend": "LOCAL",
        "module_class": f"{__name__}.Words",
        "module_id": "words",
        "name": "The words",
        "saved": config["saved"],
        "tracking_id": config["tracking_id"],
        "version": "1.2.3",
        "words": "data/words.txt",
    }
    assert config["created"] == config["saved"]
    assert datetime.datetime.fromisoformat(config["saved"]) <= datetime.datetime.now()
    assert str(uuid.UUID(config["tracking_id"])) == config["tracking_id"]
    lines = (tmp_path / "config.yml").read_text().splitlines()
    assert lines == sorted(lines)
    assert sorted(os.listdir(tmp_path)) == ["config.yml", "data"]  # noqa: PTH208 -- names only


def test_a_model_keeps_its_origin_when_it_is_saved_again(tmp_path: Path) -> None:
    model = Words()
    model.metadata["note"] = {"by": ["hand"]}
    model.save(str(tmp_path / "a"))
    model.save(str(tmp_path / "b"))
    load_model(tmp_path / "b").save(str(tmp_path / "c"))
    first, *others = (config_of(tmp_path / name) for name in "abc")
    for other in others:
        for key in ("created", "tracking_id", "note"):
            assert other[key] == first[key]
        assert other["saved"] > first["saved"]
        assert "model_path" not in other


def test_an_older_model_is_saved_under_the_new_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "w").write_text("")
    (tmp_path / "config.yml").write_text("block_id: words\nwords: w\nversion: '0.1'\n")
    with caplog.at_level(logging.WARNING):
        load_model(tmp_path).save(str(tmp_path / "again"))
    [record] = caplog.records
    assert record.getMessage() == (
        f"`{tmp_path}/config.yml` names its module with the deprecated key `block_id`; "
        "rename it to `module_id`"
    )
    config = config_of(tmp_path / "again")
    assert (config["module_id"], config["version"]) == ("words", "1.2.3")
    assert "block_id" not in config


def test_modules_in_modules_are_saved_and_loaded(tmp_path: Path) -> None:
    Pair(Words("one"), [Words("two"), Words("three")]).save(str(tmp_path))
    assert config_of(tmp_path)["module_paths"] == {
        "first": "first",
        "others": ["other/0", "other/1"],
    }
    loaded = load_model(tmp_path)
    assert isinstance(loaded, Pair)
    greetings = [getattr(item, "greeting", None) for item in (loaded.first, *loaded.others)]
    assert greetings == ["one", "two", "three"]
    loaded.save(str(tmp_path / "again"))
    assert isinstance(load_model(tmp_path / "again"), Pair)


def test_a_loader_names_the_module_that_is_not_there(tmp_path: Path) -> None:
    Words().save(str(tmp_path / "words"))
    with pytest.raises(KeyError, match="has no `module_paths`, so no module 'x' to load"):
        ModuleLoader(tmp_path / "words").load_module("x")
    Pair(Words(), []).save(str(tmp_path / "pair"))
    loader = ModuleLoader(tmp_path / "pair")
    with pytest.raises(KeyError, match="has no 'x', only 'first', 'others'"):
        loader.load_module("x")
    with pytest.raises(KeyError, match=r"`module_paths.others` in .* is a list"):
        loader.load_module("others")
    with pytest.raises(KeyError, match=r"`module_paths.first` in .* is no list"):
        loader.load_module_list("first")


@pytest.mark.parametrize("path", ["../words", "/etc", "a/../../words"])
def test_contained_modules_are_inside_of_the_model(tmp_path: Path, path: str) -> None:
    (tmp_path / "config.yml").write_text(f"module_id: pair\nmodule_paths: {{first: {path}}}\n")
    with pytest.raises(ModelConfigError, match=r"`module_paths.first` in .* leaves the model's"):
        ModuleLoader(tmp_path).load_module("first")


def test_a_loader_reads_values_and_takes_a_configuration(tmp_path: Path) -> None:
    Words("Hi").save(str(tmp_path))
    loader = ModuleLoader(ModuleConfig.load(tmp_path))
    assert loader.model_path == str(tmp_path)
    assert loader.load_args("greeting", "name", "absent") == ("Hi", "The words", None)


def test_a_saver_copies_files_and_makes_folders(tmp_path: Path) -> None:
    (tmp_path / "source.bin").write_bytes(b"\0\1")
    folder = tmp_path / "model"
    with ModuleSaver(Words(), folder) as saver:
        assert saver.add_dir("a") == ("a", str(folder / "a"))
        assert saver.add_dir("b", "a") == ("a/b", str(folder / "a" / "b"))
        assert saver.copy_file(tmp_path / "source.bin") == (
            "source.bin",
            str(folder / "source.bin"),
        )
        relative, absolute = saver.copy_file(str(tmp_path / "source.bin"), "a")
        assert saver.save_object({"x": 1}, "x.json", JSONSerializer)[0] == "x.json"
    assert relative == "a/source.bin"
    assert Path(absolute).read_bytes() == b"\0\1"
    assert load_json(folder / "x.json") == {"x": 1}
    with pytest.raises(FileNotFoundError, match="absent` is no file that could be copied"):
        saver.copy_file(tmp_path / "absent")
    with pytest.raises(InvalidArgument, match="is not inside of the model folder"):
        saver.add_dir("../out")
    with pytest.raises(InvalidArgument, match="is not inside of the model folder"):
        saver.save_object("", str(tmp_path / "out"), TextSerializer())


def test_a_failed_save_writes_no_config(tmp_path: Path) -> None:
    def save(folder: Path, *, exist_ok: bool) -> None:
        with ModuleSaver(Words(), folder, exist_ok=exist_ok) as saver:
            saver.add_dir("part")
            raise RuntimeError("the disk is tired")

    with pytest.raises(RuntimeError, match="the disk is tired"):
        save(tmp_path / "kept", exist_ok=True)
    assert [item.name for item in (tmp_path / "kept").iterdir()] == ["part"]
    with pytest.raises(RuntimeError, match="the disk is tired"):
        save(tmp_path / "removed", exist_ok=False)
    assert not (tmp_path / "removed").exists()


def test_a_failed_save_over_a_model_leaves_its_config(tmp_path: Path) -> None:
    Words().save(str(tmp_path))
    before = (tmp_path / "config.yml").read_bytes()
    with pytest.raises(KeyError), ModuleSaver(Words(), tmp_path) as saver:
        saver.update_config({"greeting": "lost", "model_path": "refused"})
    assert (tmp_path / "config.yml").read_bytes() == before


def test_an_existing_folder_is_refused_and_kept_when_it_may_not_exist(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(FileExistsError), ModuleSaver(Words(), tmp_path, exist_ok=False):
        pass
    assert (tmp_path / "precious").exists()


def test_what_yaml_cannot_hold_is_named(tmp_path: Path) -> None:
    message = r"`config.yml`, key `bad`: object cannot be written as YAML"
    with pytest.raises(InvalidArgument, match=message), ModuleSaver(Words(), tmp_path) as saver:
        saver.update_config({"good": [1], "bad": {"deep": object()}})
    assert not list(tmp_path.iterdir())


def test_a_saver_refuses_model_path_and_nameless_modules(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="`model_path`"):
        ModuleSaver(Words(), tmp_path).update_config({"model_path": "x"})

    class Nameless(ModuleBase):
        pass

    with pytest.raises(TypeError, match="Nameless` cannot be saved: it is not decorated"):
        ModuleSaver(Nameless(), tmp_path)


# -- load_model


def test_a_model_of_an_unknown_module_is_told_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("module_id: gone\nmodule_class: library.Gone\n")
    with pytest.raises(UnknownModule) as caught:
        load_model(tmp_path)
    message = str(caught.value)
    assert message.startswith(
        f"Unable to load model from {tmp_path}: no imported module has the MODULE_ID gone "
        "(the model was saved by `library.Gone`); known modules: "
    )
    assert "words (Words)" in message
    assert "pair (Pair)" in message
    assert isinstance(caught.value, ValueError)


def test_a_model_without_a_module_id_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("name: Gone\n")
    with pytest.raises(ModelConfigError, match="No module_id found in config at "):
        load_model(tmp_path)


def test_no_model_is_a_missing_file() -> None:
    with pytest.raises(FileNotFoundError, match=r"`absent` does not contain a `config.yml` file"):
        load_model("absent")


def test_a_model_is_loaded_from_a_path_or_bytes() -> None:
    with pytest.raises(TypeError, match="from a path or from bytes, not int"):
        load_model(5)  # type: ignore[arg-type] # refused


def test_a_load_that_gives_no_model_is_refused(tmp_path: Path) -> None:
    @module("wrong", "Wrong", "1.0.0")
    class Wrong(ModuleBase):
        @classmethod
        def load(cls, model_path: str) -> Any:
            return None

    (tmp_path / "config.yml").write_text("module_id: wrong\n")
    with pytest.raises(TypeError, match=r"Wrong.load` must return a model, not NoneType"):
        load_model(tmp_path)


def test_a_load_is_given_what_it_says_it_takes(tmp_path: Path) -> None:
    given: list[object] = []

    @module("either", "Either", "1.0.0")
    class Either(ModuleBase):
        @classmethod
        def load(cls, model_path: str | ModuleConfig, load_backend: object) -> "Either":
            given.extend([model_path, load_backend])
            return cls()

    @module("config", "Config", "1.0.0")
    class Config(ModuleBase):
        @classmethod
        def load(cls, config: ModuleConfig) -> "Config":
            given.append(config.word)
            return cls()

    (tmp_path / "config.yml").write_text("module_id: either\n")
    load_model(str(tmp_path))
    (tmp_path / "config.yml").write_text("module_id: config\nword: Aha\n")
    assert load_model(str(tmp_path)).metadata["model_path"] == str(tmp_path)
    assert given == [str(tmp_path), None, "Aha"]


def test_a_failing_load_fails_once_and_as_it_is(tmp_path: Path) -> None:
    calls: list[str] = []

    @module("failing", "Failing", "1.0.0")
    class Failing(ModuleBase):
        @classmethod
        def load(cls, model_path: str) -> "Failing":
            calls.append(model_path)
            raise ValueError("will not load")

    (tmp_path / "config.yml").write_text("module_id: failing\n")
    with pytest.raises(ValueError, match=r"^will not load$"):
        load_model(str(tmp_path))
    assert calls == [str(tmp_path)]


def test_a_singleton_is_loaded_once_per_path(tmp_path: Path) -> None:
    Words().save(str(tmp_path))
    first = load_model(str(tmp_path), load_singleton=True)
    assert load_model(tmp_path / ".", load_singleton=True) is first
    assert load_model(tmp_path) is not first


def test_resolve_and_load_takes_models_and_paths(tmp_path: Path) -> None:
    model = Words("Hi")
    model.save(str(tmp_path))
    assert resolve_and_load(model) is model
    assert isinstance(resolve_and_load(str(tmp_path)), Words)
    for wrong in ("absent", 5):
        with pytest.raises(ValueError, match="Expected a model or the path of one"):
            resolve_and_load(wrong)  # type: ignore[arg-type] # refused


# -- archives


def test_a_zip_file_is_a_model(tmp_path: Path) -> None:
    Words("Hi", ["a"]).save(str(tmp_path / "model"))
    archive = compress(tmp_path / "model", tmp_path / "model.zip")
    data = Path(archive).read_bytes()
    for source in (archive, data, io.BytesIO(data)):
        loaded = load_model(source)
        assert isinstance(loaded, Words)
        assert loaded.words == ["a"]


def test_a_zip_file_may_hold_the_folder_itself(tmp_path: Path) -> None:
    Words("Hi").save(str(tmp_path / "outer" / "model"))
    (tmp_path / "outer" / "__MACOSX").mkdir()
    archive = compress(tmp_path / "outer", tmp_path / "model.zip")
    assert isinstance(load_model(archive), Words)


def test_unpacked_files_live_as_long_as_the_model(tmp_path: Path) -> None:
    loaded = load_model(Words("Hi", ["a"]).as_bytes())
    folder = Path(loaded.metadata["model_path"])
    assert (folder / "data" / "words.txt").exists()
    del loaded
    gc.collect()
    assert not folder.exists()


def test_bytes_that_are_no_zip_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="The data cannot be read as a zip file"):
        load_model(b"no zip")


def archive_with(name: str, *, mode: int = 0) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("config.yml", "module_id: words\n")
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        archive.writestr(member, "/etc/passwd")
    return data.getvalue()


@pytest.mark.parametrize(
    ("name", "mode", "why"),
    [
        ("../evil", 0, "points outside of the folder"),
        ("a/../../evil", 0, "points outside of the folder"),
        ("a\\..\\..\\evil", 0, "points outside of the folder"),
        ("/etc/evil", 0, "has an absolute path"),
        ("C:\\evil", 0, "has an absolute path"),
        ("link", 0o120777, "is neither a file nor a folder"),
    ],
)
def test_members_outside_of_the_folder_are_refused(
    tmp_path: Path, name: str, mode: int, why: str
) -> None:
    data = archive_with(name, mode=mode)
    with pytest.raises(UnsafeArchive, match=why):
        extract(data, tmp_path / "target")
    assert not (tmp_path / "target").exists()
    with pytest.raises(UnsafeArchive, match=why):
        load_model(data)


def test_extract_gives_the_absolute_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = archive_with("deep/file")
    assert extract(data, "target") == str(tmp_path / "target")
    (tmp_path / "target" / "old").write_text("x")
    with pytest.raises(FileExistsError, match="pass force_overwrite=True to replace it"):
        extract(data, "target")
    extract(data, "target", force_overwrite=True)
    assert sorted(item.name for item in (tmp_path / "target").iterdir()) == ["config.yml", "deep"]


def test_an_archive_that_does_not_fit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3))
    with pytest.raises(ResourceExhausted, match="unpacks to 28 bytes, but only 3 are free at "):
        extract(archive_with("file"), tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_a_damaged_archive_leaves_nothing(tmp_path: Path) -> None:
    data = bytearray(archive_with("file"))
    place = data.index(b"module_id: words")
    data[place : place + 4] = b"XXXX"
    with pytest.raises(InvalidArgument, match="The archive cannot be unpacked: Bad CRC-32"):
        extract(bytes(data), tmp_path / "target")
    assert not (tmp_path / "target").exists()
