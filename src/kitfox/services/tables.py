"""The method table of a server: the methods of each of its libraries, side by side.

Each library has services and messages of its own. Routes do not tell the library: a task that two
libraries have modules for is one route, which serves the models of both.
"""

from collections.abc import Mapping
from dataclasses import replace

from kitfox.config import Runtime
from kitfox.errors import InvalidArgument
from kitfox.services.library import build_table, import_library
from kitfox.services.methods import Method, MethodTable, Purpose
from kitfox.services.names import Names

__all__ = ["configured_table", "merge_tables"]

_OWN = {
    *(Purpose.INFERENCE, Purpose.TRAINING),
    *(Purpose.JOB_START, Purpose.JOB_STATUS, Purpose.JOB_RESULT, Purpose.JOB_CANCEL),
}


def configured_table(settings: Runtime, *, protocols: bool = False) -> MethodTable:
    """The methods of the libraries that are configured; they are imported.

    Args:
        settings: Names the libraries and what their services are called.
        protocols: See `build_table`.

    Raises:
        InvalidArgument: A library cannot be imported, or two of them contradict each other.
    """
    generation, libraries = settings.service_generation, settings.libraries
    if len(libraries) > 1 and (generation.domain or generation.package):
        raise InvalidArgument(
            "runtime.service_generation: domain and package name the services of one library, and "
            f"runtime.library has several: {', '.join(libraries)}"
        )
    if generation.enable_inference_jobs and not generation.enable_inference:
        raise InvalidArgument(
            "runtime.service_generation: enable_inference_jobs is true and enable_inference is "
            "false; jobs do what the inference methods do"
        )
    tables = {}
    for library in libraries or [""]:
        import_library(library)
        tables[library] = build_table(
            library,
            names=Names.of(library, domain=generation.domain, package=generation.package),
            route_prefix=settings.http.route_prefix,
            inference=generation.enable_inference,
            training=generation.enable_training,
            jobs=generation.enable_inference_jobs is not False,
            protocols=protocols,
        )
    return merge_tables(tables)


def merge_tables(tables: Mapping[str, MethodTable]) -> MethodTable:
    """One table of the tables of several libraries.

    Args:
        tables: By the name of the library.

    Raises:
        InvalidArgument: Two libraries have the same route, or the same service, for different
            things; both are named.
    """
    if len(tables) == 1:
        return next(iter(tables.values()))
    rows: dict[str, tuple[str, Method]] = {}
    routes: dict[tuple[str, str], str] = {}
    shared: list[Method] = []
    for library, table in tables.items():
        for row in table:
            if row.purpose not in _OWN:
                shared += [] if any(row.path == other.path for other in shared) else [row]
                continue
            if row.path in rows:
                other, _ = rows[row.path]
                raise InvalidArgument(f"libraries {other} and {library} both have {row.path}")
            if row.route is not None:
                place = row.route.verb, row.route.path
                if place in routes:
                    row = _joined(library, row, *rows[routes[place]], rows)
                else:
                    routes[place] = row.path
            rows[row.path] = library, row
    services = [name for table in tables.values() for name in table.services()]
    messages = dict.fromkeys(cls for table in tables.values() for cls in table.messages)
    return MethodTable(
        [*(row for _, row in rows.values()), *shared], services=services, messages=messages
    )


def _joined(
    library: str, row: Method, other: str, first: Method, rows: dict[str, tuple[str, Method]]
) -> Method:
    """The row without its route, whose work the first row of that route does as well.

    Args:
        library: Whose row it is.
        row: The later row.
        other: The library of the first one.
        first: The row that has the route.
        rows: Where the first one is exchanged for one that knows the modules of both.
    """
    assert row.route is not None, row.name  # noqa: S101 -- the caller has looked
    if row.task is None or row.task is not first.task or row.parameters != first.parameters:
        raise InvalidArgument(
            f"libraries {other} and {library} both have {row.route.verb} {row.route.path}, for "
            f"{first.name} and {row.name}, which do not take the same; rename a task"
        )
    signatures = {**first.signatures, **row.signatures}
    rows[first.path] = other, replace(first, signatures=signatures)
    return replace(row, signatures=signatures, route=None)
