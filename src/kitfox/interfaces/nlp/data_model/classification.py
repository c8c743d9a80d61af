"""Labels of texts and of pieces of texts."""

from typing import Annotated

from kitfox.data import DataObjectBase, FieldNumber, dataobject

__all__ = [
    "ClassificationResult",
    "ClassificationResults",
    "ClassificationTrainRecord",
    "TokenClassificationResult",
    "TokenClassificationResults",
    "TokenClassificationStreamResult",
]

_PACKAGE = "caikit_data_model.nlp"


@dataobject(package=_PACKAGE)
class ClassificationTrainRecord(DataObjectBase):
    """An example to train a classifier with."""

    text: Annotated[str, FieldNumber(1)]
    labels: Annotated[list[str], FieldNumber(2)]


@dataobject(package=_PACKAGE)
class ClassificationResult(DataObjectBase):
    """A label of a text and how sure the model is of it."""

    label: Annotated[str, FieldNumber(1)]
    score: Annotated[float, FieldNumber(2)]


@dataobject(package=_PACKAGE)
class ClassificationResults(DataObjectBase):
    """The labels of a text."""

    results: Annotated[list[ClassificationResult], FieldNumber(1)]


@dataobject(package=_PACKAGE)
class TokenClassificationResult(DataObjectBase):
    """A label of a piece of a text, and where the piece stands: `text[start:end]`."""

    start: Annotated[int, FieldNumber(1)]
    end: Annotated[int, FieldNumber(2)]
    word: Annotated[str, FieldNumber(3)]
    """The piece."""
    entity: Annotated[str, FieldNumber(4)]
    """The label."""
    entity_group: Annotated[str, FieldNumber(5)]
    """The kind of label."""
    score: Annotated[float, FieldNumber(6)]
    """How sure the model is."""
    token_count: Annotated[int | None, FieldNumber(7)]


@dataobject(package=_PACKAGE)
class TokenClassificationResults(DataObjectBase):
    """The labels of the pieces of a text."""

    results: Annotated[list[TokenClassificationResult], FieldNumber(1)]


@dataobject(package=_PACKAGE)
class TokenClassificationStreamResult(TokenClassificationResults):
    """The labels of the pieces of the next part of a streamed text."""

    processed_index: Annotated[int | None, FieldNumber(2)]
    """How far the text is processed."""
    start_index: Annotated[int | None, FieldNumber(3)]
    """Where the part begins."""
