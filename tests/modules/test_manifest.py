"""What a manifest says of a folder, and what it notices."""

import json
import os
from pathlib import Path

import pytest

from kitfox.errors import FailedPrecondition
from kitfox.modules.manifest import (
    MANIFEST,
    DamagedModel,
    DigestCheck,
    IncompleteModel,
    parse_manifest,
    read_manifest,
    seal,
    size_problem,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "model"
    (model / "deep" / "er").mkdir(parents=True)
    (model / "config.yml").write_text("module_id: x\n")
    (model / "deep" / "er" / "weights.bin").write_bytes(b"0123456789")
    (model / "alias").symlink_to("deep/er/weights.bin")
    (model / "also").symlink_to("deep")
    return model


def test_a_sealed_folder_fits_its_manifest(folder: Path) -> None:
    sealed = seal(folder, version="v1", training_id="t1", attempt=2)
    found = read_manifest(folder)
    assert found == sealed
    assert found is not None
    assert (found.name, found.training_id, found.attempt, found.size) == ("v1", "t1", 2, 23)
    assert [file.path for file in found.files] == [
        *("alias", "also", "config.yml", "deep/er/weights.bin")
    ]
    assert size_problem(folder, found) == ""
    DigestCheck()(folder, found)


def test_without_a_version_it_is_named_by_its_training_or_by_its_content(folder: Path) -> None:
    assert seal(folder, training_id="t1").name == "t1"
    first = seal(folder, version=None)
    assert first.name == first.digest[:12]
    assert seal(folder, version=None).name == first.name
    (folder / "config.yml").write_text("module_id: y\n")
    assert seal(folder, version=None).name != first.name


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda path: path.unlink(), "deep/er/weights.bin is missing"),
        (lambda path: path.write_bytes(b"01"), "deep/er/weights.bin has 2 bytes, not 10"),
        (lambda path: (path.unlink(), path.mkdir()), "deep/er/weights.bin is not a file"),
        (lambda path: (path.unlink(), path.symlink_to("x")), "deep/er/weights.bin is not a file"),
        (
            lambda path: (
                (path.parents[2] / "alias").unlink(),
                (path.parents[2] / "alias").touch(),
            ),
            "alias is not the link to deep/er/weights.bin that was published",
        ),
        (
            lambda path: (path.unlink(), path.parent.rmdir(), path.parent.touch()),
            "deep/er/weights.bin is missing",
        ),
    ],
)
def test_a_look_at_the_sizes_finds_what_is_not_whole(
    folder: Path, damage: "object", problem: str
) -> None:
    manifest = seal(folder)
    damage(folder / "deep" / "er" / "weights.bin")  # type: ignore[operator] # a lambda above
    assert size_problem(folder, manifest) == problem
    with pytest.raises(IncompleteModel, match=problem):
        DigestCheck()(folder, manifest)


def test_a_file_that_the_manifest_does_not_name_does_not_matter(folder: Path) -> None:
    manifest = seal(folder)
    (folder / "cache").touch()
    DigestCheck()(folder, manifest)


def test_another_content_of_the_same_size_is_damage(folder: Path) -> None:
    manifest, check = seal(folder), DigestCheck()
    check(folder, manifest)
    (folder / "deep" / "er" / "weights.bin").write_bytes(b"9876543210")
    with pytest.raises(DamagedModel, match=r"weights\.bin is damaged"):
        check(folder, manifest)


def test_what_was_compared_is_not_read_again(folder: Path, tmp_path: Path) -> None:
    manifest, check = seal(folder), DigestCheck()
    weights = folder / "deep" / "er" / "weights.bin"
    check(folder, manifest)
    # Damage that leaves all traces away is not seen: so it was not read.
    before = weights.stat()
    weights.write_bytes(b"9876543210")
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    check(folder, manifest)
    with pytest.raises(DamagedModel):
        DigestCheck()(folder, manifest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"format": 1, "files": [{"path": "a", "size": 1',
        '{"format": 2, "files": []}',
        '{"format": 1, "files": 3}',
        '{"format": 1, "files": [{"path": "a"}]}',
        '{"format": 1, "files": [{"path": "a", "size": 1, "sha256": "0"}]}',
        '{"format": 1, "files": [{"path": "../a", "link": "x"}]}',
        '{"format": 1, "files": [{"path": "/a", "link": "x"}]}',
        '{"format": 1, "files": [{"path": "a\\u0000", "link": "x"}]}',
        '{"format": 1, "files": [[]]}',
    ],
)
def test_a_manifest_that_is_not_whole_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(IncompleteModel, match=r"manifest\.json"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{}", '{"name": "a web application"}'])
def test_another_file_of_that_name_is_none(tmp_path: Path, text: str) -> None:
    assert parse_manifest(text.encode(), "x") is None
    assert read_manifest(tmp_path) is None
    (tmp_path / MANIFEST).mkdir()
    assert read_manifest(tmp_path) is None


def test_manifests_of_earlier_trainings_are_read(tmp_path: Path) -> None:
    values = {
        "format": 1,
        "training_id": "t",
        "attempt": 1,
        "files": [{"path": "a", "size": 0, "sha256": "0" * 64}],
    }
    found = parse_manifest(json.dumps(values).encode(), "x")
    assert found is not None
    assert (found.name, found.created) == ("t", "")


def test_a_pipe_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(FailedPrecondition, match="pipe is neither"):
        seal(folder)
