"""Models in remote stores are found, downloaded once, verified, and served from the cache."""

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kitfox.config import parse
from kitfox.errors import InvalidArgument, ModelNotFound, Unavailable
from kitfox.models import ModelReference, ModelStore, open_store
from kitfox.models.remote import RemoteStores
from kitfox.models.remote_files import RemoteFile, open_remote
from kitfox.modules.manifest import DamagedModel, IncompleteModel, seal
from tests.data.s3_servers import ACCESS_KEY, BUCKET, SECRET_KEY, Service, running_service

from .sayers import files, plain_folder, word_of


class Shelf:
    """A remote store in a folder, which counts what it is asked for and can go away."""

    def __init__(self, folder: Path, url: str = "shelf://here") -> None:
        self.folder = folder
        self.url = url
        self.asked: Counter[str] = Counter()
        self.away = False

    def listing(self, path: str) -> list[RemoteFile]:
        self._answer(f"list {path}")
        root = self.folder / path
        return [
            RemoteFile(
                path=str(file.relative_to(root)),
                size=file.stat().st_size,
                mark=str(file.stat().st_mtime_ns),
            )
            for file in sorted(root.rglob("*"))
            if file.is_file()
        ]

    def read(self, path: str) -> Iterator[bytes]:
        self._answer(path)
        data = (self.folder / path).read_bytes()
        yield data[:10]
        yield data[10:]

    def _answer(self, what: str) -> None:
        self.asked[what] += 1
        if self.away:
            raise Unavailable(f"{self.url} is away")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "remote")


@pytest.fixture
def open_cached(tmp_path: Path, shelf: Shelf) -> Callable[..., ModelStore]:
    """A store with what is remote behind it: as a server that has just been started sees it."""

    def open_it(*more: Shelf, memory: float = 0) -> ModelStore:
        remote = RemoteStores([shelf, *more], tmp_path / "cache", memory=memory)
        return ModelStore(tmp_path / "models", find_remote=remote)

    return open_it


Open = Callable[..., ModelStore]


def sealed(folder: Path, word: str, version: str | None = None) -> Path:
    plain_folder(folder, word)
    seal(folder, version=version)
    return folder


def test_a_model_is_downloaded_once_and_served_from_the_cache(
    shelf: Shelf, open_cached: Open, tmp_path: Path
) -> None:
    sealed(shelf.folder / "m", "far")
    store = open_cached()
    path = store.find("m")
    assert path is not None
    assert path.is_relative_to(tmp_path / "cache")
    assert word_of(path) == "far"
    store.verify("m", path)
    assert open_cached().find("m") == path
    assert shelf.asked == {
        "m/manifest.json": 2,
        "m/config.yml": 1,
        "m/word.txt": 1,
    }
    assert store.describe("m").problem == ""
    assert store.names() == []


def test_files_that_models_share_are_downloaded_once(shelf: Shelf, open_cached: Open) -> None:
    sealed(shelf.folder / "a", "far")
    sealed(shelf.folder / "b", "near")
    store = open_cached()
    assert [word_of(store.find(name)) for name in ("a", "b")] == ["far", "near"]
    assert shelf.asked["a/config.yml"] + shelf.asked["b/config.yml"] == 1


def test_a_new_version_is_noticed(shelf: Shelf, open_cached: Open) -> None:
    sealed(shelf.folder / "m", "old", "v1")
    store = open_cached()
    first = store.find("m")
    assert word_of(first) == "old"
    (shelf.folder / "m" / "word.txt").write_text("new")
    seal(shelf.folder / "m", version="v2")
    second = store.find("m")
    assert (word_of(second), word_of(first)) == ("new", "old")
    assert store.find("m@v2") == second
    assert store.find("m@v1") is None


@pytest.mark.parametrize("folder", ["m@v1", ".versions/m/v1"])
def test_a_certain_version_is_found_beside_the_model(
    shelf: Shelf, open_cached: Open, folder: str
) -> None:
    sealed(shelf.folder / "m", "two", "v2")
    sealed(shelf.folder / folder, "one", "v1")
    store = open_cached()
    assert [word_of(store.find(id_)) for id_ in ("m@v1", "m@v2", "m")] == ["one", "two", "two"]


def test_without_a_manifest_the_listing_tells_what_is_new(shelf: Shelf, open_cached: Open) -> None:
    plain_folder(shelf.folder / "m", "old")
    store = open_cached()
    assert word_of(store.find("m")) == "old"
    assert word_of(open_cached().find("m")) == "old"
    assert shelf.asked["m/word.txt"] == 1
    (shelf.folder / "m" / "word.txt").write_text("newer")
    assert word_of(store.find("m")) == "newer"
    assert (shelf.asked["m/word.txt"], shelf.asked["m/config.yml"]) == (2, 1)


def test_what_is_here_comes_first(shelf: Shelf, open_cached: Open) -> None:
    sealed(shelf.folder / "m", "far")
    store = open_cached()
    store.deploy("m", files("near"))
    assert word_of(store.find("m")) == "near"
    assert not shelf.asked


def test_damage_is_noticed_and_leaves_nothing(
    shelf: Shelf, open_cached: Open, tmp_path: Path
) -> None:
    sealed(shelf.folder / "m", "far")
    store = open_cached()
    (shelf.folder / "m" / "word.txt").write_text("fat")
    with pytest.raises(DamagedModel, match=r"shelf://here/m/word\.txt is damaged"):
        store.find("m")
    for other in ("farther", "f"):
        (shelf.folder / "m" / "word.txt").write_text(other)
        with pytest.raises(IncompleteModel, match="does not have the 3 bytes"):
            store.find("m")
    (shelf.folder / "m" / "word.txt").unlink()
    with pytest.raises(IncompleteModel, match=r"m/word\.txt is missing"):
        store.find("m")
    assert not list((tmp_path / "cache").rglob("models/*"))
    (shelf.folder / "m" / "word.txt").write_text("far")
    assert word_of(store.find("m")) == "far"


def test_a_manifest_that_names_files_elsewhere_is_refused(
    shelf: Shelf, open_cached: Open, tmp_path: Path
) -> None:
    folder = sealed(shelf.folder / "m", "far")
    manifest = folder / "manifest.json"
    text = manifest.read_text()
    for name in ("../evil", "/evil", "a\\\\evil", "a//./evil/../../evil"):
        manifest.write_text(text.replace("word.txt", name))
        with pytest.raises(IncompleteModel):
            open_cached().find("m")
    (folder / "link").symlink_to("/etc/passwd")
    seal(folder)
    with pytest.raises(IncompleteModel, match="link is a link"):
        open_cached().find("m")
    assert not list(tmp_path.rglob("*evil*"))


def test_a_cached_model_that_was_damaged_is_downloaded_again(
    shelf: Shelf, open_cached: Open
) -> None:
    sealed(shelf.folder / "m", "far")
    path = open_cached().find("m")
    assert path is not None
    (path / "word.txt").write_text("fat")
    assert open_cached().find("m") == path
    assert word_of(path) == "far"


def test_a_store_that_is_away_does_not_matter_if_the_model_is_elsewhere(
    shelf: Shelf, open_cached: Open, tmp_path: Path
) -> None:
    other = Shelf(tmp_path / "other", "shelf://other")
    sealed(shelf.folder / "m", "far")
    sealed(other.folder / "n", "farther")
    store = open_cached(other)
    assert word_of(store.find("m")) == "far"
    shelf.away = True
    assert word_of(store.find("n")) == "farther"
    assert word_of(store.find("m")) == "far"  # from the cache
    with pytest.raises(Unavailable, match="shelf://here is away"):
        store.find("unknown")
    shelf.away = False
    assert store.find("unknown") is None
    with pytest.raises(ModelNotFound):
        store.describe("unknown")


def test_what_is_not_there_is_not_asked_for_again_at_once(shelf: Shelf, open_cached: Open) -> None:
    store = open_cached(memory=60)
    for _ in range(3):
        assert store.find("unknown") is None
    assert shelf.asked == {"unknown/manifest.json": 1, "list unknown": 1}
    shelf.away = True
    for _ in range(3):
        with pytest.raises(Unavailable):
            store.find("another")
    assert shelf.asked["another/manifest.json"] == 1


def test_many_who_ask_for_one_model_download_it_once(shelf: Shelf, open_cached: Open) -> None:
    sealed(shelf.folder / "m", "far")
    store = open_cached()
    found: list[Path | None] = []
    threads = [threading.Thread(target=lambda: found.append(store.find("m"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({*found}) == 1
    assert word_of(found[0]) == "far"
    assert shelf.asked["m/word.txt"] == 1


# ---- the stores themselves


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_web_server(tmp_path: Path) -> None:
    sealed(tmp_path / "remote" / "sub" / "m", "web")
    plain_folder(tmp_path / "remote" / "sub" / "unsealed", "web")
    with web_server(tmp_path / "remote") as url:
        find = RemoteStores([open_remote(f"{url}/sub", silence=5)], tmp_path / "cache")
        assert word_of(find(ModelReference(name="m"))) == "web"
        assert find(ModelReference(name="unsealed")) is None
        assert find(ModelReference(name="unknown")) is None


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with models in a bucket that anybody may read."""
    folder = tmp_path_factory.mktemp("service")
    with running_service(folder / "log") as running:
        running.make_bucket("public-read")
        models = {
            "m": sealed(folder / "sealed", "bucket"),
            "p": plain_folder(folder / "plain", "unsealed"),
        }
        for name, model in models.items():
            for file in model.iterdir():
                running.put(f"models/{name}/{file.name}", file.read_bytes(), "public-read")
        yield running


def test_an_s3_service(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_ENDPOINT_URL": service.url,
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    find = RemoteStores([open_remote(f"s3://{BUCKET}/models")], tmp_path / "cache")
    assert word_of(find(ModelReference(name="m"))) == "bucket"
    assert word_of(find(ModelReference(name="p"))) == "unsealed"
    assert find(ModelReference(name="unknown")) is None
    missing = RemoteStores([open_remote("s3://no-such-bucket/models")], tmp_path / "cache")
    with pytest.raises(Unavailable, match=r"s3://no-such-bucket/models does not give m: .*404"):
        missing(ModelReference(name="m"))


def test_googles_storage(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a service of S3: Google's storage is read by an interface that is like it."""
    account = tmp_path / "account.json"
    nobody = dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
    account.write_text(json.dumps({"gcs_base_url": service.url, "disable_oauth": True, **nobody}))
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(account))
    find = RemoteStores([open_remote(f"gs://{BUCKET}/models")], tmp_path / "cache")
    assert word_of(find(ModelReference(name="m"))) == "bucket"
    assert word_of(find(ModelReference(name="p"))) == "unsealed"
    assert find(ModelReference(name="unknown")) is None


def test_a_folder_by_fsspec(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    sealed(tmp_path / "remote" / "m", "file")
    plain_folder(tmp_path / "remote" / "p", "unsealed")
    find = RemoteStores([open_remote(f"file://{tmp_path}/remote")], tmp_path / "cache")
    assert word_of(find(ModelReference(name="m"))) == "file"
    assert word_of(find(ModelReference(name="p"))) == "unsealed"
    assert find(ModelReference(name="unknown")) is None


def test_memory_by_fsspec(tmp_path: Path) -> None:
    memory = pytest.importorskip("fsspec").filesystem("memory")
    for name, data in files("memory").items():
        memory.pipe(f"/storetest/p/{name}", data)
    try:
        find = RemoteStores([open_remote("memory://storetest")], tmp_path / "cache")
        assert word_of(find(ModelReference(name="p"))) == "memory"
    finally:
        memory.rm("/storetest", recursive=True)


def test_a_store_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://user:secret@127.0.0.1:{silent.getsockname()[1]}/models"
        find = RemoteStores([open_remote(url, silence=0.2)], tmp_path / "cache")
        with pytest.raises(Unavailable, match="does not give m/manifest") as caught:
            find(ModelReference(name="m"))
        assert "secret" not in str(caught.value)


def test_fsspec_is_given_up_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = pytest.importorskip("fsspec.implementations.local").LocalFileSystem
    released = threading.Event()
    monkeypatch.setattr(local, "open", lambda *_: released.wait(30))
    try:
        find = RemoteStores([open_remote(f"file://{tmp_path}", silence=0.1)], tmp_path / "cache")
        with pytest.raises(Unavailable, match=r"no answer in 0\.1 s"):
            find(ModelReference(name="m"))
    finally:
        released.set()


def test_a_store_that_refuses_connections_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    find = RemoteStores([open_remote(f"http://127.0.0.1:{port}", silence=1)], tmp_path / "cache")
    with pytest.raises(Unavailable, match=f"http://127.0.0.1:{port} does not give m/manifest"):
        find(ModelReference(name="m"))


@pytest.mark.parametrize("url", ["models", "", "s3://", "nonsense://x", "http://"])
def test_other_urls_are_refused(url: str) -> None:
    if url.startswith("nonsense"):
        pytest.importorskip("fsspec")
    with pytest.raises(InvalidArgument, match=r"models\.remote"):
        open_remote(url)


def test_the_store_is_put_together_from_the_configuration(tmp_path: Path) -> None:
    sealed(tmp_path / "remote" / "m", "web")
    with web_server(tmp_path / "remote") as url:
        config = parse(
            {
                "runtime": {"local_models_dir": str(tmp_path / "models")},
                "models": {"remote": [url], "cache_dir": str(tmp_path / "cache")},
            },
            source="here",
        )
        assert word_of(open_store(config).find("m")) == "web"
