"""Imports point one way, and what a room exports is what it says."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "kitfox"

# Each room may import those that stand before it in its row, and the files that belong to all.
EVERYBODYS = {"errors", "logs", "config", "metrics", "__init__"}
MAY_IMPORT = {
    "config": set(),
    "data": set(),
    "interfaces": {"data", "modules"},
    "modules": {"data", "interfaces"},
    "training": {"data", "modules", "caikit"},
    "models": {"data", "modules", "caikit"},
    "services": {"data", "modules", "interfaces", "models", "training", "caikit"},
    "export": {"data", "modules", "interfaces", "services"},
    # `export` only when somebody asks for the documents: a test below keeps it so.
    "server": {"data", "models", "services", "export"},
    "client": {"data", "services"},
    "cli": {"data", "modules", "models", "training", "services", "server", "export"},
    # Names only: they are looked up by text.
    "caikit": {"toolkit"},
    "toolkit": {
        *("data", "modules", "interfaces", "models", "training", "services", "server", "client"),
        *("caikit", "export"),
    },
}


def imports_of(room: str) -> dict[str, set[str]]:
    """The rooms that each file of a room imports."""
    found: dict[str, set[str]] = {}
    for file in (SOURCE / room).rglob("*.py"):
        names = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                if node.module == "kitfox":
                    names |= {f"kitfox.{alias.name}" for alias in node.names}
                else:
                    names.add(node.module)
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
        rooms = {name.split(".")[1] for name in names if name.startswith("kitfox.")}
        found[str(file.relative_to(SOURCE))] = {
            name for name in rooms if not name.startswith("__")
        } - {room}
    return found


def test_every_room_has_its_rule() -> None:
    rooms = {item.name for item in SOURCE.iterdir() if (item / "__init__.py").exists()}
    assert rooms == MAY_IMPORT.keys()


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    allowed = MAY_IMPORT[room] | EVERYBODYS
    wrong = {file: rooms - allowed for file, rooms in imports_of(room).items()}
    assert {file: rooms for file, rooms in wrong.items() if rooms} == {}


def test_a_server_starts_without_what_makes_documents() -> None:
    script = (
        "import kitfox.server.app, sys; print([n for n in sys.modules if 'kitfox.export' in n])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_what_watches_over_envoy_does_without_asyncio() -> None:
    """It takes as much memory as the rest of that process."""
    script = "import kitfox.server, kitfox.server.launch, sys; print('asyncio' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_data_needs_nothing_of_ours_but_errors() -> None:
    used = set().union(*imports_of("data").values())
    assert used <= {"errors"}


@pytest.mark.parametrize("room", ["data", "modules", "models", "training", "services", "server"])
def test_the_names_that_a_room_exports_exist(room: str) -> None:
    module = importlib.import_module(f"kitfox.{room}")
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
