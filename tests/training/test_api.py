"""`kitfox.train`: durable trainings of a script, which may end before they do."""

import datetime
import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kitfox.training import Job, JobState, JobStore
from tests.training.retention_crashes import make_training
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent

BEGIN = f"""
import json, sys, time
sys.path.insert(0, {str(HERE)!r})
import kitfox
from kitfox.errors import KitfoxError
from trainers import Counter, Raiser, Row, Talker, Waiter

said = {{}}

def refusal(call):
    try:
        call()
    except (KitfoxError, TimeoutError) as error:
        return f"{{type(error).__name__}}: {{error}}"
    return "none"
"""
END = """
print(json.dumps(said))
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str], Any]:
    """Runs a script in a folder of its own, and gives what it has said."""

    def run(body: str) -> Any:
        script = tmp_path / "script.py"
        script.write_text(BEGIN + textwrap.dedent(body) + END)
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout)

    return run


def job_of(folder: Path, training_id: str) -> Job:
    """A training as another process finds it."""
    store = JobStore(f"sqlite:///{folder / 'training_output' / 'jobs.sqlite3'}")
    try:
        return store.get(training_id)
    finally:
        store.close()


def test_a_training_gives_a_handle(run: Callable[[str], Any], tmp_path: Path) -> None:
    said = run(
        """
        rows = [Row(word="one", number=1), Row(word="two", number=2)]
        one = kitfox.train(Counter, rows, factor=3, words=["a"], model_name="counter")
        said["one"] = one.result().value
        said["id"] = one.id
        said["states"] = [job.state for job in one.events()]
        base = kitfox.train("aaaaaaaa-0000-0000-0000-000000000001", wait=True)
        two = kitfox.train(Counter, (row for row in rows), base=base.result(), priority=2)
        said["two"] = two.result().value
        said["job"] = [two.job.state, two.job.priority, two.job.module_name]
        open("go", "w").close()
        talk = kitfox.train(Talker, gate="go", wait=True)
        said["progress"] = [talk.progress.step, talk.progress.total, dict(talk.progress.metrics)]
        said["log"] = talk.log()
        """
    )
    assert (said["one"]["rows"], said["one"]["sum"], said["one"]["words"]) == (2, 9, ["a"])
    assert (said["two"]["rows"], said["two"]["base"]) == (2, "nothing")
    assert said["states"] == ["COMPLETED"]
    assert said["job"] == ["COMPLETED", 2, "Counter"]
    assert said["progress"] == [4, 4, {"loss": 0.25, "accuracy": 1.0}]
    assert "on standard output\nfrom C\n" in said["log"]
    assert job_of(tmp_path, said["id"]).output_path.endswith(f"{said['id']}/counter")


def test_a_training_is_waited_for_and_ended(run: Callable[[str], Any]) -> None:
    said = run(
        """
        handle = kitfox.train(Waiter, gate="never")
        said["early"] = refusal(lambda: handle.wait(0.1))
        handle.cancel()
        said["state"] = handle.wait(60).state
        said["result"] = refusal(handle.result)
        from kitfox.config import parse
        config = parse({"training": {"stop_seconds": 0}}, source="test")
        idle = kitfox.train(Waiter, gate="never", store="other.db", config=config)
        while idle.job.worker_pid is None:
            time.sleep(0.01)
        said["stopping"] = idle.stop().state
        said["stopped"] = [idle.wait(60).state, *idle.job.reasons]
        failed = kitfox.train(Raiser, wait=True)
        said["failed"] = refusal(failed.result)
        said["log"] = failed.log()
        """
    )
    assert said["early"].startswith("TimeoutError: training ")
    assert said["state"] == "CANCELED"
    assert "is CANCELED" in said["result"]
    assert said["stopping"] == "STOPPING"
    assert said["stopped"] == ["CANCELED", "stopped before its first checkpoint"]
    assert "is ERRORED: the words do not rhyme" in said["failed"]
    assert "about to raise" in said["log"]


def test_what_cannot_be_trained_is_refused_at_once(
    run: Callable[[str], Any], tmp_path: Path
) -> None:
    said = run(
        """
        @kitfox.module("cccccccc-0000-0000-0000-000000000001", "Here", "1.0.0")
        class Here(kitfox.ModuleBase):
            @classmethod
            def train(cls) -> "Here":
                return cls()

        said["main"] = refusal(lambda: kitfox.train(Here))
        said["unknown"] = refusal(lambda: kitfox.train(Counter, [], facto=3))
        said["missing"] = refusal(lambda: kitfox.train(Counter))
        said["file"] = refusal(lambda: kitfox.train(Counter, "none.csv"))
        said["no stream"] = refusal(lambda: kitfox.train(Waiter, "rows.csv"))
        said["row"] = refusal(lambda: kitfox.train(Counter, [Row(word="a", number=1), 7]))
        said["name"] = refusal(lambda: kitfox.train(Counter, [], model_name="a/b"))
        """
    )
    assert "put it into a file of its own" in said["main"]
    assert "no parameter 'facto'; it has: rows, words, factor, base" in said["unknown"]
    assert "needs a value for rows" in said["missing"]
    assert "rows: there is no file" in said["file"]
    assert "takes no stream of data" in said["no stream"]
    assert "rows[1]" in said["row"]
    assert "must not contain '/'" in said["name"]
    assert list((tmp_path / "training_output").rglob("*.data")) == []


def test_a_training_outlives_the_script(run: Callable[[str], Any], tmp_path: Path) -> None:
    said = run(
        """
        handle = kitfox.train(Waiter, gate="go", model_name="late")
        while handle.job.worker_pid is None:
            time.sleep(0.01)
        said["id"] = handle.id
        """
    )
    assert job_of(tmp_path, said["id"]).state is JobState.RUNNING
    (tmp_path / "go").touch()
    wait_for(
        lambda: job_of(tmp_path, said["id"]).state is JobState.COMPLETED,
        what="the end of the training",
    )


def test_the_store_and_the_output_can_be_elsewhere(
    run: Callable[[str], Any], tmp_path: Path
) -> None:
    said = run(
        """
        from kitfox.config import parse
        config = parse({"training": {"max_concurrent": 1}}, source="test")
        options = {"store": "kept/jobs.db", "output_dir": "models", "config": config}
        handle = kitfox.train("aaaaaaaa-0000-0000-0000-000000000001", **options, wait=True)
        said["path"] = handle.job.output_path
        """
    )
    assert (tmp_path / "kept" / "jobs.db").is_file()
    assert Path(said["path"]).parent == tmp_path / "models"
    assert not (tmp_path / "training_output").exists()


def test_who_trains_without_a_server_removes_what_was_kept_long_enough(
    run: Callable[[str], Any], tmp_path: Path
) -> None:
    """But nothing that is pinned or current."""
    store = JobStore(f"sqlite:///{tmp_path / 'training_output' / 'jobs.sqlite3'}")
    old = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
    made: dict[str, dict[str, Any]] = {
        "plain": {},
        "failed": {"state": JobState.ERRORED},
        "pinned": {"pinned": True},
        "current": {"model_name": "fox"},
        "in place": {"overwrite": True},
    }
    for name, values in made.items():
        store.add(make_training(tmp_path, name, finished=old, **values))
    shutil.copytree(store.get("current").output_path, tmp_path / "models" / "fox")
    said = run(
        """
        from kitfox.config import parse
        from kitfox.training import JobStore
        day = {"seconds": 86400, "failed_seconds": None}
        config = parse({"training": {"retention": day}}, source="test")
        handle = kitfox.train("aaaaaaaa-0000-0000-0000-000000000001", config=config, wait=True)
        deadline = time.monotonic() + 60
        store = JobStore("sqlite:///training_output/jobs.sqlite3")
        while len(store.list()) == 6 and time.monotonic() < deadline:
            time.sleep(0.01)
        store.close()
        said["id"] = handle.id
        """
    )
    left = {"failed", "pinned", "current", "in place", said["id"]}
    assert {job.id for job in store.list()} == left
    assert not (tmp_path / "models" / "plain").exists()
    store.close()
