"""Starts the server with what the process has accumulated in its settings.

    kitfox.toolkit.settings.configure("config.yml")
    runtime_main.main()

The server runs in a process of its own that imports the library anew. What it needs of this one
goes with it: the settings in its environment, and the folders that were added to `sys.path`.
"""

import os
import sys
from typing import Any

from kitfox.toolkit import log_channels
from kitfox.toolkit.settings import added_search_path, process_settings, server_overrides

__all__ = ["main"]


def main() -> None:
    """Serves until the process is told to stop.

    Raises:
        SystemExit: The server could not start, or failed.
    """
    from kitfox.server import serve  # here, because clients import this file's neighbours

    settings = process_settings()
    log: Any = settings.current.log or {}
    log_channels.configure(
        str(log.get("level") or "info"), log.get("filters") or "", log.get("formatter") or "json"
    )
    overrides = server_overrides(settings.current, search_path=added_search_path(sys.path))
    settings.share(os.environ)
    # Their content is among the settings; the server would refuse keys that only caikit knows.
    os.environ.pop("CONFIG_FILES", None)
    status = serve(overrides=overrides)
    if status:
        raise SystemExit(status)
