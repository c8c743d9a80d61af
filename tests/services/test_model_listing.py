"""A list of all models has whatever can be asked for, each once, a page at a time."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from kitfox.modules.manifest import seal
from tests.cli.model_commands import run
from tests.services.courses import CoursesServer, courses
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

MODELS = "/api/v1/management/models"
PROMOTE = {"kitfox-promote": "true"}
REMOTE_MODEL = {"module_id": "71000000-0000-4000-8000-000000000001", "lines": ["far"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoursesServer]:
    pytest.importorskip("fsspec")
    folder = tmp_path_factory.mktemp("listed")
    more = folder / "more.yml"
    models = {"remote": [f"file://{folder}/remote"], "cache_dir": str(folder / "cache")}
    more.write_text(yaml.safe_dump({"models": models}))
    with courses(folder, CONFIG_FILES=str(more)) as running:
        yield running


def rows(server: CoursesServer, query: str = "") -> list[dict[str, Any]]:
    """All pages of a list, each of three models."""
    found: list[dict[str, Any]] = []
    token: str | None = ""
    while token is not None:
        answer = server.http("GET", f"{MODELS}?page_size=3&page_token={token}&{query}")
        assert answer.status == 200, answer.body
        found += answer.json["models"]
        token = answer.json["next_page_token"]
    return found


def listed(server: CoursesServer, query: str = "") -> list[str]:
    return [row["model_id"] for row in rows(server, query)]


def trained(server: CoursesServer, line: str, name: str = "", **options: Any) -> str:
    training = server.begin(line, name=name, **options)
    server.ended(training)
    return training


def promoted(server: CoursesServer, training: str) -> None:
    wait_for(lambda: server.show(training)["promotion"] == "done", what="the promotion")


def test_each_model_is_listed_once(server: CoursesServer) -> None:
    old = trained(server, "old", "fox", headers=PROMOTE)
    promoted(server, old)
    new = trained(server, "new", "fox", headers=PROMOTE)
    promoted(server, new)
    plain, nameless = trained(server, "plain", "fox-cub"), trained(server, "nameless")
    odd = trained(server, "odd", "fox@den")
    assert listed(server) == ["fox"]
    assert listed(server, "all=true") == ["fox", f"fox@{old}", odd, nameless, f"fox-cub@{plain}"]
    for row in rows(server, "all=true"):
        assert row["state"] == "available"
        assert server.recite(row["model_id"]).status == 200
    # Now they are in memory: the same ones, in the order of their names.
    everything = sorted(["fox", f"fox@{old}", odd, nameless, f"fox-cub@{plain}"])
    for query in ("", "all=true", "state=ready", "all=true&state=ready"):
        assert sorted(listed(server, query)) == everything, query


def test_trained_models_are_found_by_name_and_id(server: CoursesServer) -> None:
    ids = [trained(server, "word", "heron") for _ in range(4)]
    newest_first = [f"heron@{training}" for training in reversed(ids)]
    for pattern in ("heron", "heron*", "*heron*", "heron@*", "ero", "?eron@*", "[h]eron*"):
        assert listed(server, f"all=true&filter={pattern}") == newest_first, pattern
    for pattern in (ids[1], f"n@{ids[1][:9]}", f"*{ids[1]}", f"heron@{ids[1]}"):
        assert listed(server, f"all=true&filter={pattern}") == [f"heron@{ids[1]}"], pattern
    assert listed(server, "all=true&filter=heron&state=ready") == []
    server.recited(ids[2])
    assert listed(server, "filter=*&state=ready").count(ids[2]) == 1
    assert f"heron@{ids[2]}" not in listed(server, "all=true")
    server.managed("delete", training_id=ids[0])
    assert f"heron@{ids[0]}" not in listed(server, "all=true")


def test_what_was_downloaded_is_listed_also_after_a_restart(server: CoursesServer) -> None:
    remote = server.project.parent / "remote"
    for name in ("stork", ".versions/stork/2", "swan"):
        (remote / name).mkdir(parents=True)
        (remote / name / "config.yml").write_text(yaml.safe_dump(REMOTE_MODEL))
        seal(remote / name)
    assert listed(server, "all=true&filter=st*k*") == []
    assert [server.recite(model).status for model in ("stork", "stork@2")] == [200, 200]
    server.kill()
    server.start()
    assert listed(server, "filter=st*k*") == []
    assert listed(server, "all=true&filter=st*k*") == ["stork", "stork@2"]


def test_tokens_that_are_none_are_refused(server: CoursesServer) -> None:
    assert server.http("GET", f"{MODELS}?all=true&page_token=/x/y").status == 400


def test_the_command_lists_all_with_a_server_and_without(server: CoursesServer) -> None:
    training = trained(server, "word", "crane")
    for asked in (server, CoursesServer(server.project)):  # nobody answers on the other's ports
        done = run(asked, "list crane", "list crane --all", "list -a crane --state available")
        assert [status for status, _ in done] == [0, 0, 0], done
        assert "no models" in done[0][1]
        assert all(f"crane@{training}" in text for _, text in done[1:])
