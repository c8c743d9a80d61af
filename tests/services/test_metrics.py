"""What is counted of calls, and that it stays small."""

import time

from prometheus_client import generate_latest

from kitfox.errors import Code
from kitfox.metrics import CallMetrics, new_registry


def test_models_that_are_gone_are_counted_together() -> None:
    """Many come and go in a long life; the sums over models stay as they are."""
    known: set[str] = set()
    registry = new_registry()
    metrics = CallMetrics(registry, is_known=known.__contains__)
    for number in range(5000):
        name = f"trained-{number}"
        known.add(name)
        metrics.count("Predict", Code.OK, name, time.perf_counter())
        known.discard(f"trained-{number - 3}")
    page = generate_latest(registry).decode()
    counts = {
        line.partition("model_id=")[2].partition("}")[0]: float(line.split()[-1])
        for line in page.splitlines()
        if line.startswith("predict_rpc_count_total{")
    }
    assert sum(counts.values()) == 5000
    assert counts['"trained-4999"'] == 1
    assert len(counts) <= 2000
    assert '"trained-0"' not in counts
