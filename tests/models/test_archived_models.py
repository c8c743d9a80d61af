"""Models in zip files: what is wrong with one is known before it is unpacked."""

import contextlib
import os
import stat
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest

from kitfox.errors import InvalidArgument, KitfoxError
from kitfox.models import ModelStore
from kitfox.modules import archived_manifest
from kitfox.modules.archive import pack_folder
from kitfox.modules.manifest import DamagedModel, IncompleteModel, seal

from .sayers import Sayer, files, plain_folder, word_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def store(root: Path) -> ModelStore:
    return ModelStore(root)


def pack(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def problem_of(store: ModelStore) -> str:
    [entry] = store.entries()
    assert (entry.name, entry.path.name) == ("a.zip", "a.zip")
    return entry.problem


@pytest.mark.parametrize("folder", ["", "sayer/"])
def test_the_module_is_known(store: ModelStore, root: Path, folder: str) -> None:
    pack(
        root / "a.zip",
        {f"{folder}{name}": data for name, data in files("hi").items()} | {"__MACOSX/x": b""},
    )
    [entry] = store.entries()
    assert (entry.module, entry.problem, entry.version) == (Sayer, "", "original")
    assert entry.size == (root / "a.zip").stat().st_size
    store.verify("a.zip", root / "a.zip")
    assert word_of(store.find("a.zip")) == "hi"


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"word.txt": b"hi"}, "does not contain `config.yml`"),
        ({"a/config.yml": b"module_id: x", "b/config.yml": b"module_id: x"}, "does not contain"),
        ({"config.yml": b"module_id: [x"}, "config.yml, line 1, column 14: expected ',' or ']'"),
        ({"config.yml": b"- x"}, "expected keys and values, found list"),
        ({"config.yml": b"name: x"}, "No module_id found"),
        ({"config.yml": b"module_id: unheard-of"}, "unheard-of"),
        (files("hi") | {"../evil": b""}, "'../evil' points outside of the folder"),
        (files("hi") | {"/etc/evil": b""}, "'/etc/evil' has an absolute path"),
        (files("hi") | {"manifest.json": b'{"format": 1'}, "manifest.json is not complete"),
    ],
)
def test_what_is_wrong_is_listed(
    store: ModelStore, root: Path, members: dict[str, bytes], problem: str
) -> None:
    pack(root / "a.zip", members)
    assert problem in problem_of(store)


def test_what_has_no_configuration_is_not_unpacked(store: ModelStore, root: Path) -> None:
    pack(root / "a.zip", {"word.txt": b"hi"})
    with pytest.raises(FileNotFoundError, match=r"does not contain `config\.yml`"):
        store.verify("a.zip", root / "a.zip")


def test_a_manifest_that_unpacks_to_very_much_is_not_kept(
    store: ModelStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archived_manifest, "LARGEST_MANIFEST", 1 << 20)
    with zipfile.ZipFile(root / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (files("hi") | {"manifest.json": b" " * (32 << 20)}).items():
            archive.writestr(name, data)
    tracemalloc.start()
    try:
        assert "manifest.json is not complete" in problem_of(store)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_link_is_listed(store: ModelStore, root: Path) -> None:
    with zipfile.ZipFile(root / "a.zip", "w") as archive:
        for name, data in files("hi").items():
            archive.writestr(name, data)
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert "'link' is neither a file nor a folder" in problem_of(store)


def test_an_archive_that_was_copied_in_part_is_listed(
    store: ModelStore, root: Path, tmp_path: Path
) -> None:
    pack_folder(plain_folder(tmp_path / "unpacked", "hi"), root / "a.zip")
    whole = (root / "a.zip").read_bytes()
    for size in range(len(whole)):
        (root / "a.zip").write_bytes(whole[:size])
        assert "cannot be read as a zip file" in problem_of(store), size
        # One byte may be of anything.
        with pytest.raises(
            IncompleteModel if size > 1 else InvalidArgument, match="cannot be read as a zip file"
        ):
            store.verify("a.zip", root / "a.zip")
    (root / "a.zip").write_bytes(whole)
    assert problem_of(store) == ""
    store.verify("a.zip", root / "a.zip")


def test_any_damaged_byte_is_a_clear_error(store: ModelStore, root: Path, tmp_path: Path) -> None:
    """It is listed or loaded; nothing but an error of ours comes of it."""
    pack_folder(plain_folder(tmp_path / "unpacked", "hi"), root / "a.zip")
    whole = (root / "a.zip").read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        (root / "a.zip").write_bytes(damaged)
        problem_of(store)
        with contextlib.suppress(KitfoxError, FileNotFoundError):
            store.verify("a.zip", root / "a.zip")
            assert word_of(root / "a.zip") == "hi"


def test_an_archive_is_compared_with_its_manifest(
    store: ModelStore, root: Path, tmp_path: Path
) -> None:
    folder = plain_folder(tmp_path / "unpacked", "published")
    manifest = seal(folder, version="v7")
    pack_folder(folder, root / "a.zip")
    [entry] = store.entries()
    assert (entry.problem, entry.created) == ("", manifest.created)
    store.verify("a.zip", root / "a.zip")

    (folder / "word.txt").write_text("punished?")
    pack_folder(folder, root / "a.zip")
    assert problem_of(store) == ""  # only a look at all of it can tell
    with pytest.raises(DamagedModel, match=r"Model a\.zip cannot be loaded: word\.txt is damaged"):
        store.verify("a.zip", root / "a.zip")

    (folder / "word.txt").write_text("longer than it was")
    pack_folder(folder, root / "a.zip")
    assert problem_of(store) == "word.txt has 18 bytes, not 9"
    with pytest.raises(IncompleteModel, match=r"word\.txt has 18 bytes, not 9"):
        store.verify("a.zip", root / "a.zip")

    (folder / "word.txt").unlink()
    pack_folder(folder, root / "a.zip")
    assert problem_of(store) == "word.txt is missing"


def test_what_was_compared_is_not_read_again(store: ModelStore, root: Path, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "unpacked", "published")
    seal(folder)
    (folder / "word.txt").write_text("punished?")
    with zipfile.ZipFile(root / "a.zip", "w") as archive:  # stored: the words can be found in it
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    damaged = (root / "a.zip").read_bytes()
    right, wrong = (zlib.crc32(word) for word in (b"published", b"punished?"))
    whole = damaged.replace(b"punished?", b"published").replace(
        struct.pack("<L", wrong), struct.pack("<L", right)
    )
    (root / "a.zip").write_bytes(whole)
    store.verify("a.zip", root / "a.zip")

    lies_there = (root / "a.zip").stat()
    (root / "a.zip").write_bytes(damaged)
    os.utime(root / "a.zip", ns=(lies_there.st_atime_ns, lies_there.st_mtime_ns))
    store.verify("a.zip", root / "a.zip")  # for all that can be seen, it is the same file
    later = lies_there.st_mtime_ns + 1_000_000_000
    os.utime(root / "a.zip", ns=(later, later))
    with pytest.raises(DamagedModel):
        store.verify("a.zip", root / "a.zip")
