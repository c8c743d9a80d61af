"""Tasks for text.

A module names those that it does and marks a method for each, with `EmbeddingTask.taskmethod()` for
one; the method has the task's parameters, any others with defaults, and the task's output.
"""

from collections.abc import Iterable

from kitfox.data import JsonDict
from kitfox.interfaces.nlp.data_model import (
    ChunkerTokenizationStreamResult,
    ClassificationResults,
    ClassifiedGeneratedTextResult,
    ClassifiedGeneratedTextStreamResult,
    EmbeddingResult,
    EmbeddingResults,
    GeneratedTextResult,
    GeneratedTextStreamResult,
    RerankResult,
    RerankResults,
    SentenceSimilarityResult,
    SentenceSimilarityResults,
    TokenClassificationResults,
    TokenClassificationStreamResult,
    TokenizationResults,
    TokenizationStreamResult,
)
from kitfox.modules import TaskBase, task

__all__ = [
    "ChunkerTokenizationTask",
    "ClassificationWithTextGenerationTask",
    "EmbeddingTask",
    "EmbeddingTasks",
    "RerankTask",
    "RerankTasks",
    "SentenceSimilarityTask",
    "SentenceSimilarityTasks",
    "TextClassificationTask",
    "TextGenerationTask",
    "TokenClassificationTask",
    "TokenizationTask",
]


@task(
    unary_parameters={"text": str},
    unary_output_type=GeneratedTextResult,
    streaming_output_type=Iterable[GeneratedTextStreamResult],
)
class TextGenerationTask(TaskBase):
    """Writes a text that goes on from, or answers, the given one."""


@task(
    unary_parameters={"text": str},
    unary_output_type=ClassifiedGeneratedTextResult,
    streaming_output_type=Iterable[ClassifiedGeneratedTextStreamResult],
)
class ClassificationWithTextGenerationTask(TaskBase):
    """Writes a text and labels pieces of it and of the input, for example what is unsuitable."""


@task(unary_parameters={"text": str}, unary_output_type=ClassificationResults)
class TextClassificationTask(TaskBase):
    """Labels a text as a whole."""


@task(
    unary_parameters={"text": str},
    streaming_parameters={"text_stream": Iterable[str]},
    unary_output_type=TokenClassificationResults,
    streaming_output_type=Iterable[TokenClassificationStreamResult],
)
class TokenClassificationTask(TaskBase):
    """Labels pieces of a text."""


@task(
    unary_parameters={"text": str},
    streaming_parameters={"text_stream": Iterable[str]},
    unary_output_type=TokenizationResults,
    streaming_output_type=Iterable[TokenizationStreamResult],
)
class TokenizationTask(TaskBase):
    """Cuts a text into pieces."""


@task(
    unary_parameters={"text": str},
    streaming_parameters={"text_stream": Iterable[str], "input_index_stream": Iterable[int]},
    unary_output_type=TokenizationResults,
    streaming_output_type=Iterable[ChunkerTokenizationStreamResult],
)
class ChunkerTokenizationTask(TaskBase):
    """Cuts a text into pieces, and of a streamed one tells which input each was made of."""


@task(unary_parameters={"text": str}, unary_output_type=EmbeddingResult)
class EmbeddingTask(TaskBase):
    """Turns a text into a vector."""


@task(unary_parameters={"texts": list[str]}, unary_output_type=EmbeddingResults)
class EmbeddingTasks(TaskBase):
    """Turns texts into vectors."""


@task(
    unary_parameters={"documents": list[JsonDict], "query": str},
    unary_output_type=RerankResult,
)
class RerankTask(TaskBase):
    """Orders documents by how well they answer a query."""


@task(
    unary_parameters={"documents": list[JsonDict], "queries": list[str]},
    unary_output_type=RerankResults,
)
class RerankTasks(TaskBase):
    """Orders documents by how well they answer each of several queries."""


@task(
    unary_parameters={"source_sentence": str, "sentences": list[str]},
    unary_output_type=SentenceSimilarityResult,
)
class SentenceSimilarityTask(TaskBase):
    """Tells how alike a sentence is to each of others."""


@task(
    unary_parameters={"source_sentences": list[str], "sentences": list[str]},
    unary_output_type=SentenceSimilarityResults,
)
class SentenceSimilarityTasks(TaskBase):
    """Tells how alike each of several sentences is to each of others."""
