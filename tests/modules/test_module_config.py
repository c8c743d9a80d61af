import copy
import pickle
from pathlib import Path

import pytest

from kitfox.modules import ModelConfigError, ModuleConfig


def written(folder: Path, text: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "config.yml").write_text(text)
    return str(folder)


def test_keys_read_as_attributes_and_absent_ones_as_none(tmp_path: Path) -> None:
    config = ModuleConfig.load(
        written(tmp_path, "module_id: m\nouter: {inner: {deep: 1}}\nitems_: [{a: 2}]\n")
    )
    assert config.module_id == "m"
    assert config.absent is None
    assert config.outer.inner.deep == 1
    assert config.outer.inner.absent is None
    assert config.items_[0].a == 2
    assert config["outer"]["inner"] == {"deep": 1}
    assert config.model_path == str(tmp_path)


def test_attributes_can_be_set_and_deleted() -> None:
    config = ModuleConfig({"a": {"b": 1}})
    config.a.b = 2
    config.c = 3
    assert config == {"a": {"b": 2}, "c": 3}
    del config.c
    assert config.c is None


def test_configurations_can_be_copied_and_pickled() -> None:
    config = ModuleConfig({"module_id": "m", "a": {"b": 1}})
    assert copy.deepcopy(config).a.b == 1
    assert pickle.loads(pickle.dumps(config)).a.b == 1  # noqa: S301


@pytest.mark.parametrize("key", ["block_id", "workflow_id", "resource_id"])
def test_older_id_keys_are_taken(key: str) -> None:
    config = ModuleConfig({key: "b"})
    assert (config.module_id, config.older_id_key) == ("b", key)
    config = ModuleConfig({key: "b", "module_id": "m"})
    assert (config.module_id, config.older_id_key) == ("m", None)


def test_model_path_must_not_be_configured(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="`model_path` is set when a model is loaded"):
        ModuleConfig({"model_path": "x"})
    with pytest.raises(KeyError, match="`model_path`"):
        ModuleConfig.load(written(tmp_path, "module_id: m\nmodel_path: x\n"))


def test_a_folder_without_a_config_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "stray_file").write_text("x")
    (tmp_path / "odd" / "config.yml").mkdir(parents=True)
    for path in (tmp_path, tmp_path / "absent", tmp_path / "stray_file", tmp_path / "odd"):
        with pytest.raises(FileNotFoundError) as caught:
            ModuleConfig.load(path)
        assert (
            str(caught.value) == f"Module load path `{path}` does not contain a `config.yml` file."
        )


def test_broken_yaml_is_told_with_file_line_and_column(tmp_path: Path) -> None:
    path = written(tmp_path, "name: x\nmodule_id: [unclosed\n")
    with pytest.raises(ModelConfigError) as caught:
        ModuleConfig.load(path)
    assert str(caught.value) == (
        f"{path}/config.yml, line 3, column 1: expected ',' or ']', but got '<stream end>' "
        "(while parsing a flow sequence)"
    )
    assert caught.value.path == f"{path}/config.yml"
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected keys and values, found nothing"),
        ("- a\n", "expected keys and values, found list"),
        ("just text", "expected keys and values, found str"),
        ("1: a\n", "keys are text, not 1"),
        ("when: 2024-13-45\n", "month must be in 1..12"),
        ("a: \x07", "unacceptable character"),
        ("a: !!python/name:os.system ''", "could not determine a constructor"),
    ],
)
def test_a_config_that_is_no_mapping_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ModelConfigError) as caught:
        ModuleConfig.load(path)
    assert str(caught.value).startswith(f"{path}/config.yml")
    assert message in str(caught.value)


def test_a_file_that_shares_without_end_is_read_in_a_moment(tmp_path: Path) -> None:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    config = ModuleConfig.load(written(tmp_path, "\n".join([*lines, "loop: &l {self: *l}"])))
    assert config.a59[0] is config.a58
    assert config.loop.self.self.self is not None
