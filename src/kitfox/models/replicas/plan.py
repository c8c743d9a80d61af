"""What is to be started: the same for all replicas of a model but for their devices."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kitfox.models.cores import library_environment

__all__ = ["Plan"]

# What an embedding process needs to find its Python.
_NOT_FOR_REPLICAS = ("LD_PRELOAD", "PYTHONHOME")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is the same for all replicas of a model."""

    model: str
    """The model's id."""
    path: Path
    """Where it lies."""
    threads: int
    """How many calls a replica runs at the same time."""
    replicas: int = 1
    """How many replicas there are."""
    devices: tuple[str, ...] = ()
    """Where the replicas are placed, one after the other."""
    libraries: tuple[str, ...] = ()
    """The packages without which the model cannot be loaded."""
    other_libraries: tuple[str, ...] = ()
    """Packages whose modules the model may contain."""
    python_path: tuple[str, ...] = ()
    """Where Python looks for packages."""
    python: str = ""
    """The interpreter; `sys.executable` if empty."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """Variables for the replicas, added to the server's own."""
    log_level: int = 20
    """What a replica logs."""

    def device(self, index: int) -> str:
        """Where a replica is placed; empty where nothing is said."""
        return self.devices[index % len(self.devices)] if self.devices else ""

    def environment(self, index: int) -> dict[str, str]:
        """The variables of a replica."""
        variables = {k: v for k, v in os.environ.items() if k not in _NOT_FOR_REPLICAS}
        variables |= self.environ
        variables |= library_environment(self.threads, variables, processes=self.replicas)
        device = self.device(index)
        if device:
            variables["KITFOX_DEVICE"] = device
        kind, _, number = device.partition(":")
        if kind == "cuda" and number:
            # The only device that it sees; to the library it is number 0.
            variables["CUDA_VISIBLE_DEVICES"] = number
        return variables
