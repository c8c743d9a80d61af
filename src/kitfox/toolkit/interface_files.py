"""The interface of the configured library as files, as caikit's commands and functions write it.

    python -m kitfox.caikit -m caikit.runtime.dump_services OUT [-c] [-j] [-p]

`kitfox export` does more, and reads Kitfox's own configuration.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto

from kitfox import config as server_config
from kitfox.config import Config
from kitfox.data.registry import known_classes
from kitfox.export import library_info, openapi_document, proto_text, write_protos
from kitfox.services import MethodTable, Purpose, configured_table, library_modules
from kitfox.toolkit.settings import get_config, server_overrides

__all__ = ["main", "render_dataobject_protos"]

_NOT_DUMPED = (Purpose.DEPLOY, Purpose.UNDEPLOY)


def render_dataobject_protos(interfaces_dir: str | os.PathLike[str]) -> None:
    """Writes a `.proto` file for each data object and enum that has been defined.

    Args:
        interfaces_dir: The folder; it is made where it is missing.
    """
    folder = Path(interfaces_dir)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in proto_text(_files(known_classes())).items():
        (folder / name).write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Writes `.proto` files and `openapi.json`, whichever of gRPC and HTTP are enabled.

    Args:
        arguments: Of the command; the process's own unless given.

    Raises:
        SystemExit: The arguments cannot be understood.
        ValueError: The library is not configured, or cannot be imported.
    """
    options = _options(arguments)
    settings: Any = get_config()
    config = server_config.parse(server_overrides(settings), source="settings")
    table = _table(config)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.clean:
        _empty(options.out)
    if config.runtime.grpc.enabled:
        write_protos(_dumped(table), options.out, per_package=options.per_package)
    if config.runtime.http.enabled:
        version = settings.runtime.version_info.runtime_image or ""
        info = library_info(",".join(config.runtime.libraries), version=version)
        _write_json(options.out / "openapi.json", openapi_document(table, info=info))
    if options.modules:
        _write_json(Path("modules.json"), _included_modules(config.runtime.libraries))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="caikit.runtime.dump_services",
        description="Writes the interface of the configured library to files.",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="the folder to write to")
    parser.add_argument("-c", dest="clean", action="store_true", help="empty OUT first")
    parser.add_argument(
        "-j", dest="modules", action="store_true", help="write modules.json here, too"
    )
    parser.add_argument(
        "-p", dest="per_package", action="store_true", help="one .proto file for each package"
    )
    return parser.parse_args(arguments)


def _empty(folder: Path) -> None:
    for item in folder.iterdir():
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        else:
            item.unlink()


def _table(config: Config) -> MethodTable:
    runtime = config.runtime
    sys.path[:0] = [path for path in runtime.python_path if path not in sys.path]
    return configured_table(runtime)


def _dumped(table: MethodTable) -> MethodTable:
    """The table without the management of models, which caikit does not write either."""
    left_out = {row.service for row in table if row.purpose in _NOT_DUMPED}
    return MethodTable(
        [row for row in table if row.service not in left_out],
        services=[name for name in table.services() if name not in left_out],
        messages=table.messages,
    )


def _included_modules(libraries: Iterable[str]) -> dict[str, Any]:
    tasks: dict[str, dict[str, str]] = {}
    for module in (module for library in libraries for module in library_modules(library)):
        for task in module.tasks:
            tasks.setdefault(task.__name__, {})[module.MODULE_ID] = str(module)
    return {"included_modules": tasks}


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=4) + "\n", encoding="utf-8")


def _files(classes: Iterable[Any]) -> list[FileDescriptorProto]:
    """The files of messages and enums, each after those that it depends on."""
    found: dict[str, FileDescriptorProto] = {}

    def add(file: Any) -> None:
        if file.name not in found:
            for dependency in file.dependencies:
                add(dependency)
            found[file.name] = FileDescriptorProto()
            file.CopyToProto(found[file.name])

    for cls in classes:
        proto = cls.get_proto_class()  # of an enum its descriptor
        add(getattr(proto, "DESCRIPTOR", proto).file)
    return list(found.values())
