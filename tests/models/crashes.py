"""Changes the models folder in children, each of which is killed a step further on.

Run as `python -m tests.models.crashes FOLDER [plain]`: makes `FOLDER/CHANGE/0`, `FOLDER/CHANGE/1`,
..., in which a child was killed (by SIGKILL) before its first, second, ... change of the disk,
until a child lives to the end. With `plain`, names cannot be exchanged, as on some file systems.
"""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from kitfox.models import ModelStore
from kitfox.modules import publication

from .sayers import Training, files, plain_folder

CHANGES: dict[str, Callable[[ModelStore], object]] = {
    "deploy": lambda store: store.deploy("new", files("new")),
    "deploy_version": lambda store: store.deploy("m@v3", files("v3")),
    "promote": lambda store: store.promote("m", "v2"),
    "promote_training": lambda store: store.promote("m", "t1"),
    "promote_over_folder": lambda store: store.promote("old", "v2"),
    "roll_back": lambda store: store.roll_back("back"),
    "roll_back_from_folder": lambda store: store.roll_back("trained"),
    "remove": lambda store: store.remove("m"),
    "remove_version": lambda store: store.remove("m@v2"),
}

PLAIN_CHANGES = ("deploy", "promote_over_folder", "roll_back_from_folder")
"""Those that exchange names where that goes, or take care that nothing is replaced."""

_STEPS = {"os.rename", "os.symlink", "os.remove", "os.mkdir", "os.rmdir", "os.link", "open"}
"""Audit events of what changes the disk; the one of renameat2 is that it is looked up."""


def prepare(folder: Path) -> None:
    """A models folder with everything in it that a change may meet."""
    training = Training(folder / "output")
    training.make("t1", "m", "t1")
    store = ModelStore(folder / "models", find_elsewhere=training.find)
    for version in ("v1", "v2"):
        store.deploy(f"m@{version}", files(version))
        store.deploy(f"back@{version}", files(version))
    store.promote("back", "v2")
    plain_folder(folder / "models" / "old", "v1")
    store.deploy("old@v2", files("v2"))
    # As a training leaves it that publishes into the models folder, under its name.
    store.deploy("trained@v1", files("v1"))
    store.deploy("trained@v0", files("v0"))
    store.promote("trained", "v0")
    store.promote("trained", "v1")
    (folder / "models" / "trained").unlink()
    plain_folder(folder / "models" / "trained", "v2")


def _die_at(step: int) -> None:
    left = step

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event == "open":
            counts = isinstance(arguments[2], int) and bool(
                arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
        else:
            counts = event in _STEPS or (event == "ctypes.dlsym" and "renameat2" in arguments)
        if counts:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(watch)


def main(folder: Path, plain: bool) -> None:
    """Makes the folders."""
    if plain:
        publication._rename = lambda source, place, flags: False  # as on some systems
    os.fsync = lambda fd: None  # what a killed process has written is not lost
    with tempfile.TemporaryDirectory() as prepared:
        prepare(Path(prepared))
        for change in PLAIN_CHANGES if plain else CHANGES:
            for step in range(200):
                place = folder / change / str(step)
                shutil.copytree(prepared, place, symlinks=True)
                if not _was_killed(place, change, step):
                    break


def _was_killed(place: Path, change: str, step: int) -> bool:
    store = ModelStore(place / "models", find_elsewhere=Training(place / "output").find)
    child = os.fork()
    if child == 0:
        try:
            _die_at(step)
            CHANGES[change](store)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]), "plain" in sys.argv[2:])
