"""LitServe; its arguments are SUITE and PORT.

Batches of up to 32 within 10 ms for the model, a worker for each processor.
"""

import json
import sys
from pathlib import Path
from typing import Any

import litserve

sys.path.append(str(Path(__file__).resolve().parents[1]))
import tasks


class Hello(litserve.LitAPI):
    """Greets."""

    def setup(self, device: str) -> None:
        """There is nothing to load."""

    def decode_request(self, request: dict[str, Any]) -> str:
        """Takes the name."""
        return str(request["name"])

    def predict(self, name: str) -> str:
        """The work."""
        return tasks.hello(name)

    def encode_response(self, output: str) -> dict[str, str]:
        """Makes the answer."""
        return {"greeting": output}


class Stream(Hello):
    """Greets many times."""

    def predict(self, name: str) -> Any:
        """The work."""
        yield from tasks.greetings(name)

    def encode_response(self, outputs: Any) -> Any:
        """Makes the parts of the answer."""
        for output in outputs:
            yield f"data: {json.dumps({'greeting': output})}\n\n"


class Echo(litserve.LitAPI):
    """Gives back what comes."""

    def setup(self, device: str) -> None:
        """There is nothing to load."""

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """The work."""
        return request


class Embedding(litserve.LitAPI):
    """Embeds sentences."""

    def setup(self, device: str) -> None:
        """Loads the model."""
        self.embedder = tasks.embedder()

    def decode_request(self, request: dict[str, Any]) -> str:
        """Takes the sentence."""
        return str(request["text"])

    def batch(self, inputs: list[str]) -> list[str]:
        """Text is batched as it is."""
        return list(inputs)

    def predict(self, sentences: list[str]) -> Any:
        """The work."""
        return self.embedder.embed(sentences)

    def unbatch(self, output: Any) -> list[Any]:
        """A row a sentence."""
        return list(output)

    def encode_response(self, output: Any) -> dict[str, Any]:
        """Makes the answer."""
        return {"values": output.tolist()}


if __name__ == "__main__":
    suite, port = sys.argv[1], int(sys.argv[2])
    made: dict[str, Any] = {
        "hello": lambda: litserve.LitServer(Hello(), accelerator="cpu"),
        "stream": lambda: litserve.LitServer(Stream(stream=True), accelerator="cpu"),
        "echo": lambda: litserve.LitServer(Echo(), accelerator="cpu"),
        "embedding": lambda: litserve.LitServer(
            Embedding(max_batch_size=32, batch_timeout=0.01),
            accelerator="cpu",
            workers_per_device=tasks.workers(),
        ),
    }
    made[suite]().run(host="127.0.0.1", port=port, generate_client_file=False, log_level="warning")
