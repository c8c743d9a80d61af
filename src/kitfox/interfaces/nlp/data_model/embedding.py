"""Texts as vectors."""

from typing import Annotated

from kitfox.data import DataObjectBase, FieldNumber, dataobject
from kitfox.interfaces.common.data_model.producer import ProducerId
from kitfox.interfaces.common.data_model.vectors import ListOfVector1D, Vector1D

__all__ = ["EmbeddingResult", "EmbeddingResults"]

_PACKAGE = "caikit_data_model.caikit_nlp"


@dataobject(package=_PACKAGE)
class EmbeddingResult(DataObjectBase):
    """The vector of a text."""

    result: Annotated[Vector1D, FieldNumber(1)]
    producer_id: Annotated[ProducerId, FieldNumber(2)]
    input_token_count: Annotated[int | None, FieldNumber(3)]


@dataobject(package=_PACKAGE)
class EmbeddingResults(DataObjectBase):
    """The vectors of several texts, in their order."""

    results: Annotated[ListOfVector1D, FieldNumber(1)]
    producer_id: Annotated[ProducerId, FieldNumber(2)]
    input_token_count: Annotated[int | None, FieldNumber(3)]
    """Of all texts together."""
