"""What a library's interface is, written to files: `.proto`, descriptors, OpenAPI.

Everything is a view of the method table. Two versions of an interface can be compared, so that a
change that breaks callers is found before they find it.
"""

from kitfox.export.compatibility import Change, Comparison, compare
from kitfox.export.descriptors import read_descriptors, write_descriptors
from kitfox.export.openapi import Info, library_info, openapi_document
from kitfox.export.protos import package_files, proto_text, write_protos

__all__ = [
    "Change",
    "Comparison",
    "Info",
    "compare",
    "library_info",
    "openapi_document",
    "package_files",
    "proto_text",
    "read_descriptors",
    "write_descriptors",
    "write_protos",
]
