"""How fast the model itself is, without any server: the limit that servers are measured against.

    python bare.py MODEL_FOLDER [--seconds 3] [--rounds 3] [--only NAME ...] [--models 1] [--json]

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


class Several:
    """Models of the same kind, asked in turns."""

    def __init__(self, folder: str, models: int, threads: int = 0) -> None:
        self._turns = itertools.cycle([Embedder(folder, threads) for _ in range(models)])

    def embed(self, sentences: list[str]) -> object:
        """What one of them answers."""
        return next(self._turns).embed(sentences)


Way = Callable[[Iterator[list[str]], float], float]
"""Runs what waits, 32 sentences at a time, for so many seconds; sentences a second."""


def chunks(sentences: list[str], size: int) -> list[list[str]]:
    """The sentences in pieces of one size."""
    return [sentences[start : start + size] for start in range(0, len(sentences), size)]


def alike(sentences: list[str]) -> list[list[str]]:
    """Batches of 8 of about the same length; the long ones first, so that workers end together."""
    return chunks(sorted(sentences, key=len, reverse=True), 8)


def in_turn(run: Callable[[list[str]], object]) -> Way:
    """All that waits, then all that waits then."""

    def way(waiting: Iterator[list[str]], seconds: float) -> float:
        count, begin = 0, time.perf_counter()
        while (passed := time.perf_counter() - begin) < seconds:
            sentences = next(waiting)
            run(sentences)
            count += len(sentences)
        return count / passed

    return way


def one_each(embedder: Several, workers: int) -> Way:
    """Each worker takes the next sentence when it is done with one, and waits for nobody."""

    def way(waiting: Iterator[list[str]], seconds: float) -> float:
        sentences = itertools.chain.from_iterable(waiting)
        lock, begin = threading.Lock(), time.perf_counter()

        def work() -> int:
            count = 0
            while time.perf_counter() - begin < seconds:
                with lock:
                    sentence = next(sentences)
                embedder.embed([sentence])
                count += 1
            return count

        with ThreadPoolExecutor(workers) as pool:
            counts = [pool.submit(work) for _ in range(workers)]
            total = sum(count.result() for count in counts)
        return total / (time.perf_counter() - begin)

    return way


def ways(folder: str, models: int, workers: int) -> dict[str, Way]:
    """All ways by name."""
    whole, single = Several(folder, models), Several(folder, models, threads=1)
    pool = ThreadPoolExecutor(workers)
    return {
        "one by one": one_each(whole, 1),
        "parallel with one thread each": one_each(single, workers),
        "parallel with their own threads": one_each(whole, workers),
        "sorted batches of 8": in_turn(lambda waiting: list(map(whole.embed, alike(waiting)))),
        "parallel sorted batches of 8": in_turn(
            lambda waiting: list(pool.map(single.embed, alike(waiting)))
        ),
        "padded batches of 32": in_turn(whole.embed),
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", type=int, default=1, help="how many of them, asked in turns")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", nargs="*", help="names of ways; all by default")
    parser.add_argument("--json", action="store_true", help="medians as one JSON object")
    options = parser.parse_args()
    chosen = {
        name: way
        for name, way in ways(options.folder, options.models, options.workers).items()
        if not options.only or name in options.only
    }
    found: dict[str, list[float]] = {name: [] for name in chosen}
    waiting = itertools.cycle(chunks(mixed_sentences(), WAITING))
    for way in chosen.values():
        way(waiting, 0.2)
    for _ in range(options.rounds):
        for name, way in chosen.items():
            found[name].append(way(waiting, options.seconds))
    medians = {name: statistics.median(values) for name, values in found.items()}
    if options.json:
        print(json.dumps(medians))
        return
    print(f"{options.workers} workers, {threading.active_count()} Python threads; sentences/s")
    for name, value in sorted(medians.items(), key=lambda item: -item[1]):
        print(f"{name:<30}{value:>8.0f}   {min(found[name]):.0f} .. {max(found[name]):.0f}")


if __name__ == "__main__":
    main()
