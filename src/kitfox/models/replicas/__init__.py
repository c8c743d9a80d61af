"""Replica processes: a model in processes of its own, kept running, called through sockets."""

from kitfox.models.replicas.deaths import LoadFailed
from kitfox.models.replicas.execution import InProcesses, ReplicaSettings, ReplicaState
from kitfox.models.replicas.quarantine import Quarantine, QuarantineEntry

__all__ = [
    "InProcesses",
    "LoadFailed",
    "Quarantine",
    "QuarantineEntry",
    "ReplicaSettings",
    "ReplicaState",
]
