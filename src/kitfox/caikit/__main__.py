"""`python -m kitfox.caikit SCRIPT [ARGUMENTS]`: runs a script that was written for caikit."""

import runpy
import sys
from pathlib import Path

from kitfox.caikit import install

USAGE = """usage: python -m kitfox.caikit SCRIPT [ARGUMENTS]
       python -m kitfox.caikit -m PACKAGE.MODULE [ARGUMENTS]

Runs a Python script or module that was written for caikit, unchanged, with Kitfox."""


def main(arguments: list[str]) -> None:
    """Runs the script as `python SCRIPT` would, with caikit's names in place."""
    as_module = arguments[:1] == ["-m"]
    rest = arguments[1:] if as_module else arguments
    if not rest:
        sys.exit(USAGE)
    if not as_module and rest[0] in ("-h", "--help"):
        sys.stdout.write(f"{USAGE}\n")
        return
    install()
    sys.argv = rest
    if as_module:
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        return
    script = Path(rest[0])
    if not script.is_file():
        sys.exit(f"python -m kitfox.caikit: there is no script {script}")
    sys.path[0] = str(script.resolve().parent)  # as `python SCRIPT`; -m has put the current one
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
