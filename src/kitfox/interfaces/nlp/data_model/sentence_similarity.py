"""How alike sentences are."""

from typing import Annotated

from kitfox.data import DataObjectBase, FieldNumber, dataobject
from kitfox.interfaces.common.data_model.producer import ProducerId

__all__ = ["SentenceSimilarityResult", "SentenceSimilarityResults", "SentenceSimilarityScores"]

_PACKAGE = "caikit_data_model.caikit_nlp"


@dataobject(package=_PACKAGE)
class SentenceSimilarityScores(DataObjectBase):
    """How alike a source sentence is to each of the others, in their order."""

    scores: Annotated[list[float], FieldNumber(1)]


@dataobject(package=_PACKAGE)
class SentenceSimilarityResult(DataObjectBase):
    """The scores of one source sentence."""

    result: Annotated[SentenceSimilarityScores, FieldNumber(1)]
    producer_id: Annotated[ProducerId, FieldNumber(2)]
    input_token_count: Annotated[int | None, FieldNumber(3)]


@dataobject(package=_PACKAGE)
class SentenceSimilarityResults(DataObjectBase):
    """The scores of several source sentences, in their order."""

    results: Annotated[list[SentenceSimilarityScores], FieldNumber(1)]
    producer_id: Annotated[ProducerId, FieldNumber(2)]
    input_token_count: Annotated[int | None, FieldNumber(3)]
    """Of all sentences together."""
