"""MLServer: the runtimes of the models. Its adaptive batching is set in the model's settings."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

sys.path.append(str(Path(__file__).resolve().parents[1]))
import tasks


def text(name: str, values: list[str]) -> ResponseOutput:
    """An output of text."""
    return StringCodec.encode_output(name, values)


class Hello(MLModel):
    """Greets once or many times, and gives back what comes."""

    async def load(self) -> bool:
        """There is nothing to load."""
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The work."""
        (name,) = StringCodec.decode_input(payload.inputs[0])
        greeting = name if payload.inputs[0].name == "text" else tasks.hello(name)
        return self._answer([text("greeting", [greeting])])

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        """Many greetings."""
        async for payload in payloads:
            (name,) = StringCodec.decode_input(payload.inputs[0])
            for greeting in tasks.greetings(name):
                yield self._answer([text("greeting", [greeting])])

    def _answer(self, outputs: list[ResponseOutput]) -> InferenceResponse:
        return InferenceResponse(model_name=self.name, outputs=outputs)


class Embedding(MLModel):
    """Embeds sentences, in parallel processes."""

    async def load(self) -> bool:
        """Loads the model."""
        self.embedder: Any = tasks.embedder()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """A batch."""
        rows = self.embedder.embed(StringCodec.decode_input(payload.inputs[0]))
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("values", rows)]
        )
