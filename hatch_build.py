"""Compiles Envoy's filter for quick calls when Kitfox is built or installed.

It is worth having, not needed: where there is no C compiler, or Python's headers are missing,
Kitfox is built without it, and says so when it serves.
"""

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "src/kitfox/server/_express.c"
LIBRARY = "src/kitfox/server/_express.abi3.so"
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared")


class Hook(BuildHookInterface[Any]):
    """Puts the library beside its source, where an editable installation finds it too."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See hatchling."""
        if self.target_name != "wheel" or sys.platform not in ("linux", "darwin"):
            return
        trouble = compile_library(Path(self.root))
        if trouble:
            self.app.display_warning(f"Built without the filter for quick calls: {trouble}")
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data.update(pure_python=False, tag=f"cp311-abi3-{platform}")
        build_data["artifacts"].append(LIBRARY)


def compile_library(root: Path) -> str:
    """Compiles it; what was in the way, or empty text."""
    compiler = shlex.split(os.environ.get("CC") or "cc")
    flags = [*FLAGS, *(("-undefined", "dynamic_lookup") if sys.platform == "darwin" else ())]
    headers = sysconfig.get_path("include")
    # Installed into several environments at a time, each finds a whole library.
    part = root / f"{LIBRARY}.{os.getpid()}"
    words = [*compiler, *flags, f"-I{headers}", str(root / SOURCE), "-o", str(part)]
    try:
        subprocess.run(words, check=True, capture_output=True, text=True)
        part.replace(root / LIBRARY)
    except OSError as err:
        return f"{compiler[0]}, the C compiler, cannot be run: {err.strerror}"
    except subprocess.CalledProcessError as err:
        return f"{shlex.join(words)}: {err.stderr.strip()}"
    finally:
        part.unlink(missing_ok=True)
    return ""
