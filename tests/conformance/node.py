"""Node as a test's tool: runs scripts that use the packages of `node/package.json`."""

import json
import os
import shutil
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

__all__ = ["Node"]

SCRIPTS = Path(__file__).resolve().parent / "node"


class Node:
    """Runs scripts with the installed packages.

    Args:
        modules: The `node_modules` folder.
        protos: The folder of the .proto files to generate code from.
        place: Where generated code and bundles are written.
    """

    def __init__(self, *, modules: Path, protos: Path, place: Path) -> None:
        self.program = shutil.which("node") or "node"
        self.modules = modules
        self.protos = protos
        self._place = place

    @cached_property
    def generated(self) -> Path:
        """What protoc makes of the .proto files for JavaScript: messages and services."""
        folder = self._place / "generated"
        folder.mkdir()
        plugin = self.modules / ".bin" / "protoc-gen-es"
        subprocess.run(
            [
                *(sys.executable, "-m", "grpc_tools.protoc", f"-I{self.protos}"),
                *(f"--plugin={plugin}", f"--es_out={folder}"),
                "--es_opt=target=js,js_import_style=legacy_commonjs",
                *map(str, self.protos.iterdir()),
            ],
            check=True,
        )
        return folder

    @property
    def env(self) -> dict[str, str]:
        """The environment in which scripts find the packages and the generated code."""
        places = os.pathsep.join([str(self.modules), str(self.generated)])
        return {**os.environ, "NODE_PATH": places}

    def run(self, script: str, *arguments: str) -> Any:
        """What a script of `node/` writes to its output, as JSON."""
        done = subprocess.run(
            [self.program, str(SCRIPTS / script), *arguments],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def bundle(self, page: str) -> str:
        """A script of `node/` and all that it uses, as one text for a browser."""
        target = self._place / page
        subprocess.run(
            [
                *(str(self.modules / ".bin" / "esbuild"), str(SCRIPTS / page)),
                *("--bundle", "--log-level=error", f"--outfile={target}"),
            ],
            env=self.env,
            check=True,
        )
        return target.read_text(encoding="utf-8")
