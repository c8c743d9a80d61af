"""Services: the method table of a library, and the handlers that do its work."""

from kitfox.services.library import build_table, import_library, library_modules
from kitfox.services.methods import BodyStyle, Context, Handler, Method, MethodTable, Purpose, Route
from kitfox.services.names import Names
from kitfox.services.tables import configured_table

__all__ = [
    "BodyStyle",
    "Context",
    "Handler",
    "Method",
    "MethodTable",
    "Names",
    "Purpose",
    "Route",
    "build_table",
    "configured_table",
    "import_library",
    "library_modules",
]
