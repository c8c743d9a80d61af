"""Texts cut into pieces: words, sentences, chunks."""

from typing import Annotated

from kitfox.data import DataObjectBase, FieldNumber, dataobject

__all__ = [
    "ChunkerTokenizationStreamResult",
    "Token",
    "TokenizationResults",
    "TokenizationStreamResult",
]

_PACKAGE = "caikit_data_model.nlp"


@dataobject(package=_PACKAGE)
class Token(DataObjectBase):
    """A piece of a text and where it stands: `text[start:end]`."""

    start: Annotated[int, FieldNumber(1)]
    end: Annotated[int, FieldNumber(2)]
    text: Annotated[str, FieldNumber(3)]


@dataobject(package=_PACKAGE)
class TokenizationResults(DataObjectBase):
    """The pieces of a text."""

    results: Annotated[list[Token] | None, FieldNumber(1)]
    token_count: Annotated[int | None, FieldNumber(4)]
    """How many tokens the model counts, which need not be how many pieces there are."""


@dataobject(package=_PACKAGE)
class TokenizationStreamResult(TokenizationResults):
    """The pieces of the next part of a streamed text."""

    processed_index: Annotated[int | None, FieldNumber(2)]
    """How far the text is processed."""
    start_index: Annotated[int | None, FieldNumber(3)]
    """Where the part begins."""


@dataobject(package=_PACKAGE)
class ChunkerTokenizationStreamResult(TokenizationStreamResult):
    """The same, with the elements of the input stream that the pieces were made of."""

    input_start_index: Annotated[int | None, FieldNumber(20)]
    """The index of the first element."""
    input_end_index: Annotated[int | None, FieldNumber(21)]
    """The index of the last element."""
