"""Fuzzes the application: `python -m tests.fuzz --cases 1000000`; or, with `--engine envoy` or
`--engine hypercorn`, a server with that engine, through sockets.

Ends with status 1 when something went wrong; each finding names the case that makes it again:
`python -m tests.fuzz --seed SEED --case NUMBER` shows that case, its answer, and what is wrong.
"""

import argparse
import asyncio
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from tests.fuzz.campaign import Campaign, Figures
from tests.fuzz.cases import Maker
from tests.fuzz.in_process import InProcess
from tests.fuzz.over_sockets import fuzzed_server
from tests.fuzz.targets import started


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000, help="how many")
    parser.add_argument("--seconds", type=float, default=None, help="end after so long")
    parser.add_argument("--seed", type=int, default=None, help="from which all cases follow")
    parser.add_argument("--case", type=int, default=None, help="the number of a single case")
    parser.add_argument("--engine", default=None, choices=("envoy", "hypercorn"))
    given = parser.parse_args()
    seed = secrets.randbelow(1 << 32) if given.seed is None else given.seed
    with tempfile.TemporaryDirectory(prefix="kitfox-fuzz-") as folder:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(_run(Path(folder), seed, given))
        finally:
            sys.stdout.flush()


async def _run(folder: Path, seed: int, given: argparse.Namespace) -> int:
    async with _campaign(folder, seed, given.engine) as campaign:
        print(f"seed {seed}", flush=True)
        if given.case is not None:
            await _show(campaign, given.case)
        else:
            await campaign.run(given.cases, seconds=given.seconds, say=_say)
            _summarize(campaign.figures)
        options = f"--engine {given.engine} " if given.engine else ""
        for finding in campaign.findings:
            place = f"{options}--seed {seed} --case {finding.number}"
            place = place if finding.number >= 0 else "no case"
            print(f"\nFINDING ({place}): {finding.text}", flush=True)
        print(f"\n{len(campaign.findings)} findings", flush=True)
        return 1 if campaign.findings else 0


@asynccontextmanager
async def _campaign(folder: Path, seed: int, engine: str | None) -> AsyncIterator[Campaign]:
    if engine is not None:
        async with fuzzed_server(folder, engine, seed) as campaign:
            yield campaign
        return
    async with started(folder) as targets:
        yield InProcess(targets, Maker(targets, seed))


async def _show(campaign: Campaign, number: int) -> None:
    case = campaign.maker.make(number)
    for name in case.__slots__:
        print(f"{name}: {getattr(case, name)!r}")
    with campaign.watching():
        sent = await campaign.play(number)
        await campaign.look()
    for message in sent:
        print(f"  {message!r}"[:2000])


def _say(figures: Figures) -> None:
    rate = figures.cases / figures.seconds
    memory = figures.memory[-1] >> 20
    print(f"{figures.cases:>9,} cases  {rate:,.0f}/s  {memory} MiB", flush=True)


def _summarize(figures: Figures) -> None:
    print("outcomes:", ", ".join(f"{name} {n:,}" for name, n in sorted(figures.outcomes.items())))
    seconds, number = figures.slowest
    print(f"slowest: {seconds:.3f} s (case {number})")


if __name__ == "__main__":
    status = main()
    # Threads of models that are never asked again must not keep the process.
    os._exit(status)
