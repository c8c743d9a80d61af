"""The configuration is typed: nothing unknown, nothing of the wrong type, and files are named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kitfox import config
from kitfox.config import Config, ConfigError

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "config.yml") -> Path:
        file = tmp_path / name
        file.write_text(text)
        return file

    return write


def test_defaults_are_those_of_the_contract() -> None:
    runtime = config.load(environ={}).runtime
    assert (runtime.grpc.port, runtime.http.port, runtime.metrics.port) == (8085, 8080, 8086)
    assert runtime.http.route_prefix == "api/v1"
    assert runtime.training.save_with_id


def test_paths_are_relative_to_the_file_that_names_them(write: Write, tmp_path: Path) -> None:
    file = write("runtime: {local_models_dir: ../models, python_path: ['.']}")
    runtime = config.load(file, environ={}).runtime
    assert runtime.local_models_dir == str(tmp_path.parent / "models")
    assert runtime.python_path == [str(tmp_path)]


def test_a_later_file_overrides_an_earlier_one_key_by_key(write: Write) -> None:
    first = write("runtime: {library: a, grpc: {port: 1}}", "a.yml")
    second = write("runtime: {grpc: {port: 2}}", "b.yml")
    runtime = config.load(first, second, environ={}).runtime
    assert (runtime.library, runtime.grpc.port) == ("a", 2)


def test_files_named_in_the_environment_come_last(write: Write) -> None:
    first = write("runtime: {library: a}", "a.yml")
    second = write("runtime: {library: b}", "b.yml")
    assert config.load(first, environ={"CONFIG_FILES": str(second)}).runtime.library == "b"


@pytest.mark.parametrize(
    ("variable", "text", "read"),
    [
        ("RUNTIME_GRPC_PORT", "9000", lambda found: found.runtime.grpc.port == 9000),
        ("RUNTIME_METRICS_ENABLED", "false", lambda found: not found.runtime.metrics.enabled),
        ("LOG_LEVEL", "error", lambda found: found.log.level == "error"),
        (
            "RUNTIME_LAZY_LOAD_POLL_PERIOD_SECONDS",
            "null",
            lambda found: found.runtime.lazy_load_poll_period_seconds is None,
        ),
    ],
)
def test_variables_override_files(variable: str, text: str, read: Callable[[Config], bool]) -> None:
    assert read(config.load(environ={variable: text}))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("runtime: {grpc: {prt: 1}}", "unknown key 'runtime.grpc.prt'; did you mean"),
        ("runtim: {}", "did you mean 'runtime'?"),
        ("max_concurrent: 3", "did you mean 'training.max_concurrent'?"),
        ("zzz: 3", "unknown key 'zzz'; known: data_streams, jobs, log, models, runtime"),
        ("runtime: {grpc: {port: much}}", "runtime.grpc.port: Expected `int`"),
        ("runtime: {grpc: {port: 70000}}", "runtime.grpc.port: Expected `int` <= 65535"),
        ("runtime: {grpc: 8085}", "runtime.grpc: expected a section with the keys enabled, port"),
        ("log: {level: loud}", "log.level"),
        ("training: {lease_seconds: 1}", "training.lease_seconds: Expected `float` >= 10"),
        ("training: {digest_bytes: much}", "training.digest_bytes: 'much': expected a number of"),
        ("training: {retention: {bytes: -1}}", "training.retention.bytes: '-1': expected a number"),
        ("training: {retention: {day: 1}}", "unknown key 'training.retention.day'"),
        ("server: {live_path: livez}", "server.live_path: Expected `str` matching regex"),
        ("- a", "expected keys and values, got list"),
        ("a: [", "line 1, column"),
        ("a: \tb: c\n\tx", "not valid YAML"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(write: Write, text: str, sentence: str) -> None:
    file = write(text)
    with pytest.raises(ConfigError) as caught:
        config.load(file, environ={})
    assert sentence in str(caught.value)
    assert str(file) in str(caught.value)


def test_sizes_are_numbers_or_text_with_a_unit(write: Write) -> None:
    file = write("training: {digest_bytes: 4096, retention: {bytes: 2GiB}}")
    training = config.load(file, environ={"TRAINING_RETENTION_COUNT": "7"}).training
    assert (training.digest_limit, training.retention.bytes_limit) == (4096, 2 << 30)
    assert training.retention.count == 7
    default = config.load(environ={"TRAINING_RETENTION_FAILED_SECONDS": "null"}).training
    assert default.retention.bytes_limit is None
    assert default.retention.failed_seconds is None


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none\.yml: No such file"):
        config.load(tmp_path / "none.yml", environ={})


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(ConfigError, match=r"variable RUNTIME_HTTP_PORT \(runtime.http.port\)"):
        config.load(environ={"RUNTIME_HTTP_PORT": "http"})
