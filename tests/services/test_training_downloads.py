"""Models of any size are downloaded, and nobody takes a part of one for the whole."""

import hashlib
import http.client
import os
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.courses import MANAGE, CoursesServer, courses

pytestmark = pytest.mark.slow

MIB = 1 << 20


def memory(server: CoursesServer) -> int:
    """Bytes that the processes of the server hold, workers not among them."""
    assert server.process is not None
    found = 0
    for folder in Path("/proc").iterdir():
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (OSError, NotADirectoryError):
            continue
        if int(fields[3]) == server.process.pid:  # its session
            found += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return found


@pytest.fixture(scope="module", params=["envoy", "hypercorn"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CoursesServer]:
    folder = tmp_path_factory.mktemp("courses")
    with courses(folder, SERVER_ENGINE=str(request.param)) as running:
        yield running


def test_memory_does_not_grow_with_the_model(server: CoursesServer, tmp_path: Path) -> None:
    size = 128 * MIB
    archive, digest = tmp_path / "model.zip", hashlib.sha256()
    training = server.begin("one", weight=size)
    server.ended(training)
    url = f"{server.url}{MANAGE}/download?training_id={training}"
    before = most = memory(server)
    with urllib.request.urlopen(url, timeout=60) as answer, archive.open("wb") as target:
        while data := answer.read(4 * MIB):
            target.write(data)
            most = max(most, memory(server))
    assert most - before < 48 * MIB
    with zipfile.ZipFile(archive) as opened, opened.open("weights") as weights:
        while data := weights.read(MIB):
            digest.update(data)
    assert digest.digest() == hashlib.sha256(bytes(size)).digest()


def test_a_download_that_cannot_be_finished_is_broken_off(server: CoursesServer) -> None:
    training = server.begin("one", weight=64 * MIB)
    place = Path(server.ended(training)["path"])
    url = f"{server.url}{MANAGE}/download?training_id={training}"
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert answer.read(1000)
        os.truncate(place / "weights", 60 * MIB)
        with pytest.raises((http.client.HTTPException, OSError)):
            answer.read()
    assert "was changed while it was packed" in server.log
