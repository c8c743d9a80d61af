"""The store of models, put together from the configuration."""

from collections.abc import Callable
from pathlib import Path

from kitfox.config import Config
from kitfox.models.remote import RemoteStores
from kitfox.models.remote_files import open_remote
from kitfox.models.store import ModelStore

__all__ = ["open_store"]


def open_store(
    config: Config, *, find_elsewhere: Callable[[str], Path | None] | None = None
) -> ModelStore:
    """The models folder with the remote stores behind it; nothing is looked at yet.

    Args:
        config: `runtime.local_models_dir`, `models.remote` and the like.
        find_elsewhere: Asked for ids that the folder does not have, such as training ids.

    Raises:
        InvalidArgument: The URL of a remote store cannot be used.
        FailedPrecondition: The extra `kitfox[remote]` is not installed, and needed.
    """
    remote = [
        open_remote(url, silence=config.models.remote_seconds) for url in config.models.remote
    ]
    return ModelStore(
        Path(config.runtime.local_models_dir),
        find_elsewhere=find_elsewhere,
        find_remote=RemoteStores(remote, Path(config.models.cache_dir)) if remote else None,
        write_detection=config.runtime.lazy_load_write_detection_period_seconds or 0,
        upload_limit=config.models.upload_bytes,
    )
