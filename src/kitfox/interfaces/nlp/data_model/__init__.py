"""Data objects for text, of the packages `caikit_data_model.nlp` and `...caikit_nlp`."""

from kitfox.interfaces.nlp.data_model.classification import (
    ClassificationResult,
    ClassificationResults,
    ClassificationTrainRecord,
    TokenClassificationResult,
    TokenClassificationResults,
    TokenClassificationStreamResult,
)
from kitfox.interfaces.nlp.data_model.embedding import EmbeddingResult, EmbeddingResults
from kitfox.interfaces.nlp.data_model.generation import (
    FinishReason,
    GeneratedTextResult,
    GeneratedTextStreamResult,
    GeneratedToken,
    TokenStreamDetails,
)
from kitfox.interfaces.nlp.data_model.guarded_generation import (
    ClassifiedGeneratedTextResult,
    ClassifiedGeneratedTextStreamResult,
    InputWarning,
    InputWarningReason,
    TextGenTokenClassificationResults,
)
from kitfox.interfaces.nlp.data_model.reranking import (
    RerankResult,
    RerankResults,
    RerankScore,
    RerankScores,
)
from kitfox.interfaces.nlp.data_model.sentence_similarity import (
    SentenceSimilarityResult,
    SentenceSimilarityResults,
    SentenceSimilarityScores,
)
from kitfox.interfaces.nlp.data_model.tokens import (
    ChunkerTokenizationStreamResult,
    Token,
    TokenizationResults,
    TokenizationStreamResult,
)

__all__ = [
    "ChunkerTokenizationStreamResult",
    "ClassificationResult",
    "ClassificationResults",
    "ClassificationTrainRecord",
    "ClassifiedGeneratedTextResult",
    "ClassifiedGeneratedTextStreamResult",
    "EmbeddingResult",
    "EmbeddingResults",
    "FinishReason",
    "GeneratedTextResult",
    "GeneratedTextStreamResult",
    "GeneratedToken",
    "InputWarning",
    "InputWarningReason",
    "RerankResult",
    "RerankResults",
    "RerankScore",
    "RerankScores",
    "SentenceSimilarityResult",
    "SentenceSimilarityResults",
    "SentenceSimilarityScores",
    "TextGenTokenClassificationResults",
    "Token",
    "TokenClassificationResult",
    "TokenClassificationResults",
    "TokenClassificationStreamResult",
    "TokenStreamDetails",
    "TokenizationResults",
    "TokenizationStreamResult",
]
