"""What the modules note of themselves, for tests to ask about."""

import collections
import json
import threading


class Journal:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: collections.Counter[str] = collections.Counter()

    def note(self, event: str) -> None:
        with self._lock:
            self._counts[event] += 1

    def read(self) -> str:
        with self._lock:
            return json.dumps(self._counts)


journal = Journal()
