"""The command `kitfox export`: a library's interface as files, and two versions of it compared."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kitfox import config
from kitfox.cli.options import NO_FILES, ConfigFiles
from kitfox.config import Config

if TYPE_CHECKING:
    from kitfox.services import MethodTable

__all__ = ["export"]

export = typer.Typer(
    help="Write the interface of a library to files, and compare two versions of it.",
    no_args_is_help=True,
)


@export.command("protos")
def export_protos(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files are written.")],
    per_package: Annotated[
        bool, typer.Option("--per-package", help="One file for each package, not each message.")
    ] = False,
    config_files: ConfigFiles = NO_FILES,
) -> None:
    """Writes the .proto files, from which clients in other languages are made."""
    from kitfox.export import write_protos

    files = write_protos(_table(config.load(*config_files)), folder, per_package=per_package)
    print(f"{len(files)} files in {folder}")


@export.command("descriptors")
def export_descriptors(
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    config_files: ConfigFiles = NO_FILES,
) -> None:
    """Writes the descriptors, for `kitfox export check` and for tools such as grpcurl."""
    from kitfox.export import write_descriptors

    files = write_descriptors(_table(config.load(*config_files)), file)
    services = sum(len(item.service) for item in files.file)
    print(f"{services} services, {len(files.file)} proto files in {file}")


@export.command("openapi")
def export_openapi(
    file: Annotated[Path, typer.Argument(help="The file to write; - is standard output.")],
    config_files: ConfigFiles = NO_FILES,
) -> None:
    """Writes the OpenAPI document of the REST routes."""
    from kitfox.export import library_info, openapi_document

    settings = config.load(*config_files)
    table = _table(settings)
    document = openapi_document(table, info=library_info(",".join(settings.runtime.libraries)))
    text = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    if str(file) == "-":
        sys.stdout.write(text)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    print(f"{len(document['paths'])} paths in {file}")


@export.command("check")
def check(
    old: Annotated[Path, typer.Argument(help="Descriptors of the version that callers know.")],
    new: Annotated[Path, typer.Argument(help="Descriptors of the version to come.")],
) -> None:
    """Compares two files of `kitfox export descriptors`; exit status 1 if callers would break."""
    from kitfox.export import compare, read_descriptors

    found = compare(read_descriptors(old), read_descriptors(new))
    for item in found.breaks:
        print(f"break: {item}")
    for item in found.additions:
        print(f"fine: {item}")
    if found.breaks:
        raise typer.Exit(1)
    print("nothing breaks callers of the old version")


def _table(settings: Config) -> "MethodTable":
    """The methods of the library that the configuration names, as its server would offer them."""
    from kitfox.services import configured_table

    runtime = settings.runtime
    sys.path[:0] = [path for path in runtime.python_path if path not in sys.path]
    return configured_table(runtime)
