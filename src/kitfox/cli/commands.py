"""The commands: serve, infer, train, jobs, models."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kitfox import __version__, config
from kitfox.cli.export_commands import export
from kitfox.cli.model_commands import models
from kitfox.errors import KitfoxError

__all__ = ["main"]

app = typer.Typer(
    help="Serve and train AI models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
jobs = typer.Typer(help="Look at trainings, and cancel them.", no_args_is_help=True)
app.add_typer(jobs, name="jobs")
app.add_typer(models, name="models")
app.add_typer(export, name="export")

ConfigFiles = Annotated[
    list[Path],
    typer.Option("--config", "-c", help="A YAML file; later ones override earlier ones."),
]
Url = Annotated[
    str, typer.Option(help="The server; by default the one that the configuration describes.")
]
_NO_FILES: list[Path] = []


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
def serve(config_files: ConfigFiles = _NO_FILES) -> None:
    """Starts the runtime; Ctrl-C lets what is in flight finish."""
    from kitfox.server import serve as run

    raise typer.Exit(run(*config_files))


@app.command()
def infer(
    model: Annotated[str, typer.Argument(help="A model's name, or a training id.")],
    inputs: Annotated[str, typer.Argument(help="The inputs as JSON; - reads standard input.")],
    task: Annotated[str, typer.Option(help="The task, when the library has several.")] = "",
    parameters: Annotated[str, typer.Option(help="The parameters as a JSON object.")] = "",
    config_files: ConfigFiles = _NO_FILES,
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


@app.command()
def train(
    module: Annotated[str, typer.Argument(help="The module's name, class name or id.")],
    data: Annotated[
        Path, typer.Option(exists=True, help="The training data: a .csv, .json or .jsonl file.")
    ],
    name: Annotated[str, typer.Option(help="The trained model's name.")],
    parameter: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter, as NAME=JSON or NAME=TEXT.")
    ] = None,
    follow: Annotated[bool, typer.Option(help="Wait for the end.")] = False,
    config_files: ConfigFiles = _NO_FILES,
    url: Url = "",
) -> None:
    """Starts a training on a running server: kitfox train MyModule --data d.csv --name x."""
    from kitfox.cli.server_calls import ServerCalls

    server = ServerCalls(config.load(*config_files), url)
    settings = dict(_setting(item) for item in parameter or [])
    job = server.train(module, data, name, settings)
    _show(job)
    if follow:
        end = server.follow(job["training_id"])
        _show(end)
        if end["state"] != "COMPLETED":
            raise typer.Exit(1)


@jobs.command("list")
def list_jobs(config_files: ConfigFiles = _NO_FILES) -> None:
    """Lists the trainings, the newest first."""
    from kitfox.cli.listings import show_jobs

    show_jobs(config.load(*config_files))


@jobs.command("show")
def show_job(training_id: str, config_files: ConfigFiles = _NO_FILES) -> None:
    """Shows all that is known of a training."""
    from kitfox.cli.listings import show_job as show

    show(config.load(*config_files), training_id)


@jobs.command("cancel")
def cancel_job(training_id: str, config_files: ConfigFiles = _NO_FILES, url: Url = "") -> None:
    """Cancels a training on a running server."""
    from kitfox.cli.server_calls import ServerCalls

    _show(ServerCalls(config.load(*config_files), url).cancel(training_id))


def _parsed(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as err:
        raise typer.BadParameter(f"{what} is not valid JSON: {err}") from err


def _setting(item: str) -> tuple[str, Any]:
    name, equals, text = item.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"--set {item!r}: expected NAME=VALUE")
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text


def _show(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))
