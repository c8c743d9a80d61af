"""The `kitfox` command.

Commands import what they need when they run, so that `kitfox --help` stays quick.
"""

from kitfox.cli.commands import main

__all__ = ["main"]
