"""Which program speaks HTTP: Envoy where it can run, else hypercorn."""

from dataclasses import dataclass
from typing import Literal

from kitfox.errors import FailedPrecondition
from kitfox.server import envoy

__all__ = ["Engine", "choose"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """What was chosen."""

    name: Literal["envoy", "hypercorn"]
    sentence: str
    """For the log: which it is, and why."""


def choose(wanted: Literal["auto", "envoy", "hypercorn"]) -> Engine:
    """Chooses the engine by the setting `server.engine`.

    Raises:
        FailedPrecondition: Envoy is wanted and cannot run here.
    """
    if wanted == "hypercorn":
        return Engine(name="hypercorn", sentence="Serving with hypercorn, as server.engine says")
    obstacle = envoy.obstacle()
    if not obstacle:
        sentence = f"Serving with Envoy {envoy.version()}".rstrip()
        if envoy.express_library() is None:
            sentence += (
                ", more slowly than it might: its filter for quick calls was not compiled, or not "
                "for this Envoy"
            )
        return Engine(name="envoy", sentence=sentence)
    if wanted == "envoy":
        raise FailedPrecondition(f"server.engine is envoy, and Envoy cannot run: {obstacle}")
    return Engine(name="hypercorn", sentence=f"Serving with hypercorn: {obstacle}")
