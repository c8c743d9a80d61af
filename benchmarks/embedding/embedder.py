"""The model that every server here serves: sentences in, vectors out.

Plainly written, as its author would before thinking of servers: a tokenizer and a session with the
library's own settings.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


class Embedder:
    """Makes vectors of sentences.

    Args:
        folder: Holds `model.onnx` and `tokenizer.json`.
        threads: How many threads one run may take; 0 is what the library thinks best.
    """

    def __init__(self, folder: str | Path, threads: int = 0) -> None:
        self._tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        self._tokenizer.enable_truncation(256)
        self._tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(str(Path(folder) / "model.onnx"), options)

    def embed(self, sentences: list[str]) -> Any:
        """One row of 384 numbers a sentence; the sentences are padded to the longest of them."""
        encoded = self._tokenizer.encode_batch(sentences)
        ids = np.array([item.ids for item in encoded], np.int64)
        mask = np.array([item.attention_mask for item in encoded], np.int64)
        return self._session.run(None, {"ids": ids, "mask": mask})[0]
