"""The server: bytes in, bytes out. `serve` starts it.

Two processes import this package: the supervisor, and the one that Envoy embeds. Neither pays for
what only the other needs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["serve"]


def serve(*files: Path | str, overrides: Mapping[str, Any] | None = None) -> int:
    """Serves until SIGTERM or Ctrl-C; to be called in the main thread.

    Args:
        files: Configuration files; later ones override earlier ones.
        overrides: Values that win over files and environment, as a nested mapping.

    Returns:
        The exit status: 0 after a stop that was asked for, 1 after a failure; the reason is one
        sentence in the log.

    Example:
        >>> sys.exit(serve("config.yml"))
    """
    from kitfox.server.launch import launch

    return launch(*files, overrides=overrides)
