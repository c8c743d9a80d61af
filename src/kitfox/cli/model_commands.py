"""The command `kitfox models`: the models of a running server, or of the models folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kitfox import config
from kitfox.cli.options import NO_FILES, ConfigFiles, Url
from kitfox.config import Config
from kitfox.errors import InvalidArgument, KitfoxError, Unavailable

if TYPE_CHECKING:
    from kitfox.cli.server_calls import ServerCalls

__all__ = ["models"]

_SMALL = 1024 * 1024
"""Bytes of a request below which a model is sent in one, as servers of caikit take it."""

models = typer.Typer(
    help="Look at models, load them, change their versions.", invoke_without_command=True
)

Model = Annotated[str, typer.Argument(help="A model's name, or NAME@VERSION.")]


@models.callback()
def _all(context: typer.Context, config_files: ConfigFiles = NO_FILES, url: Url = "") -> None:
    if context.invoked_subcommand is None:
        list_models(config_files=config_files, url=url)


@models.command("list")
def list_models(
    pattern: Annotated[
        str, typer.Argument(metavar="[NAME]", help="A part of the name, or a pattern with *.")
    ] = "",
    state: Annotated[str, typer.Option(help="Only those in this state.")] = "",
    everything: Annotated[
        bool,
        typer.Option(
            "--all", "-a", help="Also versions that are not current, trained models, downloads."
        ),
    ] = False,
    config_files: ConfigFiles = NO_FILES,
    url: Url = "",
) -> None:
    """Lists models, those that cannot be loaded with the reason."""
    from kitfox.cli.listings import show_models
    from kitfox.cli.local_models import LocalModels
    from kitfox.services import Purpose

    settings = config.load(*config_files)
    if (server := _server(settings, url)) is None:
        show_models(LocalModels(settings).list(pattern, state, everything=everything))
        return
    found: list[Any] = []
    page: dict[str, Any] = {"next_page_token": ""}
    while (token := page["next_page_token"]) is not None:
        page = server.manage(
            Purpose.MODEL_LIST, filter=pattern, state=state, page_token=token, all=everything
        )
        found += page["models"]
    show_models(found)


@models.command("show")
def show(model: Model, config_files: ConfigFiles = NO_FILES, url: Url = "") -> None:
    """Shows all that is known of a model."""
    from kitfox.cli.listings import show_model
    from kitfox.cli.local_models import LocalModels
    from kitfox.services import Purpose

    settings = config.load(*config_files)
    server = _server(settings, url)
    found = (
        LocalModels(settings).show(model)
        if server is None
        else server.manage(Purpose.MODEL_SHOW, model_id=model)
    )
    show_model(found)


@models.command("load")
def load(model: Model, config_files: ConfigFiles = NO_FILES, url: Url = "") -> None:
    """Loads a model on a running server."""
    _manage("MODEL_LOAD", config_files, url, model_id=model)


@models.command("unload")
def unload(model: Model, config_files: ConfigFiles = NO_FILES, url: Url = "") -> None:
    """Unloads a model on a running server; its files stay."""
    _manage("MODEL_UNLOAD", config_files, url, model_id=model)


@models.command("reload")
def reload(model: Model, config_files: ConfigFiles = NO_FILES, url: Url = "") -> None:
    """Loads a model anew on a running server, from its files as they are now."""
    _manage("MODEL_RELOAD", config_files, url, model_id=model)


@models.command("promote")
def promote(
    name: Annotated[str, typer.Argument(help="A model's name.")],
    version: Annotated[str, typer.Argument(help="One of its versions, or a training id.")],
    config_files: ConfigFiles = NO_FILES,
    url: Url = "",
) -> None:
    """Makes a version of a model the current one; without a server, in the models folder."""
    from kitfox.cli.listings import show_model
    from kitfox.cli.local_models import LocalModels
    from kitfox.services import Purpose

    settings = config.load(*config_files)
    if (server := _server(settings, url)) is None:
        show_model(LocalModels(settings).promote(name, version))
    else:
        show_model(server.manage(Purpose.MODEL_PROMOTE, name=name, version=version))


@models.command("rollback")
def roll_back(
    name: Annotated[str, typer.Argument(help="A model's name.")],
    config_files: ConfigFiles = NO_FILES,
    url: Url = "",
) -> None:
    """Makes the version current that was so before; without a server, in the models folder."""
    from kitfox.cli.listings import show_model
    from kitfox.cli.local_models import LocalModels
    from kitfox.services import Purpose

    settings = config.load(*config_files)
    if (server := _server(settings, url)) is None:
        show_model(LocalModels(settings).roll_back(name))
    else:
        show_model(server.manage(Purpose.MODEL_ROLL_BACK, name=name))


@models.command("quarantine")
def quarantine(
    model: Model,
    digest: Annotated[
        str | None, typer.Argument(help="With --clear: of the one request that is meant.")
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Have them run again.")] = False,
    config_files: ConfigFiles = NO_FILES,
    url: Url = "",
) -> None:
    """Lists the requests that a model refuses because they ended its processes."""
    from kitfox.cli.listings import show_quarantine
    from kitfox.cli.server_calls import ServerCalls
    from kitfox.services import Purpose

    if digest is not None and not clear:
        raise InvalidArgument("a digest names what is to be cleared: it needs --clear")
    server = ServerCalls(config.load(*config_files), url)
    if clear:
        done = server.manage(Purpose.QUARANTINE_CLEAR, model_id=model, digest=digest or "")
        print(f"{done['cleared']} cleared")
    else:
        found = server.manage(Purpose.QUARANTINE_LIST, model_id=model)
        show_quarantine(found["requests"])


@models.command("deploy")
def deploy(
    model: Model,
    path: Annotated[Path, typer.Argument(exists=True, help="A model's folder, or a zip file.")],
    config_files: ConfigFiles = NO_FILES,
    url: Url = "",
) -> None:
    """Adds a model, or with NAME@VERSION a version; without a server, to the models folder."""
    from kitfox.cli.listings import show_model
    from kitfox.cli.local_models import LocalModels, archive_of, files_of, upload_size
    from kitfox.cli.server_calls import row_of
    from kitfox.services import Purpose

    settings = config.load(*config_files)
    if (server := _server(settings, url)) is None:
        show_model(LocalModels(settings).deploy(model, path))
    elif upload_size(path) < min(_SMALL, settings.server.max_message_size):
        show_model(server.manage(Purpose.DEPLOY, model_id=model, model_files=files_of(path)))
    else:
        upload = row_of(server.table, Purpose.MODEL_UPLOAD)
        server.send_file(upload, archive_of(path), model_id=model)
        purpose = Purpose.MODEL_SHOW if "@" in model else Purpose.MODEL_LOAD
        show_model(server.manage(purpose, model_id=model))


@models.command("undeploy")
def undeploy(model: Model, config_files: ConfigFiles = NO_FILES, url: Url = "") -> None:
    """Removes a model with its files; without a server, from the models folder."""
    from kitfox.cli.listings import show_model
    from kitfox.cli.local_models import LocalModels
    from kitfox.services import Purpose

    settings = config.load(*config_files)
    if (server := _server(settings, url)) is None:
        show_model(LocalModels(settings).undeploy(model))
    else:
        show_model(server.manage(Purpose.UNDEPLOY, model_id=model))


@models.command("check")
def check(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Models; by default all.")
    ] = None,
    config_files: ConfigFiles = NO_FILES,
) -> None:
    """Compares models of the models folder with their manifests, byte by byte."""
    from kitfox.cli.local_models import LocalModels

    local = LocalModels(config.load(*config_files))
    wrong = False
    for name in names or local.names():
        try:
            local.check(name)
        except KitfoxError as err:
            wrong = True
            print(f"{name}: {err.message}")
        else:
            print(f"{name}: ok")
    if wrong:
        raise typer.Exit(1)


def _server(settings: Config, url: str) -> "ServerCalls | None":
    """The server, if one answers; one that was named must."""
    from kitfox.cli.server_calls import ServerCalls

    server = ServerCalls(settings, url)
    try:
        server.greet()
    except Unavailable:
        if url:
            raise
        return None
    return server


def _manage(purpose: str, config_files: list[Path], url: str, **fields: Any) -> None:
    from kitfox.cli.listings import show_model
    from kitfox.cli.server_calls import ServerCalls
    from kitfox.services import Purpose

    server = ServerCalls(config.load(*config_files), url)
    show_model(server.manage(Purpose[purpose], **fields))
