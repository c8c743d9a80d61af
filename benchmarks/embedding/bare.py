"""How fast the model itself is, without any server: the limit that servers are measured against.

    python bare.py MODEL_FOLDER [--seconds 3] [--rounds 3] [--only NAME ...] [--json]

Each way of running gets the same sentences, of which it may see 32 at a time, as many as the
callers of a server have waiting. The ways take turns; the medians count, in sentences a second.
"""

import argparse
import itertools
import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from embedder import Embedder
from sentences import mixed_sentences

WAITING = 32

Way = Callable[[list[str]], object]
"""Runs the sentences that wait."""


def chunks(sentences: list[str], size: int) -> list[list[str]]:
    """The sentences in pieces of one size."""
    return [sentences[start : start + size] for start in range(0, len(sentences), size)]


def ways(folder: str, workers: int) -> dict[str, Way]:
    """All ways by name."""
    whole, single = Embedder(folder), Embedder(folder, threads=1)
    pool = ThreadPoolExecutor(workers)

    def parallel(embedder: Embedder, batches: list[list[str]]) -> object:
        return list(pool.map(embedder.embed, batches))

    def alike(sentences: list[str]) -> list[list[str]]:
        # The long ones first, so that the workers end at about the same time.
        return chunks(sorted(sentences, key=len, reverse=True), 8)

    return {
        "one by one": lambda waiting: [whole.embed([text]) for text in waiting],
        "parallel, one-thread": lambda waiting: parallel(single, chunks(waiting, 1)),
        "parallel, own threads": lambda waiting: parallel(whole, chunks(waiting, 1)),
        "sorted batches of 8": lambda waiting: [whole.embed(batch) for batch in alike(waiting)],
        "parallel sorted batches of 8": lambda waiting: parallel(single, alike(waiting)),
        "padded batches of 32": whole.embed,
    }


def rate(way: Way, batches: Iterator[list[str]], seconds: float) -> float:
    """Sentences a second over about so many seconds."""
    way(next(batches))
    count, begin = 0, time.perf_counter()
    while (passed := time.perf_counter() - begin) < seconds:
        waiting = next(batches)
        way(waiting)
        count += len(waiting)
    return count / passed


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", nargs="*", help="names of ways; all by default")
    parser.add_argument("--json", action="store_true", help="medians as one JSON object")
    options = parser.parse_args()
    chosen = {
        name: way
        for name, way in ways(options.folder, options.workers).items()
        if not options.only or name in options.only
    }
    found: dict[str, list[float]] = {name: [] for name in chosen}
    batches = itertools.cycle(chunks(mixed_sentences(), WAITING))
    for _ in range(options.rounds):
        for name, way in chosen.items():
            found[name].append(rate(way, batches, options.seconds))
    medians = {name: statistics.median(values) for name, values in found.items()}
    if options.json:
        print(json.dumps(medians))
        return
    print(f"{options.workers} workers, {threading.active_count()} Python threads; sentences/s")
    for name, value in sorted(medians.items(), key=lambda item: -item[1]):
        print(f"{name:<30}{value:>8.0f}   {min(found[name]):.0f} .. {max(found[name]):.0f}")


if __name__ == "__main__":
    main()
