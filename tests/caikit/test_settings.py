"""Settings accumulate as caikit's do; what the server knows of them reaches it."""

import copy
import logging
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from kitfox import config
from kitfox.toolkit.settings import (
    SHARED,
    Settings,
    SettingsDict,
    added_search_path,
    server_overrides,
)

DEFAULTS = {"runtime": {"library": "", "grpc": {"port": 8085}}, "log": {"level": "info"}}


def make(environ: dict[str, str] | None = None, **defaults: Any) -> Settings:
    return Settings({**DEFAULTS, **defaults}, environ=environ or {})


def test_keys_are_attributes_and_missing_ones_none() -> None:
    current: Any = make().current
    assert current.runtime.grpc.port == 8085
    assert current.runtime.no_such_key is None
    assert current["runtime"]["grpc"]["port"] == 8085


@pytest.mark.parametrize(
    "change",
    [
        lambda current: setattr(current, "x", 1),
        lambda current: delattr(current, "log"),
        lambda current: current.__setitem__("x", 1),
        lambda current: current.log.update(level="debug"),
        lambda current: current.pop("log"),
        lambda current: current.clear(),
    ],
)
def test_nothing_can_be_changed_in_place(change: Any) -> None:
    current = make().current
    with pytest.raises((AttributeError, TypeError), match="settings are not"):
        change(current)
    assert current == DEFAULTS


def test_settings_can_be_copied_and_pickled() -> None:
    current = make().current
    assert copy.deepcopy(current) == pickle.loads(pickle.dumps(current)) == current  # noqa: S301
    assert isinstance(copy.deepcopy(current), SettingsDict)


def test_dicts_are_merged_scalars_replaced_and_new_lists_come_first() -> None:
    settings = make()
    settings.configure(config_dict={"runtime": {"tasks": [1], "nested": {"a": 1}}})
    settings.configure(config_dict={"runtime": {"tasks": [2], "nested": {"b": 2}, "library": "x"}})
    runtime: Any = settings.current.runtime
    assert runtime.tasks == [2, 1]
    assert runtime.nested == {"a": 1, "b": 2}
    assert (runtime.library, runtime.grpc.port) == ("x", 8085)


def test_what_was_given_is_not_changed_and_earlier_states_stay() -> None:
    settings = make()
    given = {"items": [{"a": 1}]}
    before = settings.current
    settings.configure(config_dict=given)
    settings.configure(config_dict={"items": [{"a": 2}]})
    assert given == {"items": [{"a": 1}]}
    assert before == DEFAULTS


def test_a_file_with_the_strategy_override_replaces_top_level_keys(tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    file.write_text("merge_strategy: override\nruntime: {library: other}\n")
    settings = make()
    settings.configure(file)
    assert settings.current.runtime == {"library": "other"}
    assert settings.current.log == {"level": "info"}
    settings.configure(config_dict={"runtime": {"extra": 1}})
    assert settings.current.runtime == {"library": "other", "extra": 1}


def test_a_file_comes_before_a_dict(tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    file.write_text("runtime: {library: of_file}\n")
    settings = make()
    settings.configure(str(file), {"runtime": {"library": "of_dict"}})
    assert settings.current.runtime.library == "of_dict"


def test_nothing_given_is_refused() -> None:
    with pytest.raises(ValueError, match="neither"):
        make().configure()


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [1\n", "text"])
def test_a_file_without_keys_and_values_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "config.yml"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"config\.yml"):
        make().configure(file)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        make().configure(tmp_path / "absent.yml")


@pytest.mark.parametrize(
    ("text", "value"),
    [("9000", 9000), ("0.5", 0.5), ("True", True), ("false", False), ("a b", "a b"), ("", "")],
)
def test_variables_override_single_values(text: str, value: object) -> None:
    settings = make({"RUNTIME_GRPC_PORT": text, "MY_KEY_DEEP": text})
    settings.configure(config_dict={"my-key": {"deep": 1}, "runtime": {"grpc": {"port": 1}}})
    assert settings.current.runtime.grpc.port == value
    assert settings.current["my-key"]["deep"] == value


def test_variables_named_like_sections_lists_or_absent_keys_are_ignored() -> None:
    environ = {"LOG": "debug", "RUNTIME": "x", "RUNTIME_ITEMS": "1", "RUNTIME_ABSENT": "1"}
    settings = make(environ)
    settings.configure(config_dict={"runtime": {"items": [1]}})
    assert settings.current.log == {"level": "info"}
    assert settings.current.runtime.items_ is None
    assert settings.current.runtime["items"] == [1]
    assert settings.current.runtime.absent is None


def test_config_files_are_merged_last_and_once(tmp_path: Path) -> None:
    last = tmp_path / "last.yml"
    last.write_text("runtime: {library: last, items: [9]}\n")
    more = tmp_path / "more.yml"
    more.write_text("more: 1\n")
    settings = make({"CONFIG_FILES": f"{last}, {more}"})
    assert settings.current.runtime.library == "last"
    settings.configure(config_dict={"runtime": {"library": "later", "items": [1]}})
    settings.configure(config_dict={"other": 1})
    assert settings.current.runtime.library == "last"
    assert settings.current.runtime["items"] == [9, 1]
    assert settings.current.more == 1


def test_config_files_can_be_named_in_the_settings(tmp_path: Path) -> None:
    last = tmp_path / "last.yml"
    last.write_text("runtime: {library: last}\n")
    settings = make()
    settings.configure(config_dict={"config_files": str(last)})
    assert settings.current.runtime.library == "last"


def test_a_failing_configure_changes_nothing(tmp_path: Path) -> None:
    settings = make()
    with pytest.raises(FileNotFoundError):
        settings.configure(config_dict={"config_files": str(tmp_path / "absent.yml")})
    settings.configure(config_dict={"a": 1})
    assert settings.current == {**DEFAULTS, "a": 1}


def test_a_process_that_is_started_has_the_same_settings(tmp_path: Path) -> None:
    library = tmp_path / "library.yml"
    library.write_text("runtime: {library: example, items: [1]}\n")
    first = make()
    first.configure(library)
    first.configure(config_dict={"runtime": {"library": "changed"}, "mine": {"x": 1}})
    environ: dict[str, str] = {}
    first.share(environ)

    second = Settings.shared(environ[SHARED], environ={})
    assert second.current == {**first.current, "config_files": ""}
    second.configure(library)  # as the library does when it is imported there
    assert second.current.runtime.library == "changed"
    assert second.current.runtime["items"] == [1]
    second.configure(config_dict={"runtime": {"library": "of its own"}})
    assert second.current.runtime.library == "of its own"


def test_the_server_gets_what_it_knows(caplog: pytest.LogCaptureFixture) -> None:
    settings = make(runtime={"library": "example", "my_key": True}, mine={"x": 1})
    with caplog.at_level(logging.DEBUG, "kitfox.SETTINGS"):
        found = server_overrides(settings.current, search_path=["/library"])
    assert found["runtime"] == {"library": "example", "python_path": ["/library"]}
    assert "mine" not in found
    assert {record.getMessage().rpartition(" ")[2] for record in caplog.records} == {
        "mine",
        "runtime.my_key",
    }
    assert len(caplog.records) == 2
    assert config.load(environ={}, overrides=found).runtime.library == "example"


def test_the_server_gets_the_groups_that_are_named_by_models() -> None:
    batching = {"default": {"size": 8, "collect_delay_s": 0.1}}
    found = server_overrides(
        make(runtime={"batching": batching}, models={"settings": {"fox": {"threads": 2}}}).current
    )
    loaded = config.load(environ={}, overrides=found)
    assert loaded.runtime.batching["default"].size == 8
    assert loaded.models.settings == {"fox": {"threads": 2}}


def test_a_value_that_says_nothing_leaves_the_servers_default() -> None:
    settings = make(
        runtime={
            "http": {"port": None, "route_prefix": ""},
            "grpc": {"port": ""},
            "lazy_load_poll_period_seconds": None,
        }
    )
    found = server_overrides(settings.current)
    assert found["runtime"] == {
        "http": {"route_prefix": ""},
        "grpc": {},
        "lazy_load_poll_period_seconds": None,
        "python_path": [],
    }


def test_a_wrong_value_is_left_to_the_server_to_refuse() -> None:
    found = server_overrides(make(runtime={"grpc": {"port": "many"}}).current)
    with pytest.raises(config.ConfigError, match=r"runtime\.grpc\.port"):
        config.load(environ={}, overrides=found)


@pytest.mark.parametrize(
    ("level", "expected"),
    [("debug3", "debug"), ("trace", "debug"), ("fatal", "error"), ("INFO", "info"), ("off", "off")],
)
def test_log_levels_become_those_of_the_server(level: str, expected: str) -> None:
    assert server_overrides(make(log={"level": level}).current)["log"]["level"] == expected


def test_the_search_path_is_what_the_process_added(tmp_path: Path) -> None:
    usual = added_search_path(sys.path)
    assert added_search_path([*sys.path, str(tmp_path), "/no/such"]) == [*usual, str(tmp_path)]
