"""How a model is run is said in several places; the most specific one counts, key by key."""

import zipfile
from pathlib import Path

import pytest

from kitfox import config
from kitfox.config import Batching, ConfigError, ModelExecution, Models
from kitfox.models import ExecutionSettings
from kitfox.modules import ModelConfigError

MODULE = "0a3e5c9d-5b0b-4a77-8b1f-6f8f2a1f6f0e"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model whose author says something of its execution."""
    text = f"module_id: {MODULE}\nexecution: {{threads: 3, max_batch_size: 4, queue_limit: 30}}\n"
    (tmp_path / "config.yml").write_text(text)
    return tmp_path


def test_the_most_specific_place_counts_key_by_key(folder: Path) -> None:
    models = Models(
        execution=ModelExecution(mode="inline", threads=2, run_seconds=5),
        settings={MODULE: {"max_batch_size": 5, "queue_limit": 50}, "fox": {"queue_limit": 60}},
    )
    found = ExecutionSettings(models).of("fox", folder)
    assert (found.mode, found.run_seconds) == ("inline", 5)
    assert (found.threads, found.max_batch_size, found.queue_limit) == (3, 5, 60)


def test_what_is_said_of_a_model_counts_for_its_versions(folder: Path) -> None:
    models = Models(settings={"fox": {"threads": 7}, "fox@2": {"run_seconds": 9}})
    settings = ExecutionSettings(models)
    assert settings.of("fox@1", folder).threads == 7
    second = settings.of("fox@2", folder)
    assert (second.threads, second.run_seconds) == (7, 9)


def test_an_archive_is_read_like_a_folder(folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "fox.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(folder / "config.yml", "fox/config.yml")
    assert ExecutionSettings().of("fox", packed).threads == 3


def test_caikits_batching_is_the_least_specific() -> None:
    batching = {"default": Batching(size=8, collect_delay_s=0.5)}
    found = ExecutionSettings(batching=batching).of("fox", Path("nowhere"))
    assert (found.max_batch_size, found.max_batch_delay_seconds) == (8, 0.5)
    models = Models(execution=ModelExecution(max_batch_size=2))
    assert ExecutionSettings(models, batching).of("fox", Path("nowhere")).max_batch_size == 2


def test_an_unknown_key_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    values = {"models": {"settings": {"fox": {"thread": 1}}}}
    with pytest.raises(ConfigError, match=r"settings\.fox: unknown key 'thread'.*'threads'"):
        config.parse(values, source="test")
    (tmp_path / "config.yml").write_text("module_id: x\nexecution: {queue_limits: 1}")
    with pytest.raises(ModelConfigError, match=r"fox.*unknown key 'queue_limits'.*'queue_limit'"):
        ExecutionSettings().of("fox", tmp_path)


def test_a_wrong_value_is_refused_with_its_place() -> None:
    values = {"models": {"settings": {"fox": {"queue_limit": 0}}}}
    with pytest.raises(ConfigError, match=r"models\.settings\.fox: queue_limit: .*>= 1"):
        config.parse(values, source="test")
