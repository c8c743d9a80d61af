"""What Prometheus reads of how models are run: of those that are loaded, and of no others."""

import asyncio

from prometheus_client import generate_latest

from kitfox import metrics
from kitfox.metrics import ExecutionFigures
from kitfox.models import InThreads
from kitfox.models.tuning import Plan
from kitfox.modules import ModuleBase
from tests.models.models_under_test import Answer, call, opened


def test_a_model_that_is_gone_has_no_rows() -> None:
    figures = {"fox": ExecutionFigures(calls=3, limit=2, waiting=5, queue_seconds=1.5)}
    registry = metrics.new_registry()
    metrics.watch_executions(registry, figures.items)
    text = generate_latest(registry).decode()
    assert 'model_calls_waiting{model_id="fox"} 5.0' in text
    assert 'model_queue_seconds_sum{model_id="fox"} 1.5' in text
    assert 'model_queue_seconds_count{model_id="fox"} 3.0' in text
    assert "model_batch_size_bucket" not in text
    figures.clear()
    assert "fox" not in generate_latest(registry).decode()


def test_batches_are_counted_by_size() -> None:
    class Pairs(ModuleBase):
        def run(self, text: str) -> Answer:
            return Answer(text=text)

        def run_batch(self, text: list[str]) -> list[Answer]:
            return [Answer(text=item) for item in text]

    async def scenario() -> str:
        # Nothing runs before two are there.
        async with opened(
            Pairs, threads=1, max_batch_size=2, max_batch_delay_seconds=30
        ) as execution:
            assert isinstance(execution, InThreads)
            execution.follow(Plan(parallel=1, size=2))
            await asyncio.gather(*(call(execution, "x") for _ in range(6)))
            registry = metrics.new_registry()
            metrics.watch_executions(registry, lambda: [("fox", execution.figures())])
            return generate_latest(registry).decode()

    text = asyncio.run(scenario())
    assert 'model_batch_size_bucket{le="1",model_id="fox"} 0.0' in text
    assert 'model_batch_size_bucket{le="2",model_id="fox"} 3.0' in text
    assert 'model_batch_size_sum{model_id="fox"} 6.0' in text
