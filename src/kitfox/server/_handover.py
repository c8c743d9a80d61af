"""The variables in which the supervisor hands things to the process that Envoy embeds."""

__all__ = ["CONFIG_VARIABLE", "PYTHON_VARIABLE"]

CONFIG_VARIABLE = "KITFOX_CONFIG"
"""The configuration, as JSON."""

PYTHON_VARIABLE = "KITFOX_PYTHON"
"""The path of the Python to start workers with: the embedded one guesses its own from `PATH`."""
