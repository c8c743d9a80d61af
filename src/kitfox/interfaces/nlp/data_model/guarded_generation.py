"""Texts that a language model wrote, with labels of their pieces and of the input's."""

import enum
from typing import Annotated

from kitfox.data import DataObjectBase, FieldNumber, dataobject
from kitfox.interfaces.nlp.data_model.classification import TokenClassificationResult
from kitfox.interfaces.nlp.data_model.generation import FinishReason, GeneratedToken
from kitfox.interfaces.scalars import UInt64

__all__ = [
    "ClassifiedGeneratedTextResult",
    "ClassifiedGeneratedTextStreamResult",
    "InputWarning",
    "InputWarningReason",
    "TextGenTokenClassificationResults",
]

_PACKAGE = "caikit_data_model.nlp"


@dataobject(package=_PACKAGE)
class InputWarningReason(enum.Enum):
    """What is the matter with an input."""

    UNSUITABLE_INPUT = 0


@dataobject(package=_PACKAGE)
class InputWarning(DataObjectBase):
    """What is the matter with an input, and a sentence about it."""

    id: Annotated[InputWarningReason, FieldNumber(1)]
    message: Annotated[str, FieldNumber(2)]


@dataobject(package=_PACKAGE)
class TextGenTokenClassificationResults(DataObjectBase):
    """The labels of pieces of the input, and of what the model wrote."""

    input: Annotated[list[TokenClassificationResult] | None, FieldNumber(10)]
    output: Annotated[list[TokenClassificationResult] | None, FieldNumber(20)]


@dataobject(package=_PACKAGE)
class ClassifiedGeneratedTextResult(DataObjectBase):
    """A text that a model wrote, and the labels."""

    generated_text: Annotated[str | None, FieldNumber(1)]
    token_classification_results: Annotated[
        TextGenTokenClassificationResults | None, FieldNumber(2)
    ]
    finish_reason: Annotated[FinishReason | None, FieldNumber(3)]
    generated_token_count: Annotated[int | None, FieldNumber(4)]
    seed: Annotated[UInt64 | None, FieldNumber(5)]
    """Of the random choice, where there was one."""
    input_token_count: Annotated[int | None, FieldNumber(6)]
    warnings: Annotated[list[InputWarning] | None, FieldNumber(9)]
    tokens: Annotated[list[GeneratedToken] | None, FieldNumber(10)]
    """What the model wrote, token by token."""
    input_tokens: Annotated[list[GeneratedToken] | None, FieldNumber(11)]


@dataobject(package=_PACKAGE)
class ClassifiedGeneratedTextStreamResult(ClassifiedGeneratedTextResult):
    """The next part of a text that a model writes, and its labels."""

    processed_index: Annotated[int | None, FieldNumber(7)]
    """How far the text is processed."""
    start_index: Annotated[int | None, FieldNumber(8)]
    """Where the part begins."""
