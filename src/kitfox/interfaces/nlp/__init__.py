"""Data objects and tasks for text: generation, classification, tokens, embeddings, reranking."""

from kitfox.interfaces.nlp import data_model, tasks

__all__ = ["data_model", "tasks"]
