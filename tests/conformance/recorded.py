"""Exchanges that were recorded from caikit 0.29.0, sent again and compared.

A recording (`tests/golden/LIBRARY/golden/exchanges.jsonl`) is a list of requests and answers, in
order: later ones use what earlier ones gave. `replay` sends the requests to a running server and
gives an `Outcome` for each. What sends and compares is the recording's own tool,
`tests/golden/tools/exchange.py`, so that its command line says the same.
"""

import copy
import importlib.util
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.conformance.allowances import Allowance

__all__ = ["LIBRARIES", "Library", "Outcome", "replay", "step_names"]

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """A sample library whose exchanges were recorded."""

    name: str
    """What it is called here and in the tables."""
    package: str
    """The Python package that the server serves."""
    folder: Path
    """Configuration, models, data, and the recording in `golden`."""
    descriptors: Path
    """The recorded descriptors of all that was served."""

    def assemble(self, place: Path) -> Path:
        """Lays the library out below a folder as the recording's tool expects it."""
        root = place / self.name
        ignore = shutil.ignore_patterns("__pycache__", "proto", "consolidated")
        shutil.copytree(self.folder, root, ignore=ignore)
        shutil.copy(self.descriptors, root / "golden" / "descriptors.binpb")
        shutil.copytree(GOLDEN / "tools", place / "tools", ignore=ignore, dirs_exist_ok=True)
        return root

    @property
    def quirks(self) -> dict[str, str]:
        """The exchanges where another answer is better, each with what was wrong."""
        text = (self.folder / "golden" / "quirks.json").read_text(encoding="utf-8")
        found: dict[str, str] = json.loads(text)
        return found

    @property
    def steps(self) -> Iterator[dict[str, Any]]:
        """The recorded exchanges in order."""
        with (self.folder / "golden" / "exchanges.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)


def _library(name: str, package: str, folder: str = "", descriptors: str = "") -> Library:
    return Library(
        name=name,
        package=package,
        folder=GOLDEN / (folder or name),
        descriptors=GOLDEN / (descriptors or name) / "descriptors.binpb",
    )


LIBRARIES = {
    library.name: library
    for library in (
        _library("example", "example"),
        _library("kinds", "kinds", folder="kinds_for_caikit", descriptors="kinds"),
        _library("flows", "flows"),
        _library("faults", "faults"),
        _library("trainlab", "trainlab"),
        _library("textkit", "caikit_textkit"),
    )
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One exchange: what was recorded and what was found, both without ids, times and texts."""

    wanted: dict[str, Any]
    """The recorded answer."""
    found: dict[str, Any]
    """The server's answer; `{"error": ...}` when there was none."""
    whole: dict[str, Any]
    """The server's answer with its texts and ids."""

    def is_same(self, allowed: Sequence[Allowance] = ()) -> bool:
        """Whether nothing differs but what is allowed to."""
        wanted, found = copy.deepcopy(self.wanted), copy.deepcopy(self.found)
        for allowance in allowed:
            allowance.remove(wanted)
            allowance.remove(found)
        return wanted == found

    def needs(self, allowance: Allowance, allowed: Sequence[Allowance]) -> bool:
        """Whether it is the same by this allowance only."""
        others = [item for item in allowed if item is not allowance]
        return self.is_same(allowed) and not self.is_same(others)

    @property
    def code(self) -> Any:
        """The HTTP status or the name of the gRPC code."""
        return self.found.get("status", self.found.get("code"))

    @property
    def json(self) -> Any:
        """The body of an HTTP answer, or the single message of a gRPC one."""
        if "body" in self.whole:
            return json.loads(self.whole["body"])
        (message,) = self.whole["messages"]
        return message["json"]

    def __str__(self) -> str:
        texts = (
            f"recorded {json.dumps(self.wanted)}",
            f"found    {json.dumps(self.found)}",
            f"whole    {json.dumps(self.whole)}",
        )
        return "\n".join(text[:3000] for text in texts)


def step_names(library: Library) -> list[str]:
    """The exchanges' ids; one that comes again gets a number, `value~2`."""
    seen: Counter[str] = Counter()
    names = []
    for step in library.steps:
        seen[step["id"]] += 1
        count = seen[step["id"]]
        names.append(step["id"] if count == 1 else f"{step['id']}~{count}")
    return names


def replay(library: Library, root: Path, *, http: str, grpc: str) -> dict[str, Outcome]:
    """Sends all requests to a server that was started in `root`.

    Args:
        library: What was recorded.
        root: Where `Library.assemble` put it.
        http: Host and port of the server's REST listener.
        grpc: Host and port of its gRPC listener.
    """
    tool = _tool()
    types = tool.Types(str(library.descriptors))
    runner = tool.Runner(types, http, grpc, str(root))
    outcomes = {}
    try:
        for name, step in zip(step_names(library), library.steps, strict=True):
            recorded = step.pop("response")
            try:
                answer = runner.run(step)
            except Exception as err:  # noqa: BLE001 -- one that has no answer is reported as such
                answer = {"error": f"{type(err).__name__}: {err}"}
            outcomes[name] = Outcome(
                wanted=_comparable(tool, recorded),
                found=_comparable(tool, answer),
                whole=answer,
            )
    finally:
        runner.channel.close()
    return outcomes


def _comparable(tool: ModuleType, answer: dict[str, Any]) -> dict[str, Any]:
    """An answer as the tool's `check --loose` compares it."""
    plain: dict[str, Any] = tool.strip_volatile(answer)
    plain.pop("details", None)
    if isinstance(plain.get("body"), dict):
        for key in ("details", "additional_info"):
            plain["body"].pop(key, None)
    return plain


def _tool() -> ModuleType:
    place = GOLDEN / "tools" / "exchange.py"
    spec = importlib.util.spec_from_file_location("recorded_exchange_tool", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
