"""Small disks, and how to fill them."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["SIZE", "fill", "small_disk"]

SIZE = 8 << 20
"""Bytes of a small disk."""


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Makes a folder a disk of its own until the end of the block."""
    folder.mkdir()
    done = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0755", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:  # elsewhere calls that fail as on a full disk have to do
        pytest.skip(f"no disk may be mounted here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["/bin/umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all the room that a disk has."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    stream.write(bytes(size))
            except OSError:
                continue
    return ballast
