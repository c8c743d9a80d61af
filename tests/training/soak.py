"""Trainings of a real server, while whatever runs them is killed at random.

    python -m tests.training.soak [--seconds 60] [--seed N]

Clients start, hold, release, cancel, stop, retry, pin, delete, promote, download and look at
trainings; meanwhile workers, the warm process and the server are killed, and workers stand still
past their lease. Always:

- an id that was given away answers, until somebody deletes it;
- a training that has ended stays as it is;
- the model of a completed one answers as it was taught, and can be downloaded;
- a model that was promoted is one of those that its name was given to.

And when it is over every training that is listed has ended, every model that is listed answers, and
no process, port, unfinished model, folder without a model or temporary file is left.

The seed fixes what is chosen, not the moment at which it happens: a run that fails may have to be
repeated before it fails again.
"""

import argparse
import contextlib
import http.client
import io
import math
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kitfox.training import Job, JobState, JobStore
from kitfox.training.jobs import TERMINAL
from kitfox.training.processes import is_running
from tests.conftest import Answer
from tests.services.courses import MANAGE, PROJECT, TRAIN, CoursesServer

__all__ = ["Soak"]

CLIENTS = 2
PATIENCE = 90.0
"""Seconds in which a server that was killed must answer again, and all trainings must end."""
MODELS = "/api/v1/management/models"
MARK = "KITFOX_SOAK"
"""The variable that all processes of a run have in their environment."""
UNDER_WAY = (JobState.RUNNING, JobState.STOPPING, JobState.CANCELING)


class Violation(AssertionError):
    """Something happened that must not."""


class Soak:
    """One run.

    Args:
        folder: An empty folder to live in.
        seconds: For how long there are clients and kills.
        seed: Of all that is random.
    """

    def __init__(self, folder: Path, *, seconds: float, seed: int) -> None:
        self.folder = folder
        self.seconds = seconds
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self._until = 0.0
        self._taught: dict[str, str] = {}
        self._lines: set[str] = set()
        """All that was ever to be taught."""
        self._gone: dict[str, bool] = {}
        """What somebody has asked to be deleted, and whether it is."""
        self._ended: dict[str, tuple[Any, ...]] = {}
        self._failures: list[BaseException] = []
        self._stopped: list[Job] = []
        for name in ("holds", "tmp"):
            (folder / name).mkdir()
        project = folder / PROJECT.name
        shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
        environment = {
            MARK: str(folder),
            "TMPDIR": str(folder / "tmp"),
            "SERVER_ENGINE": ("hypercorn", "envoy")[seed % 2],
            "RUNTIME_METRICS_ENABLED": "false",
            "TRAINING_MAX_CONCURRENT": "3",
            "TRAINING_LEASE_SECONDS": "10",
            "TRAINING_CANCEL_SECONDS": "1",
            "TRAINING_STOP_SECONDS": "1",
        }
        self.server = CoursesServer(project, environment)

    def run(self) -> Counter[str]:
        """Does all of it; gives how often what was done.

        Raises:
            Violation: Something is not as it must be.
        """
        self.server.start()
        try:
            self._until = time.monotonic() + self.seconds
            workers = [self._client, *[self._client] * (CLIENTS - 1), self._kill]
            threads = [
                threading.Thread(target=self._guarded, args=(work, random.Random(self.seed + n)))  # noqa: S311 -- no secrets
                for n, work in enumerate(workers)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if self._failures:
                raise self._failures[0]
            self._come_to_an_end()
            self._check_lists()
            if self.server.stop() != 0:
                raise Violation(f"the server did not end in good order: {self.server.log[-2000:]}")
            self._check_leftovers()
        finally:
            self._kill_all()
        return self.counts

    def _guarded(self, work: Callable[[random.Random], None], dice: random.Random) -> None:
        try:
            while time.monotonic() < self._until and not self._failures:
                work(dice)
        except BaseException as failure:  # noqa: BLE001 -- raised again by who waits
            self._failures.append(failure)

    # -- clients

    def _client(self, dice: random.Random) -> None:
        known = list(self._taught)
        training = dice.choice(known) if known else ""
        doings = ["start"] * 4 + ["release"] * 2
        if training:
            doings += ["look"] * 8 + ["cancel", "stop", "retry"]
            doings += ["pin", "unpin", "delete", "promote", "download"]
        doing = dice.choice(doings)
        self.counts[doing] += 1
        if doing == "start":
            self._start(dice)
        elif doing == "release":
            self._release(dice)
        elif doing == "look":
            self._look(training)
        elif doing == "retry":
            answer = self._ask("POST", f"{MANAGE}/retry", {"training_id": training})
            if answer is not None and answer.status == 200:
                self._taught[answer.json["training_id"]] = self._taught[training]
        elif doing == "cancel":
            self._ask("DELETE", f"/management/trainings?training_id={training}")
        elif doing in ("pin", "unpin"):
            fields = {"training_id": training, "pinned": doing == "pin"}
            self._ask("POST", f"{MANAGE}/pin", fields)
        elif doing == "delete":
            self._delete(training)
        elif doing == "promote":
            fields = {"name": "m", "version": training}
            self._ask("POST", f"{MODELS}/promote", fields)
        elif doing == "download":
            self._download(training)
        else:
            self._ask("POST", f"{MANAGE}/stop", {"training_id": training})
        time.sleep(dice.random() * 0.1)

    def _start(self, dice: random.Random) -> None:
        line = f"line {dice.randrange(10**9)}"
        self._lines.add(line)
        hold = self.folder / "holds" / str(dice.randrange(10**9))
        parameters: dict[str, Any] = {
            "lines": {"data_stream": {"data": [{"text": line}]}},
            "weight": dice.choice([0, 10_000, 1_000_000]),
            "end": dice.choice(["", "", "", "fail", "die"]),
        }
        if dice.random() < 0.6:
            hold.mkdir()
            parameters["hold"] = str(hold)
        headers = {
            "kitfox-priority": str(dice.randrange(3)),
            "kitfox-retries": str(dice.randrange(3)),
        }
        body = {"model_name": dice.choice(["", "m"]), "parameters": parameters}
        answer = self._ask("POST", TRAIN, body, headers)
        if answer is not None and answer.status == 200:
            self._taught[answer.json["training_id"]] = line

    def _release(self, dice: random.Random) -> None:
        held = [path for path in (self.folder / "holds").iterdir() if not (path / "go").exists()]
        if held:
            (dice.choice(held) / "go").touch()

    def _delete(self, training: str) -> None:
        self._gone.setdefault(training, False)
        answer = self._ask("POST", f"{MANAGE}/delete", {"training_id": training})
        if answer is not None and answer.status == 200:
            self._gone[training] = True

    def _download(self, training: str) -> None:
        """Reads a model, which must be whole if its training has ended well."""
        if self._look(training) != "COMPLETED":
            return
        answer = self._ask("GET", f"{MANAGE}/download?training_id={training}")
        if answer is None or (answer.status == 404 and training in self._gone):
            return
        if answer.status != 200:
            raise Violation(f"the model of {training} cannot be downloaded: {answer}")
        with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
            if broken := archive.testzip():
                raise Violation(f"{broken} of the model of {training} is broken")

    def _look(self, training: str) -> str:
        """Looks at a training, which must be there, and if it ended before, as it was then.

        Gives its state; nothing if it was deleted.
        """
        was_gone, was_ended = self._gone.get(training, False), training in self._ended
        answer = self._ask("GET", f"{MANAGE}/show?training_id={training}")
        if answer is not None and answer.status == 404 and training in self._gone:
            return ""
        if answer is None or answer.status != 200 or was_gone:
            raise Violation(f"training {training} answers, deleted {was_gone}: {answer}")
        shown = answer.json
        if shown["state"] not in TERMINAL:
            if was_ended:
                raise Violation(f"{training} was {self._ended[training]}, is {shown}")
            return str(shown["state"])
        seen = tuple(shown[name] for name in ("state", "finished", "attempt", "reasons"))
        if self._ended.setdefault(training, seen) != seen:
            raise Violation(f"{training} was {self._ended[training]}, is {seen}")
        if shown["state"] == "COMPLETED":
            said = self._recite(training)
            if said.status == 404 and training in self._gone:
                return ""
            if said.status != 200 or said.json["text"] != self._taught[training]:
                raise Violation(f"the model of {training} does not answer as it should: {said}")
        return str(shown["state"])

    def _recite(self, model: str) -> Answer:
        body = {"inputs": {"text": ""}, "model_id": model}
        answer = self._ask("POST", "/api/v1/task/recite", body, repeat=True)
        assert answer is not None
        if answer.status == 503:
            # A server that is killed twice as it loads a model waits to be told that it may.
            self._ask("POST", f"{MODELS}/load", {"model_id": model}, repeat=True)
            self.counts["load"] += 1
            answer = self._ask("POST", "/api/v1/task/recite", body, repeat=True)
            assert answer is not None
        return answer

    def _ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        repeat: bool = False,
    ) -> Answer | None:
        """A request; None if the server was killed before it answered and it was no question."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                answer = self.server.http(method, path, body, headers)
            except (OSError, http.client.HTTPException) as error:
                if time.monotonic() > deadline:
                    raise Violation(f"no answer to {method} {path}: {error}") from error
                if method != "GET" and not repeat:
                    return None
            else:
                if answer.status < 500 or b"when its load is asked for" in answer.body:
                    return answer
                if answer.status != 503 or time.monotonic() > deadline:
                    raise Violation(f"{method} {path}: {answer}")
            time.sleep(0.05)

    # -- kills

    def _kill(self, dice: random.Random) -> None:
        time.sleep(dice.random() / 2)
        doing = dice.choice(
            ["kill worker"] * 4
            + ["stop worker"] * 3
            + ["continue worker"] * 2
            + ["kill warm process", "kill server"]
        )
        if doing == "kill server":
            self.server.kill()
            self.server.start()
        elif doing == "kill warm process":
            for pid in self._processes(b"kitfox.training.nursery"):
                _signal(pid, signal.SIGKILL)
        elif doing == "continue worker":
            self._continue_workers()
        else:
            running = [job for job in self._jobs(UNDER_WAY) if job.worker_pid]
            if not running:
                return
            job = dice.choice(running)
            if doing == "stop worker":
                self._stopped.append(job)
            number = signal.SIGSTOP if doing == "stop worker" else signal.SIGKILL
            self._signal_worker(job, number)
        self.counts[doing] += 1

    def _continue_workers(self) -> None:
        for job in self._stopped:
            self._signal_worker(job, signal.SIGCONT)
        self._stopped.clear()

    def _signal_worker(self, job: Job, number: signal.Signals) -> None:
        if job.worker_pid and is_running(job.worker_pid, job.worker_start):
            _signal(job.worker_pid, number)

    def _jobs(self, states: tuple[JobState, ...]) -> list[Job]:
        url = f"sqlite:///{self._output / 'jobs.sqlite3'}"
        with contextlib.closing(JobStore(url, create=False, busy_timeout=60)) as store:
            return store.list(states=states, limit=1_000_000)

    @property
    def _output(self) -> Path:
        return self.server.project / "training_output"

    # -- the end

    def _come_to_an_end(self) -> None:
        deadline, left = time.monotonic() + PATIENCE, math.inf
        while waiting := [item for item in self._listed(MANAGE) if item["state"] not in TERMINAL]:
            for hold in (self.folder / "holds").iterdir():
                (hold / "go").touch()
            if len(waiting) < left:
                # However many wait: as long as some of them end, there is nothing wrong.
                deadline, left = time.monotonic() + PATIENCE, len(waiting)
            if time.monotonic() > deadline:
                raise Violation(f"these trainings do not end: {waiting}")
            time.sleep(0.1)
        # One that had told of its end when it was stopped is not killed: only its leaving is due.
        self._continue_workers()
        for training in list(self._taught):
            self._look(training)
        self.counts.update(f"ended {state}" for state, *_ in self._ended.values())

    def _check_lists(self) -> None:
        """What is listed is what was given away and not deleted, and every model answers.

        There may be more: what was started by a call whose answer a kill has swallowed.
        """
        trainings = {item["training_id"]: item["state"] for item in self._listed(MANAGE)}
        kept = self._taught.keys() - self._gone.keys()
        gone = {training for training, is_gone in self._gone.items() if is_gone}
        if wrong := (kept - trainings.keys()) | (gone & trainings.keys()):
            raise Violation(f"these trainings are listed and deleted, or neither: {wrong}")
        models = [item["model_id"] for item in self._listed(MODELS)]
        completed = [name for name, state in trainings.items() if state == "COMPLETED"]
        for model in {*models, *completed}:
            answer = self._recite(model)
            if answer.status != 200:
                raise Violation(f"model {model} is listed and does not answer: {answer}")
            self.counts["listed models"] += 1
            if answer.json["text"] not in self._lines:
                raise Violation(f"model {model} says what nobody has taught it: {answer}")

    def _listed(self, place: str) -> list[dict[str, Any]]:
        """All of a list, page by page."""
        found: list[dict[str, Any]] = []
        token = ""
        while True:
            answer = self._ask("GET", f"{place}?page_size=1000&page_token={token}")
            if answer is None or answer.status != 200:
                raise Violation(f"{place} is not listed: {answer}")
            found += next(value for value in answer.json.values() if isinstance(value, list))
            token = answer.json.get("next_page_token") or ""
            if not token:
                return found

    def _check_leftovers(self) -> None:
        ended = time.monotonic() + 10
        while left := list(self._processes(b"")):
            if time.monotonic() > ended:
                raise Violation(f"processes are left: {left}")
            time.sleep(0.05)
        for port in (self.server.http_port, self.server.grpc_port):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    raise Violation(f"port {port} is still listened on")
        states = {job.id: job.state for job in self._jobs(tuple(JobState))}
        for folder in self._output.iterdir():
            if not folder.is_dir() or folder.name.startswith((".", "jobs.sqlite3")):
                continue
            state, inside = states.get(folder.name), list(folder.iterdir())
            if state is JobState.COMPLETED:
                is_right = any(folder.rglob("config.yml"))
            else:  # checkpoints, which are looked at below
                is_right = bool(inside) and all(path.name.startswith(".") for path in inside)
            if not is_right:
                raise Violation(f"{folder} is left of a job that is {state}: {inside}")
        for path in self._output.rglob(".*"):
            if path.suffix not in (".partial", ".replaced", ".removed", ".checkpoints"):
                continue
            state = next((state for job, state in states.items() if job in path.name), None)
            # Another training may go on from the checkpoints of one that has failed.
            if not (path.suffix == ".checkpoints" and state is JobState.ERRORED):
                raise Violation(f"something is left of a job that is {state}: {path}")
        if left_files := list((self.folder / "tmp").iterdir()):
            raise Violation(f"temporary files are left: {left_files}")

    def _processes(self, command: bytes) -> Iterator[int]:
        """The processes of this run whose command line has this in it."""
        mark = f"{MARK}={self.folder}".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    found = mark in (entry / "environ").read_bytes().split(b"\0")
                    if found and command in (entry / "cmdline").read_bytes():
                        yield int(entry.name)

    def _kill_all(self) -> None:
        for pid in self._processes(b""):
            _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def main() -> None:
    """Runs it and prints what was done."""
    parser = argparse.ArgumentParser(prog="python -m tests.training.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))  # noqa: S311 -- as above
    options = parser.parse_args()
    sys.stdout.write(f"seed {options.seed}\n")
    with tempfile.TemporaryDirectory(prefix="kitfox-soak-") as folder:
        counts = Soak(Path(folder), seconds=options.seconds, seed=options.seed).run()
    for doing, count in sorted(counts.items()):
        sys.stdout.write(f"{count:8} {doing}\n")


if __name__ == "__main__":
    main()
