"""mosec; its arguments are SUITE and PORT.

Batches of up to 32 within 10 ms for the model, a process for each processor.
"""

import sys
from pathlib import Path
from typing import Any

from mosec import Server, SSEWorker, Worker

sys.path.append(str(Path(__file__).resolve().parents[1]))
import tasks


class Hello(Worker):
    """Greets."""

    def forward(self, data: dict[str, Any]) -> dict[str, str]:
        """The work."""
        return {"greeting": tasks.hello(data["name"])}


class Stream(SSEWorker):
    """Greets many times."""

    def forward(self, data: dict[str, Any]) -> dict[str, str]:
        """The work."""
        for greeting in tasks.greetings(data["name"]):
            self.send_stream_event(greeting)
        return {}


class Echo(Worker):
    """Gives back what comes."""

    def forward(self, data: dict[str, Any]) -> dict[str, Any]:
        """The work."""
        return data


class Embedding(Worker):
    """Embeds sentences."""

    def __init__(self) -> None:
        super().__init__()
        self.embedder = tasks.embedder()

    def forward(self, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """A batch."""
        rows = self.embedder.embed([item["text"] for item in data])
        return [{"values": row.tolist()} for row in rows]


if __name__ == "__main__":
    suite, port = sys.argv[1:3]
    sys.argv[1:] = ["--address", "127.0.0.1", "--port", port, "--timeout", "60000"]
    server = Server()
    if suite == "embedding":
        server.append_worker(Embedding, num=tasks.workers(), max_batch_size=32, max_wait_time=10)
    else:
        server.append_worker({"hello": Hello, "stream": Stream, "echo": Echo}[suite])
    server.run()
