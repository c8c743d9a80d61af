"""The variables in which the supervisor hands things to the process that Envoy embeds."""

import json
from collections.abc import MutableMapping

__all__ = ["CONFIG_VARIABLE", "OUTER_VARIABLE", "PYTHON_VARIABLE", "restore_environment"]

CONFIG_VARIABLE = "KITFOX_CONFIG"
"""The configuration, as JSON."""

PYTHON_VARIABLE = "KITFOX_PYTHON"
"""The path of the Python to start workers with: the embedded one guesses its own from `PATH`."""

OUTER_VARIABLE = "KITFOX_OUTER_ENVIRONMENT"
"""What `envoy.environment` changed, as it was before: a JSON object of names and values."""


def restore_environment(environ: MutableMapping[str, str]) -> None:
    """Takes back what `envoy.environment` changed, so that children start as from a shell.

    For the application inside Envoy, whose interpreter has read what it needs by the time this is
    called. Elsewhere there is nothing to take back.
    """
    for name, value in json.loads(environ.pop(OUTER_VARIABLE, "{}")).items():
        if value is None:
            environ.pop(name, None)
        else:
            environ[name] = value
