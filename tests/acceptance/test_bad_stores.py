"""A job store that cannot be used: a server and a command say so in one sentence, and end."""

import os
import shutil
import sqlite3
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from kitfox.training import JobStore
from tests.conftest import Server
from tests.services.courses import PROJECT, CoursesServer
from tests.training.conftest import postgresql_server, postgresql_url

__all__ = ["postgresql_server", "postgresql_url"]  # fixtures

pytestmark = pytest.mark.slow

COMMANDS = (("serve",), ("jobs", "list"))


@pytest.fixture
def project(tmp_path: Path) -> CoursesServer:
    """A project that no server has been started of."""
    place = tmp_path / PROJECT.name
    shutil.copytree(PROJECT, place, ignore=shutil.ignore_patterns("__pycache__"))
    return CoursesServer(place)


def refused(project: Server, *command: str) -> str:
    """What a command says that ends with status 1: one sentence."""
    done = project.kitfox(*command)
    assert done.returncode == 1, done.stdout + done.stderr
    said = done.stderr + done.stdout
    assert "Traceback" not in said
    (sentence,) = (line for line in said.splitlines() if "job store" in line)
    return sentence


def make(file: Path) -> None:
    JobStore(f"sqlite:///{file}").close()


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:5000])


def overwrite(file: Path) -> None:
    file.write_text("jobs: none\n" * 1000)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def remove(file: Path) -> None:
    file.with_name(file.name + ".logs").mkdir()
    file.with_name(file.name + ".logs").joinpath("a.log").touch()
    file.unlink()


def outdate(file: Path) -> None:
    with closing(sqlite3.connect(file)) as raw, raw:
        raw.execute("UPDATE schema_version SET version = 1000")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (truncate, "is damaged: "),
        (overwrite, "is not a SQLite database"),
        (empty, "is empty (0 bytes)"),
        (outdate, "has version 1000, made by a later Kitfox"),
    ],
)
def test_a_file_that_is_no_store_any_more(
    project: CoursesServer, command: tuple[str, ...], harm: object, words: str
) -> None:
    file = project.project / "training_output" / "jobs.sqlite3"
    make(file)
    assert callable(harm)
    harm(file)
    sentence = refused(project, *command)
    assert f"The job store {file} {words}" in sentence


def test_a_store_that_is_gone(project: CoursesServer) -> None:
    """A command finds none; a server does not make another one where there are signs of it."""
    file = project.project / "training_output" / "jobs.sqlite3"
    make(file)
    remove(file)
    assert f"The job store {file} is gone, though " in refused(project, "serve")
    assert f"there is no job store at {file}" in refused(project, "jobs", "list")
    assert not file.exists()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_store_that_somebody_keeps_locked(
    project: CoursesServer, command: tuple[str, ...]
) -> None:
    file = project.project / "training_output" / "jobs.sqlite3"
    make(file)
    with closing(sqlite3.connect(file, isolation_level=None)) as raw:
        raw.execute("BEGIN EXCLUSIVE")
        sentence = refused(project, *command)
    assert f"The job store {file} is locked by another process; waited " in sentence


@contextmanager
def read_only(file: Path) -> Iterator[None]:
    """Has a file be read-only until the end of the block, for root too."""
    if os.geteuid() != 0:
        file.chmod(0o400)
        yield
        return
    for options in (["--bind", str(file)], ["-o", "remount,bind,ro"]):
        done = subprocess.run(["/bin/mount", *options, str(file)], capture_output=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"nothing may be mounted here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["/bin/umount", "--lazy", file], check=True)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_store_that_is_read_only(project: CoursesServer, command: tuple[str, ...]) -> None:
    file = project.project / "training_output" / "jobs.sqlite3"
    make(file)
    with read_only(file):
        sentence = refused(project, *command)
    assert f"The job store {file} cannot be written: the file is read-only" in sentence


class TestPostgreSQL:
    """The same of a store in a database server."""

    @pytest.fixture(params=COMMANDS, ids=" ".join)
    def command(self, request: pytest.FixtureRequest) -> tuple[str, ...]:
        found: tuple[str, ...] = request.param
        return found

    @pytest.fixture
    def role(self, postgresql_server: str) -> Iterator[str]:
        """A role that may do nothing."""
        import sqlalchemy

        name = f"reader_{uuid.uuid4().hex}"
        engine = sqlalchemy.create_engine(postgresql_server)
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(f"CREATE ROLE {name} LOGIN"))
        yield name
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(f"DROP OWNED BY {name}"))
            connection.execute(sqlalchemy.text(f"DROP ROLE {name}"))
        engine.dispose()

    def test_a_later_version(
        self, project: CoursesServer, postgresql_url: str, command: tuple[str, ...]
    ) -> None:
        store = JobStore(postgresql_url)
        with store.database.write() as connection:
            connection.change("UPDATE schema_version SET version = 1000")
        store.close()
        project.environment["TRAINING_STORE"] = postgresql_url
        sentence = refused(project, *command)
        assert "has version 1000, made by a later Kitfox" in sentence

    def test_a_role_that_may_only_read(
        self, project: CoursesServer, postgresql_url: str, role: str, command: tuple[str, ...]
    ) -> None:
        store = JobStore(postgresql_url)
        with store.database.write() as connection:
            (found,) = connection.query("SELECT current_schema() AS name")
            connection.change(f"GRANT USAGE ON SCHEMA {found['name']} TO {role}")
            connection.change(f"GRANT SELECT ON ALL TABLES IN SCHEMA {found['name']} TO {role}")
        store.close()
        url = postgresql_url.replace("kitfox@", f"{role}@", 1)
        assert url != postgresql_url
        project.environment["TRAINING_STORE"] = url
        sentence = refused(project, *command)
        assert "cannot be used: permission denied for table jobs" in sentence

    def test_no_server(self, project: CoursesServer, command: tuple[str, ...]) -> None:
        pytest.importorskip("psycopg", reason="psycopg is not installed")
        nowhere = project.project / "nowhere"
        url = f"postgresql+psycopg://kitfox:secret@/postgres?host={nowhere}"
        project.environment["TRAINING_STORE"] = url
        sentence = refused(project, *command)
        assert "cannot be reached: " in sentence
        assert "secret" not in sentence
