"""What is measured: each work asks one target of a suite in one way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["METRICS", "WORKS", "Metric", "Work", "chosen_works"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A figure."""

    title: str
    """Its column in tables."""
    better: Literal["more", "less"]
    """Which way is good."""


METRICS = {
    "rate": Metric(title="per second", better="more"),
    "p50": Metric(title="p50 (ms)", better="less"),
    "p99": Metric(title="p99 (ms)", better="less"),
    "cpu": Metric(title="CPU s per 1,000", better="less"),
    "seconds": Metric(title="seconds", better="less"),
    "milliseconds": Metric(title="milliseconds", better="less"),
    "rss": Metric(title="RSS (MB)", better="less"),
    "pss": Metric(title="PSS (MB)", better="less"),
    "more": Metric(title="more memory (MB)", better="less"),
    "growth": Metric(title="growth (%)", better="less"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """One row of what is measured."""

    name: str
    """`suite.name`, as it is chosen on the command line."""
    title: str
    """What it is, in words."""
    main: str
    """The metric that counts."""
    target: str = ""
    """What is asked; empty for what is seen without asking."""
    callers: int = 1
    """Connections."""
    at_once: int = 1
    """Requests in flight on each of them."""
    longer: float = 1.0
    """How many times as long as others it is loaded: some answer a few times a second."""
    baseline: str = "Kitfox"
    """The contestant that the others are compared with."""

    @property
    def suite(self) -> str:
        """The suite that it belongs to."""
        return self.name.partition(".")[0]


def _loads(suite: str, where: str = "", baseline: str = "Kitfox") -> tuple[Work, ...]:
    return (
        Work(
            name=f"{suite}.grpc-32",
            title=f"gRPC unary{where}, 32 in flight",
            main="rate",
            target="grpc",
            baseline=baseline,
            callers=4,
            at_once=8,
        ),
        Work(
            name=f"{suite}.grpc-1",
            title=f"gRPC unary{where}, one at a time",
            main="p50",
            target="grpc",
            baseline=baseline,
        ),
        Work(
            name=f"{suite}.rest-32",
            title=f"REST unary{where}, 32 in flight",
            main="rate",
            target="rest",
            baseline=baseline,
            callers=32,
        ),
        Work(
            name=f"{suite}.rest-1",
            title=f"REST unary{where}, one at a time",
            main="p50",
            target="rest",
            baseline=baseline,
        ),
    )


def _lists(**filters: str) -> tuple[Work, ...]:
    """Pages of jobs, by the names and the words of filters."""
    return tuple(
        Work(
            name=f"training.list-{name}",
            title=f"100 of 100,000 trainings, by {words}",
            main="milliseconds",
            baseline="job store",
        )
        for name, words in filters.items()
    )


def _pair(suite: str, title: str, callers: int, at_once: int = 1) -> tuple[Work, ...]:
    """The same work over gRPC and over REST."""
    in_flight = callers * at_once
    return (
        Work(
            name=f"{suite}.grpc-{in_flight}",
            title=title.format("gRPC"),
            main="rate",
            target="grpc",
            callers=callers,
            at_once=at_once,
        ),
        Work(
            name=f"{suite}.rest-{in_flight}",
            title=title.format("server-sent events" if suite == "stream" else "REST"),
            main="rate",
            target="rest",
            callers=in_flight,
        ),
    )


WORKS = (
    Work(name="hello.start", title="Start to first right answer", main="seconds"),
    Work(name="hello.memory", title="Memory at rest, after the first answer", main="rss"),
    *_loads("hello"),
    Work(
        name="hello.grpc-128",
        title="gRPC unary, 128 in flight",
        main="rate",
        target="grpc",
        callers=4,
        at_once=32,
    ),
    *_pair("stream", "Messages in streams of 500 over {}, 4 callers", 4),
    *_pair("payload", "1 MiB in and out over {}, 4 callers", 4),
    *_pair("nested", "100 nested objects in and out over {}, 32 in flight", 4, 8),
    Work(
        name="embedding.rest-32",
        title="Sentence embedding, sentences of mixed length, 32 callers",
        main="rate",
        target="rest",
        callers=32,
        longer=3.0,
    ),
    Work(
        name="four.rest-32",
        title="Four such models at once, 32 callers",
        main="rate",
        target="rest",
        callers=32,
        longer=3.0,
    ),
    *_loads("modes", " by execution mode", "inline"),
    Work(
        name="models.start",
        title="Start to ready, by number of model folders",
        main="seconds",
        baseline="one model folder",
    ),
    Work(
        name="models.first-call",
        title="First call of a model that is not loaded, beside loading it directly",
        main="milliseconds",
        baseline="very many model folders",
    ),
    Work(
        name="data.csv",
        title="Rows of a CSV file of four columns into typed objects",
        main="rate",
    ),
    Work(
        name="training.overhead",
        title="An empty training, from its submission to its end",
        main="milliseconds",
    ),
    Work(name="training.rate", title="Empty trainings, many at once", main="rate"),
    *_lists(
        all="age",
        state="one state",
        unfinished="all states that are not final",
        model="a model's name",
        module="a module's name",
        text="a part of a model's name",
        id="an id",
        nothing="a pattern that nothing fits",
        oldest="the oldest ones",
        several="module, states and a part of a name",
    ),
    *(
        Work(
            name=f"training.submit-{name}",
            title=f"A submission on the disk, {title}",
            main="p99",
            baseline="job store",
        )
        for name, title in (
            ("idle", "nothing else to do"),
            ("queued", "1,000 waiting, others ending"),
        )
    ),
    Work(
        name="flat.memory",
        title="Memory after many calls, beside after 10,000",
        main="growth",
        target="grpc",
        callers=4,
        at_once=8,
    ),
)


def chosen_works(names: Sequence[str]) -> list[Work]:
    """The works of the named suites, and those named in full; all but `flat` without names.

    Raises:
        ValueError: A name is none of either.
    """
    if not names:
        return [work for work in WORKS if work.suite != "flat"]
    found = [work for work in WORKS if work.name in names or work.suite in names]
    for name in names:
        if not any(name in (work.name, work.suite) for work in found):
            known = sorted({work.suite for work in WORKS})
            raise ValueError(
                f"no work is called {name!r}: expected one of {', '.join(known)}, or one of "
                f"their parts, such as {WORKS[2].name}"
            )
    return found
