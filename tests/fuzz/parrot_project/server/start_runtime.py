"""Starts a server of the library beside."""

import sys
from pathlib import Path

from kitfox.server import serve

if __name__ == "__main__":
    sys.exit(serve(Path(__file__).resolve().parent / "config.yml"))
