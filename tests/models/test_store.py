"""What lies in the models folder, and how models get there and out of it."""

import errno
import os
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kitfox.errors import (
    AlreadyExists,
    Code,
    FailedPrecondition,
    InvalidArgument,
    KitfoxError,
    ModelNotFound,
    NotFound,
    ResourceExhausted,
)
from kitfox.models import ModelStore, StoreWatch
from kitfox.modules.archive import pack_folder
from kitfox.modules.manifest import MANIFEST, DamagedModel, IncompleteModel, read_manifest, seal

from .sayers import MODULE_ID, Sayer, Training, files, plain_folder, word_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def store(root: Path) -> ModelStore:
    return ModelStore(root)


def visible(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.name[0] != ".")


def leftovers(root: Path) -> list[str]:
    work = root / ".versions" / ".work"
    return sorted(path.name for path in work.iterdir() if path.name != "lock")


def test_a_folder_that_does_not_exist_has_no_models(store: ModelStore) -> None:
    assert (store.names(), list(store.entries()), store.find("x")) == ([], [], None)
    with pytest.raises(NotFound, match="Cannot undeploy unknown model x"):
        store.remove("x")
    with pytest.raises(ModelNotFound):
        store.describe("x")
    assert not store.root.exists()


# ---- looking


def test_folders_without_a_manifest_are_models(store: ModelStore, root: Path) -> None:
    path = plain_folder(root / "old", "hi")
    assert store.names() == ["old"]
    assert store.find("old") == path
    store.verify("old", path)
    [entry] = store.entries()
    assert (entry.module, entry.problem, entry.version) == (Sayer, "", "original")
    assert entry.size == sum(len(data) for data in files("hi").values())


def test_archives_are_models(store: ModelStore, root: Path, tmp_path: Path) -> None:
    root.mkdir()
    pack_folder(plain_folder(tmp_path / "unpacked", "packed"), root / "a.zip")
    assert word_of(store.find("a.zip")) == "packed"
    [entry] = store.entries()
    assert entry.problem == ""
    (root / "a.zip").write_bytes((root / "a.zip").read_bytes()[:-30])
    [entry] = store.entries()
    assert entry.problem != ""


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda path: (path / "config.yml").unlink(), "does not contain a `config.yml` file"),
        (lambda path: (path / "config.yml").write_text("a: [b"), "line 1, column"),
        (lambda path: (path / "config.yml").write_text("name: x"), "No module_id found"),
        (lambda path: (path / "config.yml").write_text("module_id: x"), "x"),
    ],
)
def test_half_copied_folders_are_listed_with_the_reason(
    store: ModelStore, root: Path, damage: "object", problem: str
) -> None:
    plain_folder(root / "good", "hi")
    damage(plain_folder(root / "bad", "hi"))  # type: ignore[operator] # a lambda above
    bad, good = store.entries()
    assert problem in bad.problem
    assert good.problem == ""


def test_a_sealed_folder_that_is_not_whole_is_listed_and_refused(
    store: ModelStore, root: Path
) -> None:
    store.deploy("m", files("hello"))
    (root / "m" / "word.txt").write_text("hell")
    [entry] = store.entries()
    assert entry.problem == "word.txt has 4 bytes, not 5"
    with pytest.raises(IncompleteModel, match=r"word\.txt has 4 bytes") as caught:
        store.verify("m", root / "m")
    assert caught.value.code is Code.UNAVAILABLE
    (root / "m" / "word.txt").write_text("jello")
    with pytest.raises(DamagedModel, match=r"word\.txt is damaged"):
        store.verify("m", root / "m")
    (root / "m" / MANIFEST).write_text('{"format": 1')
    [entry] = store.entries()
    assert "is not complete" in entry.problem
    with pytest.raises(IncompleteModel):
        store.verify("m", root / "m")


def test_a_page_of_entries_looks_at_no_more(store: ModelStore, root: Path) -> None:
    for number in range(5):
        plain_folder(root / f"m{number}", "hi")
    assert [entry.name for entry in store.entries(1, 2)] == ["m1", "m2"]
    assert [entry.name for entry in store.entries(4)] == ["m4"]


def test_a_model_that_is_removed_while_it_is_asked_for_is_not_found(
    store: ModelStore, root: Path
) -> None:
    path = plain_folder(root / "m", "hi")
    store.remove("m")
    with pytest.raises(ModelNotFound):
        store.verify("m", path)


def test_links_that_lead_outside_are_neither_followed_nor_removed(
    store: ModelStore, root: Path, tmp_path: Path
) -> None:
    outside = plain_folder(tmp_path / "outside", "secret")
    inside = plain_folder(root / "inside", "mine")
    (root / "stray").symlink_to("../outside")
    (root / "loop").symlink_to("loop")
    (root / "alias").symlink_to("inside")
    with pytest.raises(NotFound, match="leads out of the models folder"):
        store.find("stray")
    for change in (lambda: store.remove("stray"), lambda: store.promote("stray", "v")):
        with pytest.raises(NotFound, match="leads out of the models folder"):
            change()
    problems = {entry.name: entry.problem for entry in store.entries()}
    assert "leads out of" in problems["stray"]
    assert problems["loop"] != ""
    assert problems["alias"] == ""
    assert word_of(store.find("alias")) == "mine"
    (inside / "weights").symlink_to(outside / "word.txt")
    with pytest.raises(IncompleteModel, match="weights is a link that leads out"):
        store.verify("inside", inside)
    assert "weights is a link that leads out" in store.describe("inside").problem
    store.remove("alias")
    store.remove("loop")
    assert visible(root) == ["inside", "stray"]
    assert word_of(outside) == "secret"


def test_removing_a_model_leaves_what_its_links_point_to(
    store: ModelStore, root: Path, tmp_path: Path
) -> None:
    outside = plain_folder(tmp_path / "outside", "secret")
    (plain_folder(root / "m", "hi") / "link").symlink_to(outside)
    store.remove("m")
    assert word_of(outside) == "secret"


# ---- what has changed


def test_a_watch_tells_what_came_went_and_changed(root: Path, store: ModelStore) -> None:
    watch = StoreWatch(store)
    assert not watch.look()
    store.deploy("a", files("1"))
    store.deploy("b", files("1"))
    assert watch.look().added == ("a", "b")
    assert not watch.look()
    store.deploy("a@v2", files("2"))
    assert not watch.look()
    store.promote("a", "v2")
    store.remove("b")
    changes = watch.look()
    assert (changes.added, changes.changed, changes.removed) == ((), ("a",), ("b",))
    watch.forget("a")
    assert watch.look().added == ("a",)


def test_a_watch_sees_two_promotions_between_two_looks(root: Path, store: ModelStore) -> None:
    for version in ("v1", "v2", "v3"):
        store.deploy(f"m@{version}", files(version))
    store.promote("m", "v2")
    (root / "a@stray@link").symlink_to("/etc")
    watch = StoreWatch(store)
    watch.look()
    # The file system may give the third link the inode of the first.
    store.promote("m", "v1")
    store.promote("m", "v3")
    assert watch.look().changed == ("m",)
    assert not watch.look()


# ---- publishing


def test_a_deployed_model_is_whole_described_and_alone(store: ModelStore, root: Path) -> None:
    entry = store.deploy("new", {**files("hi"), "deep/er/data.bin": b"\0\1"})
    assert entry.path == root / "new"
    assert (entry.module, entry.problem) == (Sayer, "")
    assert word_of(store.find("new")) == "hi"
    assert (root / "new" / "deep" / "er" / "data.bin").read_bytes() == b"\0\1"
    manifest = read_manifest(root / "new")
    assert manifest is not None
    assert entry.version == manifest.digest[:12]
    assert store.find(f"new@{entry.version}") == root / "new"
    assert (visible(root), leftovers(root)) == (["new"], [])
    with pytest.raises(AlreadyExists, match="Model 'new' already exists"):
        store.deploy("new", files("other"))
    assert word_of(store.find("new")) == "hi"


def test_the_files_may_come_as_pairs_or_as_an_archive(
    store: ModelStore, root: Path, tmp_path: Path
) -> None:
    store.deploy("pairs", list(files("a").items()))
    with pytest.raises(InvalidArgument, match="there twice"):
        store.deploy("twice", [("a", b""), ("a", b"")])
    folder = plain_folder(tmp_path / "outer" / "inner", "b")
    pack_folder(folder, tmp_path / "flat.zip")
    pack_folder(folder.parent, tmp_path / "nested.zip")
    for name in ("flat", "nested"):
        store.deploy(name, tmp_path / f"{name}.zip")
        assert word_of(store.find(name)) == "b"
    assert visible(root) == ["flat", "nested", "pairs"]


@pytest.mark.parametrize("member", ["../evil", "/evil", "a/../../evil", "..\\evil", "C:\\evil"])
def test_archives_that_would_write_elsewhere_leave_nothing(
    store: ModelStore, root: Path, tmp_path: Path, member: str
) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("config.yml", "module_id: x")
        archive.writestr(member, "evil")
    with pytest.raises(InvalidArgument, match="Refused to unpack"):
        store.deploy("m", tmp_path / "x.zip")
    assert (visible(root), leftovers(root)) == ([], [])
    assert not list(tmp_path.rglob("*evil*"))


def test_an_archive_with_folders_without_end_is_refused(
    store: ModelStore, root: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/" * 1500 + "x", "deep")
    with pytest.raises(InvalidArgument, match="deeper than 32 folders"):
        store.deploy("m", tmp_path / "x.zip")
    (tmp_path / "y.zip").write_bytes(b"no archive")
    with pytest.raises(InvalidArgument, match="cannot be read as a zip file"):
        store.deploy("m", tmp_path / "y.zip")
    assert (visible(root), leftovers(root)) == ([], [])


def test_an_archive_with_a_link_is_refused(store: ModelStore, root: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        member = zipfile.ZipInfo("link")
        member.external_attr = 0o120777 << 16
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(InvalidArgument, match="neither a file nor a folder"):
        store.deploy("m", tmp_path / "x.zip")
    assert (visible(root), leftovers(root)) == ([], [])


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\0", "a" * 300, "", " "])
def test_names_of_files_are_checked_before_anything_is_written(
    store: ModelStore, root: Path, name: str
) -> None:
    with pytest.raises(InvalidArgument):
        store.deploy("m", {"config.yml": b"", name: b"x"})
    assert not root.exists()


def test_an_uploaded_manifest_must_fit(store: ModelStore, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "m", "hi")
    seal(folder, version="theirs")
    uploaded = {path.name: path.read_bytes() for path in folder.iterdir()}
    entry = store.deploy("fits@ours", uploaded)
    assert entry.version == "ours"
    with pytest.raises(InvalidArgument, match=r"not what its manifest says.*word\.txt"):
        store.deploy("damaged", {**uploaded, "word.txt": b"ho"})
    with pytest.raises(InvalidArgument, match="written by the server"):
        store.deploy("another", {**files("x"), MANIFEST: b"{}"})
    with pytest.raises(InvalidArgument, match="not complete"):
        store.deploy("another", {**files("x"), MANIFEST: b"{"})
    assert store.names() == ["fits"]


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, ResourceExhausted, Code.RESOURCE_EXHAUSTED),
        (errno.EROFS, FailedPrecondition, Code.FAILED_PRECONDITION),
        (errno.EACCES, FailedPrecondition, Code.FAILED_PRECONDITION),
        (errno.EIO, KitfoxError, Code.UNKNOWN),
    ],
)
def test_a_deploy_that_fails_leaves_nothing_and_can_be_repeated(
    store: ModelStore,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[KitfoxError],
    code: Code,
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr("kitfox.models.store.seal", fail)
        with pytest.raises(kind, match="cannot deploy model m: ") as caught:
            store.deploy("m", files("hi"))
    assert caught.value.code is code
    assert (visible(root), leftovers(root)) == ([], [])
    store.deploy("m", files("hi"))


def test_of_many_who_deploy_one_name_one_wins(store: ModelStore, root: Path) -> None:
    outcomes: list[str] = []

    def deploy(word: str) -> None:
        try:
            ModelStore(root).deploy("m", files(word))
            outcomes.append(word)
        except AlreadyExists:
            outcomes.append("")

    threads = [threading.Thread(target=deploy, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner] = filter(None, outcomes)
    assert len(outcomes) == 8
    assert word_of(store.find("m")) == winner
    assert leftovers(root) == []


# ---- versions


def test_the_first_version_is_current_and_a_further_one_waits(
    store: ModelStore, root: Path
) -> None:
    store.deploy("m@v1", files("one"))
    store.deploy("m@v2", files("two"))
    assert [word_of(store.find(f"m{version}")) for version in ("", "@v1", "@v2")] == [
        *("one", "one", "two")
    ]
    assert [(item.version, item.current) for item in store.versions("m")] == [
        ("v1", True),
        ("v2", False),
    ]
    for taken in ("m@v1", "m@v2"):
        with pytest.raises(AlreadyExists, match=f"Model '{taken}' already exists"):
            store.deploy(taken, files("other"))
    assert store.names() == ["m"]
    assert store.find("m@v3") is None


def test_promote_and_roll_back(store: ModelStore, root: Path) -> None:
    for version in ("v1", "v2", "v3"):
        store.deploy(f"m@{version}", files(version))
    assert store.promote("m", "v2").version == "v2"
    assert store.promote("m", "v3").versions == ("v1", "v2", "v3")
    assert store.find("m") == root / ".versions" / "m" / "v3"
    # What another server sees is on the disk.
    again = ModelStore(root)
    assert [item.version for item in again.history("m")] == ["v1", "v2", "v3"]
    assert again.history("m")[-1].time != ""
    assert [again.roll_back("m").version for _ in range(2)] == ["v2", "v1"]
    assert word_of(again.find("m")) == "v1"
    with pytest.raises(FailedPrecondition, match="no earlier version"):
        again.roll_back("m")
    again.promote("m", "v3")
    again.promote("m", "v3")
    assert [item.version for item in again.history("m")] == ["v1", "v3"]
    # The folder as caikit reads it: each entry is a model.
    assert word_of(root / "m") == "v3"
    assert leftovers(root) == []


def test_a_folder_without_a_version_becomes_one_when_another_takes_its_place(
    store: ModelStore, root: Path
) -> None:
    plain_folder(root / "m", "old")
    store.deploy("m@v2", files("new"))
    store.promote("m", "v2")
    assert [word_of(store.find(id_)) for id_ in ("m", "m@original")] == ["new", "old"]
    assert store.roll_back("m").version == "original"
    assert word_of(store.find("m")) == "old"


def test_an_archive_too(store: ModelStore, root: Path, tmp_path: Path) -> None:
    root.mkdir()
    pack_folder(plain_folder(tmp_path / "unpacked", "packed"), root / "m.zip")
    store.deploy("m.zip@v2", files("new"))
    store.promote("m.zip", "v2")
    assert word_of(store.find("m.zip")) == "new"
    store.roll_back("m.zip")
    assert word_of(store.find("m.zip")) == "packed"


def test_where_names_cannot_be_exchanged_two_renames_do(
    store: ModelStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kitfox.modules.publication._rename", lambda *args: False)
    plain_folder(root / "m", "old")
    store.deploy("m@v2", files("new"))
    store.promote("m", "v2")
    assert [word_of(store.find(id_)) for id_ in ("m", "m@original")] == ["new", "old"]
    with pytest.raises(AlreadyExists):
        store.deploy("m", files("x"))
    assert leftovers(root) == []


def test_a_trained_model_is_a_version_of_its_name(root: Path, tmp_path: Path) -> None:
    training = Training(tmp_path / "output")
    trained = training.make("t1", "m", "trained")
    store = ModelStore(root, find_elsewhere=training.find)
    assert store.find("t1") == store.find("m@t1") == trained
    assert store.find("other@t1") is None
    assert store.find("m") is None
    entry = store.promote("m", "t1")
    assert (entry.version, entry.training_id, entry.problem) == ("t1", "t1", "")
    assert word_of(store.find("m")) == "trained"
    # By hard links: it takes no room, and outlives the folder of the training.
    assert (root / "m" / "word.txt").samefile(trained / "word.txt")
    store.promote("other", "t1")
    training.make("t2", "m", "better")
    store.promote("m", "t2")
    assert [word_of(store.find(id_)) for id_ in ("m", "m@t1", "other@t1")] == [
        *("better", "trained", "trained")
    ]
    with pytest.raises(NotFound, match="no training of that id"):
        store.promote("m", "t3")
    assert leftovers(root) == []


def test_a_trained_model_that_is_damaged_is_not_promoted(root: Path, tmp_path: Path) -> None:
    training = Training(tmp_path / "output")
    (training.make("t1", "m", "trained") / "word.txt").unlink()
    (training.make("t2", "m", "trained") / "word.txt").write_text("traimed")
    (training.make("t3", "m", "trained") / "link").symlink_to("/etc")
    store = ModelStore(root, find_elsewhere=training.find)
    for training_id, kind in (
        ("t1", IncompleteModel),
        ("t2", DamagedModel),
        ("t3", FailedPrecondition),
    ):
        with pytest.raises(kind):
            store.promote("m", training_id)
        assert store.find("m") is None
    assert (visible(root), leftovers(root)) == ([], [])


def test_trainings_may_be_kept_in_the_models_folder(root: Path) -> None:
    training = Training(root)
    trained = training.make("t1", "m", "trained")
    store = ModelStore(root, find_elsewhere=training.find)
    assert store.find("t1") == trained


def test_a_name_with_an_at_sign_that_was_there_before_is_found(
    store: ModelStore, root: Path
) -> None:
    plain_folder(root / "a@b", "odd")
    assert store.names() == ["a@b"]
    assert word_of(store.find("a@b")) == "odd"
    with pytest.raises(AlreadyExists):
        store.deploy("a@b", files("x"))


def test_removing(store: ModelStore, root: Path) -> None:
    for version in ("v1", "v2", "v3"):
        store.deploy(f"m@{version}", files(version))
        store.promote("m", version)
    with pytest.raises(FailedPrecondition, match="is the current version"):
        store.remove("m@v3")
    store.remove("m@v2")
    with pytest.raises(NotFound, match="Cannot undeploy unknown model m@v2"):
        store.remove("m@v2")
    assert store.roll_back("m").version == "v1"
    store.remove("m")
    assert (store.find("m"), store.find("m@v3"), store.names()) == (None, None, [])
    with pytest.raises(NotFound, match="Cannot undeploy unknown model m"):
        store.remove("m")
    assert leftovers(root) == []
    store.deploy("m", files("again"))
    assert [item.current for item in store.versions("m")] == [True]


def test_whatever_many_do_at_once_answers_are_right_or_say_why(root: Path) -> None:
    """Each client has a store of its own, as a process of its own has."""
    wrong: list[BaseException] = []
    loaded: list[str] = []

    def act(number: int) -> None:
        store, words = ModelStore(root), {"", "v1", "v2"}
        changes: list[Callable[[], object]] = [
            lambda: store.deploy("m@v1", files("v1")),
            lambda: store.deploy("m@v2", files("v2")),
            lambda: store.promote("m", "v2"),
            lambda: store.roll_back("m"),
            lambda: store.promote("m", "v1"),
            lambda: store.remove("m@v1"),
            lambda: list(store.entries()),
            lambda: store.versions("m"),
            lambda: store.remove("m"),
        ]
        for step in range(40):
            try:
                changes[(number * 5 + step * (number % 3 + 1)) % len(changes)]()
                path = store.find("m")
                if path is not None:
                    store.verify("m", path)
                    loaded.append(word_of(path))
                    assert loaded[-1] in words
            except (NotFound, AlreadyExists, FailedPrecondition, IncompleteModel):
                continue
            except FileNotFoundError:  # removed while it was being loaded
                continue
            except BaseException as error:  # noqa: BLE001 -- told below, in the test's own thread
                wrong.append(error)

    threads = [threading.Thread(target=act, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert loaded
    ModelStore(root).names()
    assert leftovers(root) == []


@pytest.mark.parametrize("name", ["jobs.sqlite3", "jobs.sqlite3-wal"])
def test_the_job_store_is_no_model(store: ModelStore, root: Path, name: str) -> None:
    root.mkdir()
    (root / name).touch()
    assert store.names() == []
    with pytest.raises(NotFound):
        store.remove(name)
    with pytest.raises(InvalidArgument, match="used by the server"):
        store.deploy(name, files("x"))


def test_names_of_models_are_told_as_the_protocol_expects(store: ModelStore) -> None:
    for change in (lambda: store.deploy("", files("x")), lambda: store.remove("")):
        with pytest.raises(InvalidArgument, match="Must provide model_id"):
            change()
    with pytest.raises(InvalidArgument, match="without a version"):
        store.roll_back("m@v1")
    assert MODULE_ID == Sayer.MODULE_ID
