"""The options that most commands have."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["NO_FILES", "ConfigFiles", "Url"]

ConfigFiles = Annotated[
    list[Path],
    typer.Option("--config", "-c", help="A YAML file; later ones override earlier ones."),
]
Url = Annotated[
    str, typer.Option(help="The server; by default the one that the configuration describes.")
]
NO_FILES: list[Path] = []
