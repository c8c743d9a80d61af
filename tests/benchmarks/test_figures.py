"""What load generators print, and what becomes of it."""

import json
from pathlib import Path

import pytest
from benchmarks.bodies import TEXT, field, path_message
from benchmarks.chart import bar_chart
from benchmarks.load import LoadFailure, framed, read_h2load, read_wrk
from benchmarks.measurement import Figures, Results
from benchmarks.profile import Profile, read_stacks, room_of
from benchmarks.report import Report, rows
from benchmarks.work import WORKS, Work, chosen_works

H2LOAD = """
finished in 1.00s, 1234.50 req/s, 120.31KB/s
requests: 1250 total, 1250 started, 1234 done, {good} succeeded, {bad} failed, 0 errored, 0 timeout
status codes: 1234 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 60.16KB (61604) total, 17.36KB (17776) headers (space savings 9%), 24.42KB ({data}) data
"""
WRK = """Running 1s test @ http://127.0.0.1:1/x
  1 threads and 4 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     8.16ms   10.07ms  60.64ms   87.04%
  Latency Distribution
     50%  421.00us
     75%    8.95ms
     90%   19.91ms
     99%    1.05s{space}
  3910 requests in 1.00s, 630.03KB read
Requests/sec:   3905.13
""".format(space=" ")  # wrk pads a unit of one letter
WORK = Work(name="hello.grpc-32", title="Some work", main="rate", target="grpc")


def test_what_h2load_prints_is_read() -> None:
    load = read_h2load(H2LOAD.format(good=1234, bad=0, data=25006))
    assert (load.rate, load.calls) == (1234.5, 1234)


@pytest.mark.parametrize(("good", "bad", "data"), [(1230, 4, 25006), (0, 0, 0), (1234, 0, 0)])
def test_calls_that_fail_are_no_figures(good: int, bad: int, data: int) -> None:
    """h2load takes a gRPC error for a success: its answers have no message."""
    with pytest.raises(LoadFailure):
        read_h2load(H2LOAD.format(good=good, bad=bad, data=data))


def test_what_wrk_prints_is_read() -> None:
    load = read_wrk(WRK)
    assert (load.rate, load.calls, load.p50, load.p99) == (3905.13, 3910, 0.421, 1050.0)


@pytest.mark.parametrize("line", ["  Non-2xx or 3xx responses: 7", "  Socket errors: connect 1"])
def test_requests_that_fail_are_no_figures(line: str) -> None:
    with pytest.raises(LoadFailure):
        read_wrk(f"{WRK}{line}\n")


def test_messages_are_written_as_protobuf_writes_them() -> None:
    assert framed(field(1, field(1, "World"))) == b"\0\0\0\0\x09\x0a\x07\x0a\x05World"
    assert field(2, 300) == b"\x10\xac\x02"
    assert field(3, 0.5) == b"\x19\0\0\0\0\0\0\xe0\x3f"
    assert path_message().count(b"point ") == 100
    assert len(TEXT) == 2**20


def figures(metric: str, *values: float) -> list[Figures]:
    """One of each round; 0 for a round that it was not measured in."""
    found = [{metric: value, "round": number} for number, value in enumerate(values)]
    return [item for item in found if item[metric]]


def test_ratios_are_taken_within_a_round() -> None:
    """A machine that slows down in the middle changes no ratio, nor does a round left out."""
    ours = figures("rate", 100, 10, 80, 80)
    best, worst = rows(WORK, {"Kitfox": ours, "other": figures("rate", 50, 5, 0, 20)})
    assert (best.contestant, best.ratio, best.spread) == ("Kitfox", None, (10, 100))
    assert worst.ratio == (2.0, 2.0, 4.0)


def test_less_is_better_where_time_is_measured() -> None:
    work = Work(name="hello.start", title="Start", main="seconds")
    table = {"other": figures("seconds", 2.0), "Kitfox": figures("seconds", 1.0)}
    first, second = rows(work, table)
    assert [first.contestant, second.contestant] == ["Kitfox", "other"]
    assert second.ratio == (2.0, 2.0, 2.0)


def test_the_page_says_where_somebody_else_is_better(tmp_path: Path) -> None:
    results = Results()
    results.add("hello.grpc-32", "Kitfox", {"rate": 100.0})
    results.add("hello.grpc-32", "quick", {"rate": 200.0, "p50": 1.0})
    results.fail("hello", "broken", "it did not start\nat all")
    report = Report(results, about={"cores": "2"}, versions={"quick": {"x": "1"}}, peers=["quick"])
    report.write_page(tmp_path / "page.md", tmp_path / "charts")
    report.write_json(tmp_path / "figures.json")
    page = (tmp_path / "page.md").read_text()
    assert "quick is 2.00 times as good." in page
    assert "broken could not be measured in every round: it did not start" in page
    assert "(charts/hello.grpc-32.svg)" in page
    assert (tmp_path / "charts" / "hello.grpc-32.svg").exists()
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written["figures"]["hello.grpc-32"]["quick"] == [{"rate": 200.0, "p50": 1.0, "round": 0}]


def test_a_chart_has_a_bar_for_each_and_no_markup_from_names() -> None:
    chart = bar_chart("A & B", "per second", [("<a>", 2000.0), ("b", 1.0)], "b")
    assert chart.count("<rect") == 2
    assert "&lt;a&gt;" in chart
    assert "2,000" in chart


def test_work_is_chosen_by_suite_or_in_full() -> None:
    assert {work.suite for work in chosen_works(["stream", "hello.start"])} == {"stream", "hello"}
    assert len(chosen_works(["hello.start"])) == 1
    assert not any(work.suite == "flat" for work in chosen_works([]))
    with pytest.raises(ValueError, match="no work is called 'helo': expected one of data, "):
        chosen_works(["helo"])


def test_names_of_works_are_unique() -> None:
    assert len({work.name for work in WORKS}) == len(WORKS)


def test_time_is_shared_out_by_room() -> None:
    """The innermost function says where the interpreter was; Envoy's own time stands beside."""
    stacks = read_stacks(
        "thread (0x1): x;run (/x/kitfox/server/app.py:1);serve (/x/kitfox/models/executor.py:7) 3\n"
        "thread (0x2): x;run (/x/threading.py:1);greet (/project/hello.py:3) 1\n"
    )
    profile = Profile(rate=1000.0, envoy=10.0, python=40.0, stacks=stacks)
    assert profile.rooms() == [
        ("kitfox: models", 30.0),
        ("the model", 10.0),
        ("Envoy", 10.0),
    ]
    assert profile.functions(1) == [("serve (models/executor.py)", 0.75)]


@pytest.mark.parametrize(
    ("frame", "room"),
    [
        ("wait (/usr/lib/python3.11/threading.py:5)", "Python's library"),
        ("read_fields (<kitfox Row read fields>)", "kitfox: data"),
        ("get (/x/kitfox/metrics.py:5)", "kitfox: metrics"),
        ("loads (/v/lib/python3.11/site-packages/tqdm/std.py:5)", "package tqdm"),
    ],
)
def test_a_function_belongs_to_a_room(frame: str, room: str) -> None:
    assert room_of(frame) == room
