"""BentoML. Serve `server:Hello`, `server:Embedding`: adaptive batching for the model."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bentoml

sys.path.append(str(Path(__file__).resolve().parents[1]))
import tasks


@bentoml.service
class Hello:
    """Greets once or many times, and gives back what comes."""

    @bentoml.api
    def hello(self, name: str) -> dict[str, str]:
        """The work."""
        return {"greeting": tasks.hello(name)}

    @bentoml.api
    def stream(self, name: str) -> Iterator[str]:
        """Greetings in parts."""
        for greeting in tasks.greetings(name):
            yield f'data: {{"greeting": "{greeting}"}}\n\n'

    @bentoml.api
    def echo(self, text: str) -> dict[str, str]:
        """The same text."""
        return {"text": text}


@bentoml.service(workers=tasks.workers(), traffic={"timeout": 60})
class Embedding:
    """Embeds sentences."""

    def __init__(self) -> None:
        self.embedder = tasks.embedder()

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=10_000)
    def embed(self, text: list[str]) -> list[list[float]]:
        """A batch."""
        found: Any = self.embedder.embed(list(text)).tolist()
        return found  # type: ignore[no-any-return]
