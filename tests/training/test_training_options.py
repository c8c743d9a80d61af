"""How a training is run: as its caller says, else as its module does, else as is configured."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from kitfox.errors import InvalidArgument
from kitfox.modules import ModuleBase
from kitfox.training import JobOptions, JobStore, Scheduler, TrainingService


class Plain(ModuleBase):
    """Says nothing of retries."""

    MODULE_ID: ClassVar[str] = "plain"


class Frail(Plain):
    """Dies easily."""

    TRAIN_RETRIES: ClassVar[int | None] = 3


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    found = JobStore(f"sqlite:///{tmp_path / 'jobs.sqlite3'}")
    yield found
    found.close()


def make(store: JobStore, **settings: bool | int) -> TrainingService:
    scheduler = Scheduler(store=store)
    folder = Path(store.url.removeprefix("sqlite:///")).parent
    return TrainingService(store=store, scheduler=scheduler, output_dir=folder, **settings)  # type: ignore[arg-type]  # each is of its type


def test_retries(store: JobStore) -> None:
    service = make(store, retries=1)
    assert service.start(Plain, {}).retries == 1
    assert service.start(Frail, {}).retries == 3
    job = service.start(Frail, {}, options=JobOptions(retries=0))
    assert store.get(job.id).retries == 0


@pytest.mark.parametrize(
    ("configured", "name", "asked", "expected"),
    [
        (False, "fox", None, ""),
        (False, "fox", True, "wanted"),
        (True, "fox", None, "wanted"),
        (True, "fox", False, ""),
        (True, "", None, ""),
    ],
)
def test_promotion(
    store: JobStore, configured: bool, name: str, asked: bool | None, expected: str
) -> None:
    service = make(store, promote=configured)
    job = service.start(Plain, {}, name, options=JobOptions(promote=asked))
    assert store.get(job.id).promotion == expected
    assert service.repeat(job.id).promotion == expected
    assert service.repeat(job.id, model_name="").promotion == ""


def test_a_model_without_a_name_is_the_current_version_of_nothing(store: JobStore) -> None:
    with pytest.raises(InvalidArgument, match="model_name"):
        make(store).start(Plain, {}, options=JobOptions(promote=True))


def test_where_a_model_is_current_when_it_is_trained_nothing_is_promoted(store: JobStore) -> None:
    service = make(store, promote=True, promotable=False, save_with_id=False)
    assert service.start(Plain, {}, "fox").promotion == ""
