"""What a server's configuration tells its workers: variables of their environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

__all__ = ["WorkerSettings"]

_CHECKPOINTS = "KITFOX_WORKER_CHECKPOINTS"
_DIGEST_BYTES = "KITFOX_WORKER_DIGEST_BYTES"


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSettings:
    """How workers work."""

    checkpoints: int = 2
    """How many checkpoints of a running training are kept."""
    digest_bytes: int = 1 << 30
    """How much training data of one job is given digests, in bytes."""

    def environ(self) -> dict[str, str]:
        """The variables that tell a worker, to be given to a launcher."""
        return {_CHECKPOINTS: str(self.checkpoints), _DIGEST_BYTES: str(self.digest_bytes)}

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """What a worker was told; the defaults where nothing was said."""
        given = {
            "checkpoints": environ.get(_CHECKPOINTS),
            "digest_bytes": environ.get(_DIGEST_BYTES),
        }
        return cls(**{name: int(text) for name, text in given.items() if text is not None})
