"""A sentence in, a vector out."""

import sys
from pathlib import Path

from kitfox import DataObjectBase, ModuleBase, TaskBase, dataobject, module, task

sys.path.append(str(Path(__file__).resolve().parents[2]))

from embedder import Embedder


@dataobject("embedding")
class Embedding(DataObjectBase):
    """The vector of a sentence."""

    values: list[float]


@task(unary_parameters={"text": str}, unary_output_type=Embedding)
class EmbeddingTask(TaskBase):
    """Turns a sentence into a vector."""


@module("c0ffee00-0000-4000-8000-00000000e3be", "Embedding", "1.0.0", EmbeddingTask)
class EmbeddingModule(ModuleBase):
    """MiniLM on ONNX Runtime."""

    def __init__(self, embedder: Embedder) -> None:
        """Takes the loaded model."""
        super().__init__()
        self._embedder = embedder

    @EmbeddingTask.taskmethod()
    def run(self, text: str) -> Embedding:
        """The vector of one sentence."""
        return Embedding(self._embedder.embed([text])[0].tolist())

    def run_batch(self, text: list[str]) -> list[Embedding]:
        """The vectors of several sentences."""
        return [Embedding(row.tolist()) for row in self._embedder.embed(text)]

    @classmethod
    def load(cls, model_path: str) -> "EmbeddingModule":
        """Reads the network and the tokenizer."""
        return cls(Embedder(model_path))
