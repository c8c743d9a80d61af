"""The short form of `make fuzz`: the same few thousand cases each time."""

import random
import subprocess
import sys

from kitfox.services.protocols import protocol_methods
from tests.conftest import ROOT
from tests.fuzz.cases import Maker
from tests.fuzz.mutations import mutate_bytes, mutate_json, mutate_message, varint, write_json
from tests.fuzz.targets import Offer


def test_a_few_thousand_cases_find_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--cases", "3000", "--seed", "4"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3,000 cases" in done.stdout


def test_cases_follow_from_their_seed() -> None:
    """What was found can be shown again."""
    offer = Offer(methods=tuple(protocol_methods()), models=("one", "two"))
    first, second, other = (Maker([offer], seed) for seed in (4, 4, 5))
    cases = [first.make(number) for number in range(200)]
    assert cases == [second.make(number) for number in range(200)]
    assert cases != [other.make(number) for number in range(200)]


def test_mutations_change_something() -> None:
    chance = random.Random(1)  # noqa: S311 -- no secret
    message = varint(1 << 3 | 2) + varint(3) + b"abc" + varint(2 << 3) + varint(7)
    value = {"a": [1, {"b": "c"}], "d": None}
    changed = [
        [mutate_message(message, chance) for _ in range(100)],
        [mutate_bytes(message, chance, b"other") for _ in range(100)],
    ]
    for found in changed:
        assert sum(item != message for item in found) > 80
    texts = [write_json(mutate_json(value, chance), chance) for _ in range(100)]
    assert sum(text != write_json(value, chance) for text in texts) > 80
    assert value == {"a": [1, {"b": "c"}], "d": None}
