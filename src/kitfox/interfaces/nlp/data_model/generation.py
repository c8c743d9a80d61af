"""Texts that a language model wrote."""

import enum
from typing import Annotated

from kitfox.data import DataObjectBase, FieldNumber, dataobject
from kitfox.interfaces.common.data_model.producer import ProducerId
from kitfox.interfaces.scalars import UInt32, UInt64

__all__ = [
    "FinishReason",
    "GeneratedTextResult",
    "GeneratedTextStreamResult",
    "GeneratedToken",
    "TokenStreamDetails",
]

_PACKAGE = "caikit_data_model.nlp"


@dataobject(package=_PACKAGE)
class FinishReason(enum.Enum):
    """Why a model wrote no further."""

    NOT_FINISHED = 0
    """It is still writing."""
    MAX_TOKENS = 1
    """It wrote as many tokens as it was asked for."""
    EOS_TOKEN = 2
    """It wrote the token that ends a text."""
    CANCELLED = 3
    TIME_LIMIT = 4
    STOP_SEQUENCE = 5
    """It wrote one of the texts that it was to stop at."""
    TOKEN_LIMIT = 6
    """It has room for no more tokens."""
    ERROR = 7


@dataobject(package=_PACKAGE)
class GeneratedToken(DataObjectBase):
    """A token and how likely it was."""

    text: Annotated[str, FieldNumber(1)]
    logprob: Annotated[float | None, FieldNumber(3)]
    """The logarithm of its probability."""
    rank: Annotated[int | None, FieldNumber(4)]
    """Among all tokens at its place; the likeliest has 1."""


@dataobject(package=_PACKAGE)
class GeneratedTextResult(DataObjectBase):
    """A text that a model wrote."""

    generated_text: Annotated[str, FieldNumber(1)]
    generated_tokens: Annotated[int, FieldNumber(2)]
    """How many tokens the model wrote."""
    finish_reason: Annotated[FinishReason, FieldNumber(3)]
    producer_id: Annotated[ProducerId, FieldNumber(4)]
    input_token_count: Annotated[int, FieldNumber(5)]
    seed: Annotated[UInt64 | None, FieldNumber(6)]
    """Of the random choice, where there was one."""
    tokens: Annotated[list[GeneratedToken] | None, FieldNumber(7)]
    """What the model wrote, token by token."""
    input_tokens: Annotated[list[GeneratedToken] | None, FieldNumber(8)]


@dataobject(package=_PACKAGE)
class TokenStreamDetails(DataObjectBase):
    """How far the writing has come."""

    finish_reason: Annotated[FinishReason, FieldNumber(1)]
    generated_tokens: Annotated[UInt32, FieldNumber(2)]
    """How many tokens the model wrote until now."""
    seed: Annotated[UInt64 | None, FieldNumber(3)]
    """Of the random choice, where there was one."""
    input_token_count: Annotated[int, FieldNumber(4)]


@dataobject(package=_PACKAGE)
class GeneratedTextStreamResult(DataObjectBase):
    """The next part of a text that a model writes."""

    generated_text: Annotated[str, FieldNumber(1)]
    tokens: Annotated[list[GeneratedToken] | None, FieldNumber(2)]
    """The part, token by token."""
    details: Annotated[TokenStreamDetails | None, FieldNumber(3)]
    producer_id: Annotated[ProducerId, FieldNumber(4)]
    input_tokens: Annotated[list[GeneratedToken] | None, FieldNumber(5)]
