"""`kitfox train` and `kitfox jobs` say and do the same with a running server and without."""

import os
import re
import shutil
import signal
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kitfox.training import JobState, JobStore
from kitfox.training.jobs import TERMINAL
from kitfox.training.processes import is_running
from tests.data.s3_servers import BUCKET, Service, running_service
from tests.services.courses import PROJECT, CoursesServer, Hold, courses
from tests.waiting import wait_for

from .command_lines import Command, CommandLines, Terminal

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoursesServer]:
    """A project on whose ports nobody answers."""
    project = tmp_path_factory.mktemp("alone") / PROJECT.name
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    yield CoursesServer(project)
    assert end_all(project) == []


def end_all(project: Path) -> list[str]:
    """Kills what still trains, which only a test that failed leaves behind; tells the ids."""
    store = JobStore(f"sqlite:///{project / 'training_output' / 'jobs.sqlite3'}")
    going = store.list(states=frozenset(JobState) - TERMINAL)
    store.close()
    for job in going:
        if job.worker_pid is not None and is_running(job.worker_pid, job.worker_start):
            os.killpg(job.worker_pid, signal.SIGKILL)
    return [job.id for job in going]


@pytest.fixture(scope="module", params=["with a server", "without a server"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CoursesServer]:
    """A project with a server, and one without."""
    if request.param == "without a server":
        yield request.getfixturevalue("alone")
        return
    with courses(tmp_path_factory.mktemp("courses")) as running:
        yield running
        assert end_all(running.project) == []


@pytest.fixture(scope="module")
def shell(server: CoursesServer) -> Iterator[CommandLines]:
    found = CommandLines(server)
    yield found
    found.close()


@pytest.fixture
def hold(tmp_path: Path) -> Hold:
    return Hold(tmp_path / "hold")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "lines.jsonl"
    file.write_text('{"text": "one"}\n{"text": "two"}\n')
    return file


def id_in(text: str) -> str:
    """The id that a start has told."""
    found = re.search(r'"training_id": "([0-9a-f-]{36})"', text)
    assert found is not None, text
    return found[1]


def shown(text: str) -> dict[str, str]:
    """The rows of `show`, by name."""
    rows = [line.split(maxsplit=1) for line in text.splitlines() if line[:1] != " "]
    return {row[0]: row[1].strip() for row in rows if len(row) == 2}


def worker_of(server: CoursesServer, training: str) -> tuple[int, str]:
    """The process of a training that has begun."""
    store = JobStore(f"sqlite:///{server.project / 'training_output' / 'jobs.sqlite3'}")
    job = wait_for(
        lambda: job if (job := store.get(training)).worker_pid else None, what="the begin"
    )
    store.close()
    assert job.worker_pid is not None
    return job.worker_pid, job.worker_start


def test_a_training_from_begin_to_end(shell: CommandLines, data: Path, tmp_path: Path) -> None:
    line = f"train Pupil --data {data} --name whole --set steps=10 --priority 3 --retries 1"
    text = shell.run(f"{line} --follow")
    training = id_in(text)
    assert re.search(r"^step 10$", text, re.MULTILINE)
    assert re.search(r"^100% step 10 of 10 loss=0.1$", text, re.MULTILINE)
    assert re.search(rf"^COMPLETED\nin [\d.]+ s: .*/{training}/whole$", text, re.MULTILINE)
    done = shell.try_all(
        f"jobs show {training}",
        "jobs list whole",
        "jobs list --state completed --module Pupil --model whole --limit 1",
        "jobs list --state errored --model whole",
        f"jobs logs {training}",
        f"jobs logs {training} --follow",
        f"jobs follow {training}",
        f"jobs download {training} {tmp_path / 'whole.zip'}",
        f"jobs download {training} {tmp_path / 'whole.zip'}",
        f"jobs pin {training}",
        f"jobs rm {training}",
        f"jobs unpin {training}",
        f"jobs rm {training}",
        f"jobs show {training}",
    )
    assert [status for status, _ in done] == [0] * 8 + [1, 0, 1, 0, 0, 1], done
    texts = [found for _, found in done]
    rows = shown(texts[0])
    assert (rows["state"], rows["module_name"], rows["priority"]) == ("COMPLETED", "Pupil", "3")
    assert rows["retries"] == "1"
    assert rows["progress"] == "100% step 10 of 10 loss=0.1"
    for listing in texts[1:3]:
        assert re.search(rf"^{training} +COMPLETED +Pupil +whole ", listing, re.MULTILINE)
    assert texts[3].strip() == "no trainings"
    assert texts[4] == texts[5] == "".join(f"step {step}\n" for step in range(1, 11))
    assert texts[6].splitlines()[-2] == "COMPLETED"
    with zipfile.ZipFile(tmp_path / "whole.zip") as archive:
        assert "manifest.json" in archive.namelist()
    assert "exists already" in texts[8]
    assert "pinned" in shown(texts[9])
    assert "is pinned; unpin it to remove it" in texts[10]
    assert "pinned" not in shown(texts[11])
    assert "Unknown training_id" in texts[13]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("s3") / "log") as service:
        service.make_bucket()
        service.put("in/one.jsonl", '{"text": "from"}\n{"text": "a bucket"}\n')
        service.put("in/two.csv", "text\nas well\n")
        yield service


@pytest.fixture(scope="module")
def reader(bucket: Service) -> tuple[str, str]:
    """The keys of somebody who may read what is in the bucket."""
    return bucket.make_reader()


def test_one_with_data_in_a_bucket(
    server: CoursesServer, bucket: Service, reader: tuple[str, str]
) -> None:
    """What to ask, and with which keys, is known where the command runs, and nowhere else."""
    key, secret = reader
    variables = {
        "AWS_ENDPOINT_URL": bucket.url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
    }
    train = f"train Pupil --data s3://{BUCKET}/in/one.jsonl"
    with bucket.checking_signatures(), commands_with(server, variables) as shell:
        text = shell.run(f"{train} --data s3://{BUCKET}/in/two.csv --name kept --follow")
        training = id_in(text)
        assert re.search(rf"^COMPLETED\nin [\d.]+ s: .*/{training}/kept$", text, re.MULTILINE)
        again = shell.run(f"train --again {training} --follow")
        place = re.search(r"^in [\d.]+ s: (.*)$", again, re.MULTILINE)
        assert place is not None, again
        assert "from\n- a bucket\n- as well\n" in Path(place[1], "config.yml").read_text()
        texts = [shell.run(f"jobs {what} {training}") for what in ("show", "logs")]
        assert f"s3://{BUCKET}/in/one.jsonl" in texts[0]
        assert not any(secret in part for part in (text, again, *texts))
    with (
        bucket.checking_signatures(),
        commands_with(server, {**variables, "AWS_SECRET_ACCESS_KEY": "wrong"}) as shell,
    ):
        text = shell.run(f"{train} --follow", 1)
        assert re.search(r"^ERRORED\n  .*one\.jsonl.*$", text, re.MULTILINE)
    with bucket.checking_signatures(), commands_with(server, variables) as shell:
        text = shell.run(f"train Pupil --data s3://{BUCKET}/none.csv --follow", 1)
        assert re.search(r"^ERRORED\n  .*none\.csv.*$", text, re.MULTILINE)


@contextmanager
def commands_with(server: CoursesServer, variables: dict[str, str]) -> Iterator[CommandLines]:
    """Commands with more in their environment than the server has."""
    before = server.environment
    server.environment = {**before, **variables}
    try:
        shell = CommandLines(server)
    finally:
        server.environment = before
    try:
        yield shell
    finally:
        shell.close()


@pytest.mark.parametrize(("end", "status", "last"), [("", 0, "COMPLETED"), ("fail", 1, "ERRORED")])
def test_on_a_terminal_a_bar_moves_to_the_end(
    server: CoursesServer, data: Path, hold: Hold, end: str, status: int, last: str
) -> None:
    line = f"train Pupil --data {data} --set hold={hold} --set end={end} --follow"
    terminal = Terminal(server, line)
    training = id_in(terminal.shows(r'"training_id": .*')[0])
    half = terminal.shows(r"RUNNING .*━.* 50%.*step 1 of 2 loss=1 ")
    assert "step 1\r\n" in terminal.seen  # the log, above
    hold.release()
    terminal.shows(rf"{last} .*━.*100%.*step 2 of 2 loss=0.5 ")
    found, text = terminal.end()
    assert found == status
    rest = text[half.end() :]
    assert "\x1b[2K" in rest  # drawn over, not below
    if end:
        assert "could not learn ['one', 'two']" in rest
    else:
        assert re.search(rf"in [\d.]+ s: \S*/{training}\r\n$", rest), rest
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") > 0  # the cursor is back


def test_one_that_fails_tells_why_and_is_taken_up_again(shell: CommandLines, data: Path) -> None:
    text = shell.run(f"train Pupil --data {data} --set end=fail --follow", 1)
    assert "ERRORED\n  could not learn ['one', 'two']" in text
    training = id_in(text)
    retried = shell.run(f"jobs retry {training} --follow", 1)
    assert shown(retried)["retry_of"] == training
    assert "ERRORED" in retried
    assert "ERRORED" in shell.run(f"jobs follow {training}", 1)


def test_one_is_ended(server: CoursesServer, shell: CommandLines, data: Path, hold: Hold) -> None:
    training = id_in(shell.run(f"train Pupil --data {data} --set hold={hold}"))
    hold.begun()
    pid, start = worker_of(server, training)
    assert shown(shell.run(f"jobs cancel {training}"))["state"] == "CANCELED"
    assert not is_running(pid, start)
    assert "CANCELED" in shell.run(f"jobs follow {training}", 2)
    assert shown(shell.run(f"jobs cancel {training}"))["state"] == "CANCELED"


def test_one_is_ended_early_and_keeps_its_model(
    shell: CommandLines, data: Path, hold: Hold
) -> None:
    training = id_in(shell.run(f"train Pupil --data {data} --name early --set hold={hold}"))
    hold.begun()
    rows = shown(shell.run(f"jobs stop {training}"))
    assert (rows["state"], rows["progress"]) == ("COMPLETED", "50% step 1 of 2 loss=1")
    assert "stopped early" in shell.run(f"jobs logs {training}")


def test_one_is_repeated_from_its_record(shell: CommandLines, data: Path) -> None:
    first = id_in(shell.run(f"train Pupil --data {data} --name twice --set steps=3 --follow"))
    same = shell.run(f"train --again {first} --follow")
    second = id_in(same)
    changes = "--name other --set steps=5 --priority 2 --retries 3"
    third = id_in(shell.run(f"train --again {first} {changes} --follow"))
    texts = [found for _, found in shell.try_all(*(f"jobs show {i}" for i in (second, third)))]
    assert shown(texts[0])["again_of"] == shown(texts[1])["again_of"] == first
    assert shown(texts[0])["progress"] == "100% step 3 of 3 loss=0.3333"
    assert shown(texts[1])["progress"] == "100% step 5 of 5 loss=0.2"
    assert shown(texts[1])["model_name"] == "other"
    assert (shown(texts[1])["priority"], shown(texts[1])["retries"]) == ("2", "3")
    assert "retries" not in shown(texts[0])
    digests = [re.findall(r"2 rows, 32 bytes, sha256 ([0-9a-f]{64})", text) for text in texts]
    assert digests[0] == digests[1] != []
    assert "is not what" not in same
    data.write_text('{"text": "three"}\n')
    other = shell.run(f"train --again {first} --follow")
    assert f"lines: {data} is not what training {first} had" in other


def test_a_model_becomes_the_current_one_of_its_name(shell: CommandLines, data: Path) -> None:
    line = f"train Pupil --data {data} --name current --follow"
    training = id_in(shell.run(f"{line} --promote"))
    wait_for(
        lambda: shown(shell.try_("models show current")[1]).get("version") == training,
        what="the promotion",
    )
    shell.run(line)
    assert shown(shell.run("models show current"))["version"] == training


def test_a_store_that_another_process_runs_is_left_to_it(
    server: CoursesServer, data: Path, hold: Hold
) -> None:
    """A command that no server answers adds to the store, and who runs it is told."""
    elsewhere = CoursesServer(server.project)  # on ports where nobody answers
    runs_it = Command(server, f"train Pupil --data {data} --set hold={hold} --follow")
    runs_it.says("step 1")
    guest = CommandLines(elsewhere)
    training = id_in(guest.run(f"train Pupil --data {data} --set hold={hold}"))
    hold.begun(2)
    assert shown(guest.run(f"jobs cancel {training}"))["state"] == "CANCELED"
    other = id_in(guest.run(f"train Pupil --data {data} --set hold={hold}"))
    hold.release()
    assert "COMPLETED" in guest.run(f"jobs follow {other}")
    guest.close()
    status, _, errors = runs_it.end()
    assert status == 0, errors


def test_what_cannot_be_done_is_told(shell: CommandLines, data: Path) -> None:
    done = shell.try_all(
        f"train Nobody --data {data}",
        "train Pupil --data /nowhere.csv",
        f"train Pupil --data {data} --set stepps=3",
        f"train Pupil --data {data} --retries 1000",
        "train",
        "jobs show nope",
        "jobs follow nope",
        "jobs retry nope",
        "jobs list --state asleep",
    )
    assert [status for status, _ in done] == [1, 1, 1, 1, 2, 1, 1, 1, 1], done
    texts = [text for _, text in done]
    assert "MODULE 'Nobody': expected one of: " in texts[0]
    assert "/nowhere.csv does not exist" in texts[1]
    assert "stepps" in texts[2]
    assert "kitfox-retries: expected a number from 0 to 100, got '1000'" in texts[3]
    assert "--again ID" in texts[4]
    assert all("Unknown training_id: nope" in text for text in texts[5:8])
    assert "expected some of: QUEUED, RUNNING" in texts[8]


def test_ctrl_c_leaves_the_training_to_itself(
    server: CoursesServer, shell: CommandLines, data: Path, hold: Hold
) -> None:
    command = Command(server, f"train Pupil --data {data} --set hold={hold} --follow")
    command.says("step 1")
    status, output, errors = command.signal(signal.SIGINT)
    training = id_in(output)
    assert status == 130, errors
    assert f"kitfox jobs follow {training}" in errors
    pid, start = worker_of(server, training)
    assert is_running(pid, start)
    hold.release()
    assert "step 2\n" in shell.run(f"jobs follow {training}")


INTERRUPTED = """
import signal
from kitfox.cli.commands import main
from kitfox.services.training_events import TrainingEvents
async def follow(self, *arguments, **options):
    signal.raise_signal(signal.SIGINT)
    yield []
TrainingEvents.follow = follow
main()
"""


def test_ctrl_c_in_the_middle_of_a_step_is_heard(alone: CoursesServer, data: Path) -> None:
    assert alone.kitfox("train", "Pupil", "--data", str(data), "--follow").returncode == 0
    done = alone.run("-c", INTERRUPTED, "jobs", "follow", "any", "--config", str(alone.config))
    assert done.returncode == 130, done.stderr
    assert "kitfox jobs follow any" in done.stderr


def test_a_command_that_is_killed_leaves_the_training_to_itself(
    alone: CoursesServer, data: Path, hold: Hold
) -> None:
    command = Command(alone, f"train Pupil --data {data} --set hold={hold} --follow")
    command.says("step 1")
    _, output, _ = command.signal(signal.SIGKILL)
    training = id_in(output)
    pid, start = worker_of(alone, training)
    assert is_running(pid, start)
    following = Command(alone, f"jobs follow {training}")
    following.says("step 1")
    hold.release()
    status, _, errors = following.end()
    assert status == 0, errors


def test_following_goes_on_with_the_next_server(tmp_path: Path, data: Path, hold: Hold) -> None:
    with courses(tmp_path / "mortal") as server:
        command = Command(server, f"train Pupil --data {data} --set hold={hold} --follow")
        command.says("step 1")
        server.kill()
        command.says("server")
        server.start()
        hold.release()
        status, output, errors = command.end()
    assert status == 0, errors
    assert output.count("step 1\n") == output.count("step 2\n") == 1
