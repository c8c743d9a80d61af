"""A remote store that is slow keeps nobody waiting but those who want what it has."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kitfox.modules.manifest import seal
from tests.models.queues_server import QueuesServer, queues_server, write_model
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

CALLERS = 20


class Trickle:
    """A web server of models, whose `weights.bin` come a byte at a time as long as it is told to.

    Args:
        folder: Where the models are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: Counter[str] = Counter()
        self.flows = threading.Event()
        trickle = self

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                """Say nothing."""

            def do_GET(self) -> None:
                trickle.asked[self.path] += 1
                if not self.path.endswith("weights.bin"):
                    super().do_GET()
                    return
                data = (trickle.folder / self.path.lstrip("/")).read_bytes()
                self.send_response(200)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                sent = 0
                while not trickle.flows.is_set():
                    self.wfile.write(data[sent : sent + 1])
                    sent += 1
                    time.sleep(0.05)
                self.wfile.write(data[sent:])

        handler = partial(Handler, directory=str(folder))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def add(self, name: str, **files: str) -> None:
        """One more model, with a manifest."""
        seal(write_model(self.folder, name, size=20_000, **files))


@pytest.fixture
def trickle(tmp_path: Path) -> Iterator[Trickle]:
    made = Trickle(tmp_path / "remote")
    yield made
    made.flows.set()
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def open_server(tmp_path: Path, trickle: Trickle) -> Iterator[Callable[..., QueuesServer]]:
    """Starts the server, which is stopped after the test."""
    with ExitStack() as stack:
        yield lambda **models: stack.enter_context(
            queues_server(
                tmp_path, remote=[trickle.url], cache_dir=str(tmp_path / "cache"), **models
            )
        )
        trickle.flows.set()


def test_a_slow_download_stalls_nobody_else(
    trickle: Trickle, open_server: Callable[..., QueuesServer]
) -> None:
    for name in ("slow", "far"):
        trickle.add(name)
    write_model(trickle.folder, "light")
    seal(trickle.folder / "light")
    server = open_server()
    with ThreadPoolExecutor(CALLERS) as pool:
        calls = [pool.submit(server.say, "slow") for _ in range(CALLERS)]
        wait_for(lambda: trickle.asked["/slow/weights.bin"], what="the download")
        wait_for(lambda: server.show("slow").json.get("state") == "loading", what="all callers")
        server.add("near")
        assert server.say("near").status == 200
        assert server.say("light").status == 200
        assert server.show("near").json["state"] == "ready"
        assert {"near", "slow"} <= set(server.listed())
        assert server.manage("load", "near").status == 200
        # What is shown, or asked for its health, is not downloaded.
        shown = server.show("far")
        assert (shown.status, "has not been downloaded" in shown.json["details"]) == (404, True)
        assert not any(call.done() for call in calls)
        trickle.flows.set()
        assert [call.result().status for call in calls] == [200] * CALLERS
    assert trickle.asked["/slow/weights.bin"] == 1
    assert not trickle.asked["/far/manifest.json"]
    assert server.say("far").status == 200


def test_a_download_is_given_up_in_time_and_what_it_brings_is_kept(
    trickle: Trickle, open_server: Callable[..., QueuesServer]
) -> None:
    trickle.add("slow")
    server = open_server(load_seconds=1)
    with ThreadPoolExecutor(CALLERS) as pool:
        answers = list(pool.map(server.say, ["slow"] * CALLERS))
    assert {answer.status for answer in answers} == {503}
    assert all("models.load_seconds" in answer.json["details"] for answer in answers)
    assert server.show("slow").status == 404
    trickle.flows.set()
    wait_for(lambda: server.say("slow").status == 200, seconds=60, what="the model")
    assert trickle.asked["/slow/weights.bin"] == 1


def test_what_is_damaged_there_is_not_downloaded_at_each_call(
    trickle: Trickle, open_server: Callable[..., QueuesServer]
) -> None:
    trickle.flows.set()
    trickle.add("torn", word="sweet")
    (trickle.folder / "torn" / "word").write_text("sour!")
    server = open_server()
    first = server.say("torn")
    assert (first.status, "is damaged" in first.json["details"]) == (500, True)
    assert server.say("torn").json["details"] == first.json["details"]
    shown = server.show("torn").json
    assert (shown["state"], "is damaged" in shown["last_error"]) == ("failed", True)
    assert server.listed("state=failed") == ["torn"]
    assert trickle.asked["/torn/word"] == 1
    (trickle.folder / "torn" / "word").write_text("sweet")
    assert server.manage("load", "torn").status == 200
