"""What is to be started: the same for all replicas of a model but for their devices."""

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kitfox.models.cores import library_environment
from kitfox.models.replicas.batches import BatchSettings
from kitfox.modules import ModuleBase, module_registry

__all__ = ["Plan", "ReplicaSettings", "make_plan"]

_MOST_THREADS = 4

# What an embedding process needs to find its Python.
_NOT_FOR_REPLICAS = ("LD_PRELOAD", "PYTHONHOME")


class ReplicaSettings(Protocol):
    """What is configured of replicas; see `models.execution` of the configuration."""

    @property
    def replicas(self) -> int:
        """How many processes."""

    @property
    def devices(self) -> Sequence[str]:
        """Where they are placed, one after the other, from the beginning again if need be."""

    @property
    def threads(self) -> int:
        """How many calls each runs at the same time; 0: chosen."""

    @property
    def queue_limit(self) -> int:
        """How many calls may wait."""

    @property
    def run_seconds(self) -> float:
        """After how long a call counts as hung, and its replica is killed; 0: never."""

    @property
    def retry(self) -> bool:
        """Whether a call whose replica died is run once more."""

    @property
    def max_batch_size(self) -> int:
        """The most calls in a batch; 1: no batches; 0: chosen."""

    @property
    def max_batch_delay_seconds(self) -> float:
        """How long a call may wait for others."""

    @property
    def max_batch_weight(self) -> float:
        """The most that a batch may weigh; 0: no limit."""

    @property
    def batch_weight(self) -> str:
        """What is counted as the size of a call."""


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
    limited: bool = False
    """Whether `threads` was said: then it holds for calls of all shapes together."""
    batching: BatchSettings = field(default_factory=BatchSettings)
    """How they make batches."""
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


def make_plan(
    name: str,
    path: Path,
    module: type[ModuleBase] | None,
    settings: ReplicaSettings,
    python_path: Sequence[str] | None,
    libraries: Sequence[str] | None,
) -> Plan:
    """What is to be started for a model; see `InProcesses.open`."""
    others = libraries
    if others is None:
        packages = {cls.__module__.partition(".")[0] for cls in module_registry().values()}
        others = sorted(packages - {"__main__", "kitfox"})
    return Plan(
        model=name,
        path=path,
        threads=settings.threads or _threads(settings.replicas),
        replicas=settings.replicas,
        limited=settings.threads > 0,
        batching=BatchSettings(
            max_size=settings.max_batch_size,
            max_delay=settings.max_batch_delay_seconds,
            max_weight=settings.max_batch_weight,
            weight=settings.batch_weight,
        ),
        devices=tuple(settings.devices),
        libraries=(module.__module__,) if module is not None else (),
        other_libraries=tuple(others),
        python_path=tuple(sys.path if python_path is None else python_path),
        log_level=logging.getLogger().getEffectiveLevel(),
    )


def _threads(replicas: int) -> int:
    """How many calls a replica runs at the same time, if nobody says: the machine, shared."""
    cores = len(os.sched_getaffinity(0))
    return max(1, min(_MOST_THREADS, cores // replicas))
