"""Load on a server, made by `h2load` (gRPC) and `wrk` (HTTP/1.1), not by Python."""

import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestants import Target

__all__ = ["INSTALL", "Load", "LoadFailure", "framed", "missing_programs", "press", "press_calls"]

HERE = Path(__file__).resolve().parent
INSTALL = "h2load is in the package nghttp2 (Debian: nghttp2-client), wrk in wrk: `make bench`"


class LoadFailure(Exception):
    """A load that did not go as it should: its figures mean nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What a load generator saw."""

    rate: float
    """Answers a second."""
    calls: int
    """Answers altogether."""
    p50: float | None
    """Milliseconds within which half of the answers came; None where it was not noted."""
    p99: float | None
    """Milliseconds within which 99 of 100 came."""


def missing_programs(protocols: Collection[str] = ("grpc", "rest")) -> list[str]:
    """The load generators for some protocols that are not installed."""
    programs = {"grpc": "h2load", "rest": "wrk"}
    needed = [name for protocol, name in programs.items() if protocol in protocols]
    return [name for name in needed if shutil.which(name) is None]


def framed(message: bytes) -> bytes:
    """A message as gRPC sends it: not compressed, with its length in front."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def press(target: Target, *, callers: int, at_once: int, seconds: float) -> Load:
    """Asks for so many seconds.

    Args:
        target: What to ask.
        callers: The connections.
        at_once: The requests in flight on each of them; more than one only for gRPC.
        seconds: How long.

    Raises:
        LoadFailure: Answers were missing or wrong.
    """
    with tempfile.TemporaryDirectory(prefix="kitfox-load-") as name:
        folder = Path(name)
        if target.protocol == "grpc":
            length = ["-D", f"{round(seconds * 1000)}ms"]
            return _h2load(target, callers, at_once, length, folder)
        return _wrk(target, callers * at_once, seconds, folder)


def press_calls(target: Target, *, callers: int, at_once: int, calls: int) -> Load:
    """Asks so many times; gRPC only."""
    with tempfile.TemporaryDirectory(prefix="kitfox-load-") as name:
        return _h2load(target, callers, at_once, ["-n", str(calls)], Path(name))


def _h2load(target: Target, callers: int, at_once: int, length: list[str], folder: Path) -> Load:
    body, log = folder / "body", folder / "log"
    body.write_bytes(framed(target.bodies[0]))
    command = ["h2load", *length, "-c", str(callers), "-m", str(at_once), "-t", "1"]
    command += ["-d", str(body)]
    usual = {"content-type": "application/grpc", "te": "trailers"}
    for name, value in {**usual, **target.headers}.items():
        command += ["-H", f"{name}: {value}"]
    # A line for each call costs the generator time: only where calls are few.
    noted = callers * at_once == 1
    if noted:
        command += ["--log-file", str(log)]
    output = _run([*command, f"http://127.0.0.1:{target.port}{target.path}"])
    p50, p99 = _percentiles(log) if noted else (None, None)
    return read_h2load(output, p50=p50, p99=p99)


def read_h2load(output: str, *, p50: float | None = None, p99: float | None = None) -> Load:
    """What h2load printed.

    gRPC's errors are successes to it: they show by having no message in the answer.
    """
    rate = re.search(r"finished in [^,]+, ([\d.]+) req/s", output)
    counts = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", output)
    data = re.search(r"\((\d+)\) data", output)
    if not rate or not counts or not data:
        raise LoadFailure(f"h2load did not say what it saw:\n{output}")
    done, good, failed, errored = (int(text) for text in counts.groups())
    if not good or failed or errored:
        raise LoadFailure(f"of {done} calls {good} succeeded")
    if not int(data[1]):
        raise LoadFailure("no answer had a message: all calls failed")
    return Load(rate=float(rate[1]), calls=good, p50=p50, p99=p99)


def _percentiles(log: Path) -> tuple[float, float]:
    lines = log.read_text().splitlines()
    times = sorted(int(line.split("\t")[2]) / 1000 for line in lines)
    if not times:
        raise LoadFailure("no answer came")
    return statistics.median(times), times[min(len(times) - 1, int(len(times) * 0.99))]


def _wrk(target: Target, connections: int, seconds: float, folder: Path) -> Load:
    bodies = folder / "bodies"
    bodies.write_bytes(b"\n".join(target.bodies))
    script = "post.lua" if len(target.bodies) == 1 else "post_in_turns.lua"
    # wrk knows whole seconds only.
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"]
    command += ["--timeout", "30s", "-s", str(HERE / script)]
    for name, value in {"content-type": "application/json", **target.headers}.items():
        command += ["-H", f"{name}: {value}"]
    command += [f"http://127.0.0.1:{target.port}{target.path}", "--", target.method, str(bodies)]
    return read_wrk(_run(command))


def read_wrk(output: str) -> Load:
    """What wrk printed."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    calls = re.search(r"(\d+) requests in", output)
    if not rate or not calls:
        raise LoadFailure(f"wrk did not say what it saw:\n{output}")
    if "Non-2xx" in output or "Socket errors" in output or not int(calls[1]):
        raise LoadFailure(f"not all requests were answered:\n{output}")
    return Load(
        rate=float(rate[1]),
        calls=int(calls[1]),
        p50=_milliseconds(output, "50%"),
        p99=_milliseconds(output, "99%"),
    )


def _milliseconds(output: str, which: str) -> float | None:
    found = re.search(rf"^\s+{which}\s+([\d.]+)(us|ms|s|m) *$", output, re.MULTILINE)
    if not found:
        return None
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60000.0}[found[2]]


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LoadFailure(f"{command[0]} ended with {done.returncode}: {done.stderr}{done.stdout}")
    return done.stdout
