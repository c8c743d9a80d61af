"""The command `kitfox jobs`: the trainings of a running server, or of the job store."""

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kitfox import config
from kitfox.cli.options import NO_FILES, ConfigFiles, Url

if TYPE_CHECKING:
    from kitfox.cli.trainings import Trainings

__all__ = ["jobs"]

jobs = typer.Typer(
    help="Look at trainings, follow them, end them, take them up again.", no_args_is_help=True
)

TrainingId = Annotated[str, typer.Argument(metavar="ID", help="The training's id.")]


@jobs.command("list")
def list_jobs(
    pattern: Annotated[
        str,
        typer.Argument(metavar="[NAME]", help="A part of the id or model name, or a pattern."),
    ] = "",
    state: Annotated[
        list[str] | None, typer.Option(help="Only those in this state, or one of these.")
    ] = None,
    module: Annotated[str, typer.Option(help="Only those of this module, by name or id.")] = "",
    model: Annotated[str, typer.Option(help="Only those of the model of this name.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many, at most.")] = 100,
    config_files: ConfigFiles = NO_FILES,
    url: Url = "",
) -> None:
    """Lists trainings, the newest first."""
    from kitfox.cli.listings import show_jobs

    states = [item.upper() for item in state or []]
    with _trainings(config_files, url) as trainings:
        show_jobs(
            trainings.list(
                limit=limit, filter=pattern, states=states, module=module, model_name=model
            )
        )


@jobs.command("show")
def show_job(training_id: TrainingId, config_files: ConfigFiles = NO_FILES, url: Url = "") -> None:
    """Shows all that is known of a training."""
    with _trainings(config_files, url) as trainings:
        _show(trainings.show(training_id))


@jobs.command("follow")
def follow_job(
    training_id: TrainingId, config_files: ConfigFiles = NO_FILES, url: Url = ""
) -> None:
    """Shows how a training goes until it ends; exit status 1: it failed, 2: it was cancelled."""
    from kitfox.cli.following import follow_to_end

    with _trainings(config_files, url) as trainings:
        raise typer.Exit(follow_to_end(trainings, training_id))


@jobs.command("logs")
def show_log(
    training_id: TrainingId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until the end.")] = False,
    config_files: ConfigFiles = NO_FILES,
    url: Url = "",
) -> None:
    """Prints what a training has printed and logged."""
    with _trainings(config_files, url) as trainings:
        if not follow:
            for text in trainings.log(training_id):
                sys.stdout.write(text)
            return
        for event in trainings.follow(training_id):
            for line in event.get("log") or []:
                print(line, flush=True)


@jobs.command("cancel")
def cancel_job(
    training_id: TrainingId, config_files: ConfigFiles = NO_FILES, url: Url = ""
) -> None:
    """Ends a training; nothing of it is kept."""
    with _trainings(config_files, url) as trainings:
        trainings.cancel(training_id)
        _show(trainings.wait(training_id))


@jobs.command("stop")
def stop_job(training_id: TrainingId, config_files: ConfigFiles = NO_FILES, url: Url = "") -> None:
    """Ends a training early and keeps the model that it has by then."""
    with _trainings(config_files, url) as trainings:
        trainings.stop(training_id)
        _show(trainings.wait(training_id))


@jobs.command("retry")
def retry_job(
    training_id: TrainingId,
    follow: Annotated[bool, typer.Option(help="Show how it goes until it ends.")] = False,
    config_files: ConfigFiles = NO_FILES,
    url: Url = "",
) -> None:
    """Takes up a training again that failed or was ended, from its last checkpoint."""
    from kitfox.cli.following import follow_to_end

    with _trainings(config_files, url) as trainings:
        started = trainings.retry(training_id)
        _show(started)
        if follow:
            raise typer.Exit(follow_to_end(trainings, started["training_id"]))
        trainings.launch(started["training_id"])


@jobs.command("rm")
def remove_jobs(
    training_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Their ids.")],
    config_files: ConfigFiles = NO_FILES,
    url: Url = "",
) -> None:
    """Removes trainings that have ended, with their logs and models."""
    with _trainings(config_files, url) as trainings:
        for training_id in training_ids:
            trainings.delete(training_id)
            print(f"{training_id} removed")


@jobs.command("pin")
def pin_job(training_id: TrainingId, config_files: ConfigFiles = NO_FILES, url: Url = "") -> None:
    """Keeps a training and its model for ever, whatever training.retention says."""
    with _trainings(config_files, url) as trainings:
        _show(trainings.pin(training_id, pinned=True))


@jobs.command("unpin")
def unpin_job(training_id: TrainingId, config_files: ConfigFiles = NO_FILES, url: Url = "") -> None:
    """Keeps a training as long as training.retention says."""
    with _trainings(config_files, url) as trainings:
        _show(trainings.pin(training_id, pinned=False))


@jobs.command("download")
def download(
    training_id: TrainingId,
    file: Annotated[
        Path | None,
        typer.Argument(help="The zip file to write; - is standard output. By default ID.zip."),
    ] = None,
    config_files: ConfigFiles = NO_FILES,
    url: Url = "",
) -> None:
    """Writes the model that a training has made into a zip file."""
    from kitfox.cli.downloads import write_download

    with _trainings(config_files, url) as trainings:
        parts = trainings.download(training_id)
        if file is not None and str(file) == "-":
            for part in parts:
                sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()
            return
        place = file or Path(f"{training_id}.zip")
        print(f"{write_download(parts, place):,} bytes in {place}")


def _trainings(config_files: list[Path], url: str) -> "AbstractContextManager[Trainings]":
    from kitfox.cli.trainings import find_trainings

    return find_trainings(config.load(*config_files), url)


def _show(description: dict[str, Any]) -> None:
    from kitfox.cli.listings import show_job

    show_job(description)
