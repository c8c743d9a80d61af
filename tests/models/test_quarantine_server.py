"""What a model refuses because it ended its processes is known to the next server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models.queues_server import MANAGE, QueuesServer, queues_server
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[QueuesServer]:
    with queues_server(tmp_path, {"load_new_local_models": False}) as running:
        yield running


def test_a_request_that_kills_is_refused_after_the_server_was_killed(
    server: QueuesServer,
) -> None:
    for _ in range(2):
        wait_for(lambda: server.say("mortal").status == 200, seconds=60, what="a replica")
        assert server.say("mortal", "die 3").status == 503
    # Without a replica for a while, it would be told of that.
    wait_for(lambda: server.say("mortal").status == 200, seconds=60, what="a replica")
    refused = server.say("mortal", "die 3")
    assert (refused.status, "ended two replicas" in refused.json["details"]) == (400, True)
    notes = server.models / ".versions" / ".quarantine"
    # Under its own name: one that is still being written is lost with the server.
    wait_for(lambda: len(list(notes.glob("[!.]*"))) == 1, what="the note")
    server.kill()
    server.start()
    # Also before it is loaded.
    (entry,) = server.http("GET", f"{MANAGE}/quarantine?model_id=mortal").json["requests"]
    assert (entry["method"], "exited with status 3" in entry["reason"]) == ("run", True)
    assert server.say("mortal", "die 3").json["details"] == refused.json["details"]
    assert server.say("mortal").status == 200
    assert server.manage("quarantine/clear", "mortal").json == {"cleared": 1}
    wait_for(lambda: not list(notes.glob("[!.]*")), what="the end of the note")
    assert server.say("mortal", "die 3").status == 503
