"""The commands: serve, infer, train, jobs, models."""

import json
import sys
from typing import Annotated, Any

import typer

from kitfox import __version__, config
from kitfox.cli.export_commands import export
from kitfox.cli.job_commands import jobs
from kitfox.cli.model_commands import models
from kitfox.cli.options import NO_FILES, ConfigFiles, Url
from kitfox.cli.train_command import train
from kitfox.errors import KitfoxError

__all__ = ["main"]

app = typer.Typer(
    help="Serve and train AI models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(train)
app.add_typer(jobs, name="jobs")
app.add_typer(models, name="models")
app.add_typer(export, name="export")


def main() -> None:
    """Runs the command line; an error of ours is one sentence and exit status 1."""
    try:
        app()
    except KitfoxError as err:
        print(f"kitfox: {err.message}", file=sys.stderr)
        sys.exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"kitfox {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def serve(config_files: ConfigFiles = NO_FILES) -> None:
    """Starts the runtime; Ctrl-C lets what is in flight finish."""
    from kitfox.server import serve as run

    raise typer.Exit(run(*config_files))


@app.command()
def infer(
    model: Annotated[str, typer.Argument(help="A model's name, or a training id.")],
    inputs: Annotated[str, typer.Argument(help="The inputs as JSON; - reads standard input.")],
    task: Annotated[str, typer.Option(help="The task, when the library has several.")] = "",
    parameters: Annotated[str, typer.Option(help="The parameters as a JSON object.")] = "",
    config_files: ConfigFiles = NO_FILES,
    url: Url = "",
) -> None:
    """Calls a running server: kitfox infer example '{"name": "World"}'."""
    from kitfox.cli.server_calls import ServerCalls

    server = ServerCalls(config.load(*config_files), url)
    text = sys.stdin.read() if inputs == "-" else inputs
    body: dict[str, Any] = {"model_id": model, "inputs": _parsed(text, "INPUTS")}
    if parameters:
        body["parameters"] = _parsed(parameters, "--parameters")
    _show(server.infer(task, body))


def _parsed(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as err:
        raise typer.BadParameter(f"{what} is not valid JSON: {err}") from err


def _show(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))
