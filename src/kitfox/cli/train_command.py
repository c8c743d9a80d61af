"""The command `kitfox train`: starts a training, or repeats one, and follows it where asked."""

import json
from typing import Annotated, Any

import typer

from kitfox import config
from kitfox.cli.options import NO_FILES, ConfigFiles, Url

__all__ = ["train"]


def train(
    module: Annotated[
        str, typer.Argument(help="The module's name, class name or id; not with --again.")
    ] = "",
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="The training data: a file (.csv, .json, .jsonl, .parquet), a folder, "
            "s3://BUCKET/KEY, or - for JSON on standard input; NAME=... where train() takes "
            "several streams. More than one: one after the other."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="The trained model's name.")] = "",
    parameter: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter, as NAME=JSON or NAME=TEXT.")
    ] = None,
    follow: Annotated[bool, typer.Option(help="Show how it goes until it ends.")] = False,
    priority: Annotated[
        int | None, typer.Option(help="Of those that wait, the higher ones run first.")
    ] = None,
    retries: Annotated[
        int | None, typer.Option(min=0, help="How often to begin again when its process dies.")
    ] = None,
    promote: Annotated[
        bool | None,
        typer.Option("--promote/--no-promote", help="Make the model the current one of its name."),
    ] = None,
    again: Annotated[
        str, typer.Option(metavar="ID", help="Repeat this training; other options change it.")
    ] = "",
    config_files: ConfigFiles = NO_FILES,
    url: Url = "",
) -> None:
    """Starts a training: kitfox train MyModule --data d.csv --set alpha=0.1 --follow.

    A running server does it; without one, this command sees to it. Either way the training has a
    process of its own: it goes on when this command ends.
    """
    from kitfox.cli.following import follow_to_end
    from kitfox.cli.trainings import StartOptions, find_trainings

    if bool(module) == bool(again):
        raise typer.BadParameter("expected MODULE, or --again ID")
    given: dict[str, Any] = {
        "data": data or [],
        "parameters": dict(_setting(item) for item in parameter or []),
        "name": name,
        "options": StartOptions(priority=priority, retries=retries, promote=promote),
    }
    with find_trainings(config.load(*config_files), url) as trainings:
        started = trainings.repeat(again, **given) if again else trainings.start(module, **given)
        training_id = started["training_id"]
        said = {"training_id": training_id, "model_name": started.get("model_name") or ""}
        print(json.dumps(said, ensure_ascii=False), flush=True)
        if follow:
            raise typer.Exit(follow_to_end(trainings, training_id))
        trainings.launch(training_id)


def _setting(item: str) -> tuple[str, Any]:
    name, equals, text = item.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"--set {item!r}: expected NAME=VALUE")
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text
