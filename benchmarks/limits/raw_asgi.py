"""Runs `raw_app` in Envoy as Kitfox runs its own application; its argument is PORT."""

import os
import sys
from pathlib import Path

from kitfox.server.options import Listener, Options
from kitfox.server.supervisor import Supervisor

here = str(Path(__file__).resolve().parent)
os.environ["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
listener = Listener(name="all", address="127.0.0.1", port=int(sys.argv[1]))
sys.exit(Supervisor(Options(listeners=(listener,), app="raw_app:app")).run())
