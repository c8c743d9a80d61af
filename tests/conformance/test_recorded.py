"""Every exchange that was recorded from caikit 0.29.0 is answered as it was, on every engine.

Where an answer differs, `allowances.py`, `differences.py` or `answers.py` says so, and why; what
these say and is not so fails as well.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.allowances import allowances
from tests.conformance.answers import ANSWERS
from tests.conformance.differences import DIFFERENT, pattern_of
from tests.conformance.library_server import LibraryServer, running
from tests.conformance.recorded import LIBRARIES, Library, Outcome, replay, step_names


class Replays:
    """The outcomes of each library's exchanges, sent once for each engine."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.outcomes = cache(self._replayed)

    def _replayed(self, engine: str, name: str) -> dict[str, Outcome]:
        library = LIBRARIES[name]
        root = library.assemble(self._place / engine)
        made = LibraryServer(root, {"SERVER_ENGINE": engine}, package=library.package)
        with running(made) as server:
            if name == "example":  # its models are asked for before they are used
                server.wait_for_models()
            http = server.url.removeprefix("http://")
            return replay(library, root, http=http, grpc=server.address)


@pytest.fixture(scope="session")
def replays(tmp_path_factory: pytest.TempPathFactory) -> Replays:
    return Replays(tmp_path_factory.mktemp("recorded"))


LONG = ("hypercorn", "trainlab")
"""An engine with a library that takes minutes and tells least, after all else."""


def exchanges(engine: str) -> Iterator[Any]:
    """The library and name of each exchange, with what is known of it."""
    for library in LIBRARIES.values():
        for name in step_names(library):
            marks = [pytest.mark.long] if (engine, library.name) == LONG else []
            if pattern := pattern_of(library.name, name):
                why = DIFFERENT[library.name][pattern]
                marks.append(pytest.mark.xfail(strict=True, reason=why))
            yield pytest.param(library, name, marks=marks, id=f"{library.name}-{name}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.function.__name__ == "test_exchange":
        metafunc.parametrize(("library", "name"), list(exchanges(metafunc.cls.engine)))


@pytest.mark.timeout(600)
class Exchanges:
    """On one engine. A class's tests run in one process, so that exchanges are sent once."""

    engine = ""

    def test_exchange(self, replays: Replays, library: Library, name: str) -> None:
        outcome = replays.outcomes(self.engine, library.name)[name]
        allowed = allowances(self.engine, library.name)
        better = ANSWERS[library.name].get(name)
        if better is not None:
            better.check(outcome, allowed)
        else:
            assert outcome.is_same(allowed), outcome

    @pytest.mark.long
    def test_what_is_allowed_is_needed(self, replays: Replays) -> None:
        needed: set[str] = set()
        certain: set[str] = set()
        for library in LIBRARIES:
            allowed = allowances(self.engine, library)
            outcomes = replays.outcomes(self.engine, library).values()
            certain |= {item.name for item in allowed if not item.by_chance}
            needed |= {
                item.name for item in allowed if any(one.needs(item, allowed) for one in outcomes)
            }
        assert certain <= needed

    @pytest.mark.parametrize("library", ["flows", "kinds"])
    def test_the_recordings_own_tool_finds_the_same(
        self, replays: Replays, tmp_path: Path, library: str
    ) -> None:
        """As anybody would run it, from its command line."""
        known = LIBRARIES[library]
        folder = known.assemble(tmp_path)
        server = f"{sys.executable} -m kitfox.caikit ../tools/serve.py {{package}}"
        done = subprocess.run(
            [
                *(sys.executable, "-W", "ignore", str(tmp_path / "tools" / "exchange.py")),
                *("check", str(folder), known.package, "--loose", "--server", server),
            ],
            env={**os.environ, "SERVER_ENGINE": self.engine, "SERVER_ADDRESS": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        outcomes = replays.outcomes(self.engine, library)
        different = [name.partition("~")[0] for name, one in outcomes.items() if not one.is_same()]
        found = re.findall(r"^DIFFERENT (\S+)", done.stdout, re.MULTILINE)
        assert found == different, done.stderr


class TestOnEnvoy(Exchanges):
    engine = "envoy"


class TestOnHypercorn(Exchanges):
    engine = "hypercorn"


@pytest.mark.parametrize("library", LIBRARIES.values(), ids=LIBRARIES)
def test_a_better_answer_is_known_for_every_defect_of_the_recording(library: Library) -> None:
    assert list(ANSWERS[library.name]) == list(library.quirks)
    assert library.quirks.keys() <= set(step_names(library))


@pytest.mark.parametrize("library", DIFFERENT)
def test_every_pattern_names_exchanges(library: str) -> None:
    names = step_names(LIBRARIES[library])
    found = {pattern for name in names if (pattern := pattern_of(library, name))}
    assert found == DIFFERENT[library].keys()
