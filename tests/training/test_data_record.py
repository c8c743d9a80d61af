"""What is noted of the data that a training was trained with."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kitfox.modules import load_model
from kitfox.training import JobState
from kitfox.training.arguments import decode_arguments
from kitfox.training.data_record import DataRecorder
from kitfox.training.jobs import DataRecord
from tests.data.s3_servers import ACCESS_KEY, BUCKET, SECRET_KEY, Service, running_service

from .trainers import Counter
from .workers import running_workers

CONTENT = b"word,number\na,1\nb,2\n"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Training:
    """The data of a training that is read as often as a test likes."""

    def __init__(self, folder: Path, source: dict[str, Any], digest_bytes: int = 10_000) -> None:
        assert Counter.TRAIN_SIGNATURE is not None
        self.recorder = DataRecorder(digest_bytes=digest_bytes)
        self.rows = decode_arguments(
            Counter.TRAIN_SIGNATURE,
            {"rows": source},
            base_dir=str(folder),
            watch=self.recorder,
        )["rows"]

    def record(self) -> DataRecord:
        (found,) = self.recorder.records()
        return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_bytes(CONTENT)
    return tmp_path


FILE = {"file": {"filename": "a.csv"}}


def test_rows_are_those_of_the_longest_reading(folder: Path) -> None:
    training = Training(folder, FILE)
    for _ in range(2):
        assert [row.number for row in training.rows] == [1, 2]
    assert training.record().rows == 2


def test_rows_of_a_reading_that_broke_off_are_not_known(folder: Path) -> None:
    training = Training(folder, FILE)
    assert training.rows.peek().number == 1
    assert training.record().rows is None
    assert len(list(training.rows.map(lambda row: row.word))) == 2
    assert training.record().rows == 2


def test_a_file(folder: Path) -> None:
    found = Training(folder, FILE).record()
    assert (found.parameter, found.kind, found.name) == ("rows", "file", str(folder / "a.csv"))
    assert (found.size, found.sha256) == (len(CONTENT), sha256(CONTENT))
    assert found.changed.endswith("+00:00")


def test_more_data_than_is_given_digests(folder: Path) -> None:
    found = Training(folder, FILE, digest_bytes=len(CONTENT) - 1).record()
    assert (found.size, found.sha256) == (len(CONTENT), "")
    assert found.changed


def test_data_that_was_changed_meanwhile_has_no_digest(folder: Path) -> None:
    training = Training(folder, FILE)
    (folder / "a.csv").write_bytes(CONTENT + b"c,3\n")
    found = training.record()
    assert (found.size, found.sha256) == (len(CONTENT) + 4, "")


def test_a_file_that_is_not_there(folder: Path) -> None:
    found = Training(folder, {"file": {"filename": "absent.csv"}}).record()
    assert (found.kind, found.rows, found.sha256, found.changed) == ("file", None, "", "")


@pytest.mark.parametrize(
    ("source", "kind", "name"),
    [
        ({"list_of_files": {"files": ["a.csv", "b.csv"]}}, "files", "{0}/a.csv, {0}/b.csv"),
        ({"directory": {"dirname": ".", "extension": "csv"}}, "directory", "{0}/*.csv"),
    ],
)
def test_several_files_have_one_record(
    folder: Path, source: dict[str, Any], kind: str, name: str
) -> None:
    training = Training(folder, source)
    assert len(list(training.rows)) == 4
    found = training.record()
    assert (found.kind, found.name) == (kind, name.format(folder))
    assert (found.rows, found.size) == (4, 2 * len(CONTENT))
    names = json.dumps([["a.csv", sha256(CONTENT)], ["b.csv", sha256(CONTENT)]])
    assert found.sha256 == sha256(names.encode())


def test_elements_that_came_with_the_request(folder: Path) -> None:
    rows = [{"word": "a", "number": 1}]
    sources = [{"jsondata": {"data": rows}}, {"data_stream": {"data": rows}}]
    first, second = (Training(folder, source).record() for source in sources)
    assert first == second
    assert (first.kind, first.name) == ("inline", "")
    assert first.sha256
    other = {"jsondata": {"data": [{"word": "b", "number": 1}]}}
    assert Training(folder, other).record().sha256 != first.sha256


def test_no_data_has_no_record(folder: Path) -> None:
    assert Training(folder, {}).recorder.records() == ()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("s3") / "log") as found:
        found.make_bucket()
        yield found


def test_objects_in_a_bucket(folder: Path, service: Service) -> None:
    for name in ("a.csv", "b.csv"):
        service.put(name, CONTENT)
    address = {
        "endpoint": service.url,
        "bucket": BUCKET,
        "accessKey": ACCESS_KEY,
        "secretKey": SECRET_KEY,
    }
    training = Training(folder, {"s3files": {**address, "files": ["a.csv"]}})
    assert len(list(training.rows)) == 2
    found = training.record()
    assert (found.kind, found.name) == ("s3", f"s3://{BUCKET}/a.csv")
    assert (found.rows, found.size) == (2, len(CONTENT))
    assert found.changed == hashlib.md5(CONTENT).hexdigest()  # noqa: S324 -- what S3 tags with
    assert SECRET_KEY not in repr(found)
    several = Training(folder, {"s3files": {**address, "files": ["a.csv", "b.csv"]}}).record()
    assert several.size == 2 * len(CONTENT)
    assert several.changed
    absent = Training(folder, {"s3files": {**address, "files": ["absent.csv"]}}).record()
    assert (absent.size, absent.changed) == (None, "")


def test_a_training_reads_from_a_bucket(
    service: Service, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """From the store of objects to the model and its record, in a worker."""
    service.put("rows.csv", CONTENT)
    source = {
        "endpoint": service.url,
        "bucket": BUCKET,
        "accessKey": ACCESS_KEY,
        "secretKey": SECRET_KEY,
        "files": ["rows.csv"],
    }
    with running_workers(tmp_path_factory.mktemp("workers")) as workers:
        job = workers.run(Counter, json.dumps({"rows": {"s3files": source}, "factor": 2}))
        assert (job.state, job.reasons) == (JobState.COMPLETED, ())
        model = load_model(job.output_path)
        assert isinstance(model, Counter)
        assert (model.value["rows"], model.value["sum"]) == (2, 6)
        (data,) = job.data
        assert (data.kind, data.name, data.rows) == ("s3", f"s3://{BUCKET}/rows.csv", 2)
        assert data.changed
        refused = json.dumps({"rows": {"s3files": {**source, "files": ["absent.csv"]}}})
        failed = workers.run(Counter, refused)
        assert failed.state is JobState.ERRORED
        assert failed.reasons == (
            f"s3://{BUCKET}/absent.csv: there is no such object at {service.url}",
        )
        for record in (job, failed):
            assert SECRET_KEY not in Path(record.log_path).read_text() + repr(record)
