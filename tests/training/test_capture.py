"""Bars of tqdm that become the progress of a training."""

import contextlib
import importlib
import io
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tqdm as library  # type: ignore[import-untyped] # has no types
import tqdm.std  # type: ignore[import-untyped] # as above

from kitfox.training import Job
from kitfox.training.capture import captured_bars
from kitfox.training.jobs import Progress
from kitfox.training.progress import JobContext

pytestmark = pytest.mark.filterwarnings("ignore::tqdm.std.TqdmMonitorWarning")


@pytest.fixture
def context(make_job: Callable[..., Job]) -> Iterator[JobContext]:
    found = JobContext(make_job(attempt=1))
    with captured_bars(found.note_bar):
        yield found


def progress(context: JobContext) -> Progress:
    assert context.progress is not None
    return context.progress


def bar(*args: Any, **kwargs: Any) -> Any:
    """A bar that shows each step at once."""
    return library.tqdm(*args, mininterval=0, miniters=1, **kwargs)


def test_a_bar_is_the_progress(context: JobContext, capsys: pytest.CaptureFixture[str]) -> None:
    seen = [progress(context).step for _ in bar(range(4), desc="learning")]
    assert seen == [0, 1, 2, 3]
    assert (progress(context).step, progress(context).total) == (4, 4)
    assert (progress(context).fraction, progress(context).message) == (1.0, "learning")
    assert capsys.readouterr() == ("", ""), "the bar itself is not drawn"


def test_the_outermost_bar_counts(context: JobContext) -> None:
    for epoch in bar(range(3)):
        for _ in bar(range(10), leave=False):
            assert (progress(context).step, progress(context).total) == (epoch, 3)
    assert progress(context).step == 3
    for _ in bar(range(7)):
        pass
    assert (progress(context).step, progress(context).total) == (7, 7), "one after the other"


def test_figures_of_all_bars_are_metrics(context: JobContext) -> None:
    with bar(total=2) as outer, bar(total=2) as inner:
        outer.set_postfix(accuracy=0.5, phase="warm-up")
        inner.set_postfix({"loss": "0.25"}, refresh=False)
        outer.update(1)
    assert progress(context).metrics == {"accuracy": 0.5, "loss": 0.25}
    assert progress(context).step == 1


def test_what_train_reports_wins(context: JobContext) -> None:
    with bar(total=10) as shown:
        shown.update(3)
        context.report(1, 2, loss=1.0)
        shown.update(3)
        shown.set_postfix(loss=0.5)
    found = progress(context)
    assert (found.step, found.total, found.metrics) == (1, 2, {"loss": 0.5})


def test_bars_of_several_threads(context: JobContext) -> None:
    """The one that was opened first counts, whoever else draws."""
    with bar(total=5) as first:
        threads = [threading.Thread(target=lambda: list(bar(range(100)))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        first.update(2)
        assert (progress(context).step, progress(context).total) == (2, 5)


def test_a_bar_that_is_closed_early(context: JobContext) -> None:
    for item in (shown := bar(range(100))):
        if item == 30:
            shown.close()
            break
    with contextlib.suppress(ValueError), bar(total=9) as other:
        other.update(2)
        raise ValueError
    assert (progress(context).step, progress(context).total) == (2, 9)
    for _ in bar(range(3)):
        pass
    assert (progress(context).step, progress(context).total) == (3, 3)


def test_without_a_total_there_is_no_fraction(context: JobContext) -> None:
    for _ in bar(iter("abc")):
        pass
    assert (progress(context).step, progress(context).total) == (3, None)
    assert progress(context).fraction is None


def test_bars_that_want_a_terminal_and_bars_that_are_off(context: JobContext) -> None:
    for _ in bar(range(3), disable=True):
        pass
    assert context.progress is None
    for _ in bar(range(2), None, None, True, sys.stdout, disable=None):
        pass
    assert progress(context).step == 2


def test_a_file_of_the_authors_own_is_drawn_to(context: JobContext) -> None:
    file = io.StringIO()
    for _ in bar(range(2), file=file):
        pass
    assert "2/2" in file.getvalue()
    assert progress(context).step == 2


@pytest.mark.parametrize("name", ["tqdm.auto", "tqdm.asyncio"])
def test_other_classes_of_bars(context: JobContext, name: str) -> None:
    for _ in importlib.import_module(name).tqdm(range(6)):
        pass
    assert progress(context).step == 6


def test_afterwards_bars_are_what_they_were(make_job: Callable[..., Job]) -> None:
    before = dict(vars(tqdm.std.tqdm))
    with captured_bars(JobContext(make_job()).note_bar):
        assert vars(tqdm.std.tqdm)["close"] is not before["close"]
    assert vars(tqdm.std.tqdm)["close"] is before["close"]
    assert vars(tqdm.std.tqdm)["__init__"] is before["__init__"]


def test_a_library_that_is_imported_later() -> None:
    script = """
import sys
from kitfox.training.capture import captured_bars
seen = []
finders = list(sys.meta_path)
with captured_bars(lambda done, total, metrics, label: seen.append((done, total, label))):
    assert "tqdm" not in sys.modules
    from tqdm import tqdm
    import inspect, tqdm.std
    assert inspect.getsource(tqdm.std)
    list(tqdm.tqdm(range(3), desc="late"))
assert sys.meta_path == finders
print(seen[-1])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("(3.0, 3.0, 'late')", "")
