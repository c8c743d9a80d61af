"""What is noted of the machine and the packages that a training ran on."""

import importlib.metadata
import os
import platform
import subprocess
import sys

from kitfox.training.environment import imported_packages, system


def test_python_and_the_machine() -> None:
    found = system()
    assert found["python"] == platform.python_version()
    assert found["host"] == os.uname().nodename
    assert found.keys() == {"python", "platform", "host", "kitfox"}


def plain(name: str) -> str:
    return name.lower().replace("_", "-")


def test_the_versions_of_all_that_is_imported_and_of_nothing_else() -> None:
    """As the standard library finds them, which takes it longer."""
    owners = importlib.metadata.packages_distributions()
    imported = {name.partition(".")[0] for name in sys.modules}
    shared = {"google"}  # its parts come from different distributions
    expected = {
        plain(name): importlib.metadata.version(name)
        for package in imported - shared
        for name in owners.get(package, ())
    }
    found = {plain(name): version for name, version in imported_packages().items()}
    # Of ours, installed so that Python finds the source, no list names the package.
    assert found.keys() - expected.keys() <= {"kitfox", "protobuf", "googleapis-common-protos"}
    assert {name: found.get(name) for name in expected} == expected
    assert found["protobuf"] == importlib.metadata.version("protobuf")


def test_a_package_of_another_name_and_one_of_the_authors_own() -> None:
    script = """
import sys, types
import yaml
sys.path.insert(0, sys.argv[1])
import trainers
from kitfox.training.environment import imported_packages
print(*imported_packages())
"""
    folder = os.path.dirname(__file__)  # noqa: PTH120 -- text for the command line
    done = subprocess.run(
        [sys.executable, "-c", script, folder], capture_output=True, text=True, check=True
    )
    found = done.stdout.split()
    assert "pyyaml" in map(plain, found)
    assert "trainers" not in found
    assert "pytest" not in found
