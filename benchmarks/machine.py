"""What the figures were measured on, and with which versions."""

import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from benchmarks.contestants import Contestant, cores

__all__ = ["machine", "versions"]

_ASK = """
import importlib.metadata as m, json, sys
found = {"python": sys.version.split()[0]}
for name in sys.argv[1:]:
    try:
        found[name] = m.version(name)
    except m.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def machine() -> dict[str, str]:
    """The processor, memory and system; nothing that names this very machine."""
    about = Path("/proc/cpuinfo").read_text()
    processor = re.search(r"model name\s*:\s*(.+)", about)
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "processor": processor[1] if processor else platform.machine(),
        "cores": str(cores()),
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "h2load": _first_line("h2load", "--version"),
        "wrk": _first_line("wrk", "-v").split(" [")[0],
    }


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return (done.stdout + done.stderr).strip().partition("\n")[0]


def versions(contestants: Iterable[Contestant], environments: Path) -> dict[str, dict[str, str]]:
    """By contestant: the versions of Python and of the packages that matter."""
    found: dict[str, dict[str, str]] = {}
    for contestant in contestants:
        python = contestant.python(environments)
        if python.exists():
            command = [str(python), "-c", _ASK, *contestant.packages]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[contestant.name] = json.loads(done.stdout)
    return found
