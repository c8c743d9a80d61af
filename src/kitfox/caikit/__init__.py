"""Runs code that was written for caikit, unchanged: `import caikit` is answered by Kitfox.

    python -m kitfox.caikit SCRIPT [ARGUMENTS]
    python -m kitfox.caikit -m PACKAGE.MODULE [ARGUMENTS]

There are names only in this package, no logic. `install` puts the names in place for a process and
for those that it starts; these call `install_if_asked` before they import a library.
"""

import os
import sys

__all__ = ["ASKED", "CaikitImported", "install", "install_if_asked"]

ASKED = "KITFOX_CAIKIT"
"""The variable by which a process tells those that it starts to install the names too."""


class CaikitImported(ImportError):
    """The names are answered already, by the packages that they belong to.

    Args:
        packages: Those that have been imported.
    """

    def __init__(self, packages: list[str]) -> None:
        self.packages = packages
        super().__init__(
            f"Kitfox cannot answer the names of {', '.join(packages)}: the package itself has "
            "been imported in this process; install the names before anything imports it"
        )


def install() -> None:
    """Lets Kitfox answer `import caikit`, in this process and in those that it starts.

    Raises:
        CaikitImported: The real caikit, or a package that comes with it, has been imported.
    """
    from kitfox.caikit.finder import AnsweredModule, CaikitFinder

    os.environ[ASKED] = "1"
    if any(isinstance(finder, CaikitFinder) for finder in sys.meta_path):
        return
    finder = CaikitFinder()
    loaded = (name for name in sorted(finder.roots) if name in sys.modules)
    others = [name for name in loaded if not isinstance(sys.modules[name], AnsweredModule)]
    if others:
        raise CaikitImported(others)
    sys.meta_path.insert(0, finder)


def install_if_asked() -> None:
    """Does what `install` does if the process was started by one that has the names."""
    if os.environ.get(ASKED) == "1":
        install()
