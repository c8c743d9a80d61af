"""Data objects of the package `caikit_data_model.common`.

Those that data streams and unions are made of belong to `kitfox.data`, and `ProducerId` to
`kitfox.modules`; here they are under the names that caikit's authors import. What needs
`kitfox.modules` is looked up when it is first used, as `kitfox.modules` itself uses this package.
"""

from typing import TYPE_CHECKING, Any

from kitfox.data import (
    BoolSequence,
    Directory,
    File,
    FileReference,
    FloatSequence,
    IntSequence,
    ListOfFileReferences,
    S3Base,
    S3Files,
    S3Path,
    StrSequence,
)
from kitfox.interfaces.common.data_model.connection import ConnectionInfo, ConnectionTlsInfo
from kitfox.interfaces.common.data_model.job_status import JobStatus
from kitfox.interfaces.common.data_model.vectors import (
    ListOfVector1D,
    NpFloat32Sequence,
    NpFloat64Sequence,
    PyFloatSequence,
    Vector1D,
)

if TYPE_CHECKING:
    from kitfox.interfaces.common.data_model.producer import ProducerId, ProducerPriority

__all__ = [
    "BoolSequence",
    "ConnectionInfo",
    "ConnectionTlsInfo",
    "Directory",
    "File",
    "FileReference",
    "FloatSequence",
    "IntSequence",
    "JobStatus",
    "ListOfFileReferences",
    "ListOfVector1D",
    "NpFloat32Sequence",
    "NpFloat64Sequence",
    "ProducerId",
    "ProducerPriority",
    "PyFloatSequence",
    "S3Base",
    "S3Files",
    "S3Path",
    "StrSequence",
    "Vector1D",
]

if not TYPE_CHECKING:  # type checkers would believe that every name is here

    def __getattr__(name: str) -> Any:
        """The data objects of producers, on first use."""
        if name not in ("ProducerId", "ProducerPriority"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from kitfox.interfaces.common.data_model import producer

        return getattr(producer, name)
