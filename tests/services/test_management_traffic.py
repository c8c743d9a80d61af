"""Models come, go and change while they are called; `KITFOX_MODELS_SECONDS` says how long."""

import collections
import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.services.managed import LONG, ManagedServer, managed

CLIENTS = 32


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagedServer]:
    with managed(tmp_path_factory.mktemp("traffic")) as running:
        yield running


def in_parallel(count: int, work: Callable[[int], None]) -> None:
    """Runs some work in so many threads; the first failure is the test's."""
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as err:  # noqa: BLE001 -- raised again by who waits
            failures.append(err)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.timeout(LONG + 120)
def test_a_model_that_is_loaded_unloaded_deleted_and_called_at_once(server: ManagedServer) -> None:
    """Every answer is right, or says that the model is not there now."""
    until = time.monotonic() + LONG
    at_the_latest = until + 60
    seen: collections.Counter[tuple[str, int]] = collections.Counter()
    allowed = {
        "infer": {200, 404, 503},
        "deploy": {200, 404, 409},
        "undeploy": {200, 404},
        "load": {200, 404, 503},
        "unload": {200, 404},
        "reload": {200, 404, 503},
        "show": {200, 404},
    }
    kinds = ["infer"] * 8 + ["deploy"] * 3 + ["undeploy", "load", "unload", "reload", "show"]

    def goes_on() -> bool:
        # On a slow machine each load is overtaken by an unload for longer than that.
        now = time.monotonic()
        return now < until or (not seen["infer", 200] and now < at_the_latest)

    def client(number: int) -> None:
        choice = random.Random(number)  # noqa: S311 -- what is done next
        while goes_on():
            kind = choice.choice(kinds)
            if kind in {"undeploy", "unload"} and time.monotonic() % 1 > 0.6:
                kind = "deploy"  # a while in which what was begun can end
            match kind:
                case "infer":
                    answer = server.ask("torn")
                case "deploy":
                    answer = server.deploy("torn", "Torn")
                case "undeploy":
                    answer = server.undeploy("torn")
                case "show":
                    answer = server.show("torn")
                case action:
                    answer = server.manage(action, model_id="torn")
            assert answer.status in allowed[kind], (kind, answer.status, answer.body)
            if kind == "infer" and answer.status == 200:
                assert answer.json == {"greeting": "Torn World"}
            seen[kind, answer.status] += 1

    in_parallel(CLIENTS, client)
    assert seen["infer", 200], seen
    assert seen["deploy", 200], seen
    server.undeploy("torn")
    assert server.ask("torn").status == 404


@pytest.mark.timeout(LONG + 120)
def test_versions_change_without_one_failed_call(server: ManagedServer) -> None:
    for version, greeting in (("1", "One"), ("2", "Two")):
        assert server.deploy(f"twin@{version}", greeting).status == 200
    assert server.greeting("twin") == "One"
    until = time.monotonic() + LONG
    heard: collections.Counter[str] = collections.Counter()

    def is_over() -> bool:
        return time.monotonic() > until + (60 if len(heard) < 2 else 0)

    def client(number: int) -> None:
        if number:
            while not is_over():
                heard[server.greeting("twin")] += 1
            return
        for turn in range(10**6):
            version = str(2 - turn % 2)
            answer = server.manage("promote", name="twin", version=version)
            assert answer.status == 200, answer.body
            # Who knows that it is promoted is answered by it.
            assert server.greeting("twin") == ("One", "Two")[int(version) - 1]
            if is_over():
                return

    in_parallel(4, client)
    assert heard.keys() == {"One", "Two"}
