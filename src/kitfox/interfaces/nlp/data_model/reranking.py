"""Documents in the order in which they answer a query."""

from typing import Annotated

from kitfox.data import DataObjectBase, FieldNumber, JsonDict, dataobject
from kitfox.interfaces.common.data_model.producer import ProducerId

__all__ = ["RerankResult", "RerankResults", "RerankScore", "RerankScores"]

_PACKAGE = "caikit_data_model.caikit_nlp"


@dataobject(package=_PACKAGE)
class RerankScore(DataObjectBase):
    """How well a document answers the query."""

    document: Annotated[JsonDict | None, FieldNumber(1)]
    """As it was given, where the caller wants it back."""
    index: Annotated[int, FieldNumber(2)]
    """Its place among the documents that were given."""
    score: Annotated[float, FieldNumber(3)]
    text: Annotated[str | None, FieldNumber(4)]
    """Of the document, where the caller wants it back."""


@dataobject(package=_PACKAGE)
class RerankScores(DataObjectBase):
    """The documents for one query, the best first."""

    query: Annotated[str | None, FieldNumber(1)]
    """As it was given, where the caller wants it back."""
    scores: Annotated[list[RerankScore], FieldNumber(2)]


@dataobject(package=_PACKAGE)
class RerankResult(DataObjectBase):
    """The answer to one query."""

    result: Annotated[RerankScores, FieldNumber(1)]
    producer_id: Annotated[ProducerId, FieldNumber(2)]
    input_token_count: Annotated[int | None, FieldNumber(3)]


@dataobject(package=_PACKAGE)
class RerankResults(DataObjectBase):
    """The answers to several queries, in their order."""

    results: Annotated[list[RerankScores], FieldNumber(1)]
    producer_id: Annotated[ProducerId, FieldNumber(2)]
    input_token_count: Annotated[int | None, FieldNumber(3)]
    """Of all queries and documents together."""
