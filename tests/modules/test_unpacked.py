"""What a zip file of a model was unpacked to is there as long as it is in use, and no longer."""

import gc
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kitfox.modules.unpacked import UnpackedFolder

HOLD = """
from kitfox.modules.unpacked import UnpackedFolder
folder = UnpackedFolder()
folder.path.mkdir()
print(folder.path, flush=True)
input()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def test_it_is_there_until_it_is_removed(temporary: Path) -> None:
    first, second = UnpackedFolder(), UnpackedFolder()
    assert first.path != second.path
    first.path.mkdir()
    first.remove()
    assert [item.name for item in temporary.iterdir()] == [second.path.parent.name]
    second.remove()
    assert not list(temporary.iterdir())


def test_what_a_killed_process_has_left_is_removed(temporary: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        assert left.parent.parent == temporary
        UnpackedFolder().remove()
        assert left.is_dir()  # it is in use
        process.kill()
    UnpackedFolder().remove()
    assert not list(temporary.iterdir())


def test_what_is_not_its_own_stays(temporary: Path, tmp_path: Path) -> None:
    (temporary / "kitfox-model-of-mine").mkdir()  # without a lock
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").touch()
    (temporary / "kitfox-model-link").symlink_to(elsewhere)
    (temporary / "kitfox-model-file").touch()
    (temporary / "kitfox-model-linked-lock").mkdir()
    (temporary / "kitfox-model-linked-lock" / "lock").symlink_to(elsewhere / "lock")
    before = sorted(temporary.iterdir())
    UnpackedFolder().remove()
    assert sorted(temporary.iterdir()) == before
    assert (elsewhere / "lock").exists()


def test_no_file_stays_open(temporary: Path) -> None:
    gc.collect()  # files of earlier tests count neither before nor after
    before = len([*Path("/dev/fd").iterdir()])
    for _ in range(5):
        UnpackedFolder().remove()
    gc.collect()
    assert len([*Path("/dev/fd").iterdir()]) == before
