"""The library of the sentence-embedding model."""

from .model import Embedding, EmbeddingModule, EmbeddingTask

__all__ = ["Embedding", "EmbeddingModule", "EmbeddingTask"]
