"""`kitfox models` says and does the same with a running server and, where it can, without."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.model_commands import run
from tests.services.managed import ManagedServer, config_of, managed
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagedServer]:
    folder = tmp_path_factory.mktemp("managed")
    with managed(folder, SERVER_MAX_MESSAGE_SIZE="65536") as running:
        yield running


def model(folder: Path, greeting: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yml").write_text(config_of(greeting))
    return folder


def has(text: str, *rows: str) -> bool:
    """Whether a listing has rows that begin so, whatever the spaces."""
    lines = [re.sub(r" +", " ", line).strip() for line in text.splitlines()]
    return all(any(line.startswith(row) for line in lines) for row in rows)


def test_with_a_server(server: ManagedServer, tmp_path: Path) -> None:
    one, two = model(tmp_path / "one", "One"), model(tmp_path / "two", "Two")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.write(two / "config.yml", "two/config.yml")
    done = run(
        server,
        f"deploy fox@1 {one}",
        f"deploy fox@2 {tmp_path / 'two.zip'}",
        "load fox",
        "promote fox 2",
        "list fox",
        "rollback fox",
        "show fox",
        "reload fox",
        "unload fox",
        "list",
        "check fox fox@2",
        "load nope",
        f"deploy fox@1 {one}",
        "list --state asleep",
    )
    status = [code for code, _ in done]
    assert status == [0] * 11 + [1] * 3, done
    texts = [text for _, text in done]
    assert has(texts[0], "name fox@1")
    assert has(texts[2], "state ready", "tasks HelloWorldTask")
    assert has(texts[3], "version 2", "versions 1, 2")
    assert has(texts[4], "fox ready HelloWorldModule 0.0.1 2")
    assert has(texts[6], "version 1", "state ready", "calls 0")
    assert server.greeting("fox") == "One"
    assert has(texts[8], "state available")
    assert has(texts[9], "fox available HelloWorldModule 0.0.1 1", "example ")
    assert has(texts[10], "fox: ok", "fox@2: ok")
    assert "Model 'nope' not found" in texts[11]
    assert "already exists" in texts[12]
    assert "expected one of: available, loading" in texts[13]
    assert run(server, "undeploy fox")[0][0] == 0
    assert server.ask("fox").status == 404


@pytest.mark.slow
def test_what_is_too_large_for_a_request_goes_in_pieces(
    server: ManagedServer, tmp_path: Path
) -> None:
    large = model(tmp_path / "large", "Large")
    (large / "deep").mkdir()
    (large / "deep" / "weights.bin").write_bytes(b"w" * 100_000)
    with zipfile.ZipFile(tmp_path / "large.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in (large / "config.yml", large / "deep" / "weights.bin"):
            archive.write(path, path.relative_to(tmp_path))
    done = run(
        server,
        f"deploy whale {large}",
        f"deploy whale@2 {tmp_path / 'large.zip'}",
        "promote whale 2",
        f"deploy whale {large}",
        f"deploy orca {large} --url {server.url}",
        f"deploy .orca {large}",
    )
    texts = [text for _, text in done]
    assert [code for code, _ in done] == [0, 0, 0, 1, 0, 1], done
    assert has(texts[0], "state ready")
    assert has(texts[1], "model_id whale@2", "state available")
    assert has(texts[2], "version 2", "state ready")
    assert "already exists" in texts[3]
    assert has(texts[4], "model_id orca", "state ready")
    assert "expected a name that does not begin with '.'" in texts[5]
    assert server.greeting("whale") == server.greeting("orca") == "Large"


@pytest.mark.slow
def test_without_a_server(server: ManagedServer, tmp_path: Path) -> None:
    for version, greeting in (("1", "One"), ("2", "Two")):
        assert server.deploy(f"hen@{version}", greeting).status == 200
    (server.models / "hollow").mkdir(exist_ok=True)
    (server.models / ".versions" / "hen" / "2" / "config.yml").write_text("# damaged")
    alone = ManagedServer(server.project)  # on other ports, where nobody answers
    done = run(
        alone,
        "list hen",
        "list --state incomplete",
        "show hen",
        "promote hen 2",
        "check hen",
        "check hen@2 hollow",
        "rollback hen",
        "load hen",
        f"list --url {alone.url}",
    )
    texts = [text for _, text in done]
    assert [code for code, _ in done] == [0, 0, 0, 1, 0, 1, 1, 1, 1], done
    assert has(texts[0], "hen available HelloWorldModule 0.0.1 1")
    assert has(texts[1], "hollow incomplete")
    assert has(texts[2], "versions 1, 2", "state available")
    assert "config.yml has 9 bytes" in texts[3]
    assert has(texts[4], "hen: ok")
    assert has(texts[5], "hen@2: ", "hollow: ")
    assert "earlier version" in texts[6]
    assert "no server answers" in texts[7]
    assert "no server answers" in texts[8]


@pytest.mark.slow
def test_models_are_brought_and_removed_without_a_server(
    server: ManagedServer, tmp_path: Path
) -> None:
    one, two = model(tmp_path / "one", "One"), model(tmp_path / "two", "Two")
    (tmp_path / "two" / "link").symlink_to(one / "config.yml")
    alone = ManagedServer(server.project)
    done = run(
        alone,
        f"deploy owl@1 {one}",
        f"deploy owl@2 {two}",
        f"deploy owl@2 {two}",
        f"deploy ../owl {two}",
        "promote owl 2",
        "check owl owl@1",
        "undeploy owl@1",
        "undeploy owl@1",
    )
    texts = [text for _, text in done]
    assert [code for code, _ in done] == [0, 0, 1, 1, 0, 0, 0, 1], done
    assert has(texts[1], "model_id owl@2", "state available", "version 2")
    assert "already exists" in texts[2]
    assert has(texts[5], "owl: ok", "owl@1: ok")
    assert not (server.models / "owl" / "link").is_symlink()
    # The server may have seen, and loaded, the first version in between: then it looks again.
    wait_for(lambda: server.greeting("owl") == "Two", what="the promoted version", seconds=60)
    assert run(alone, "undeploy owl")[0][0] == 0
    assert not (server.models / "owl").exists()
