"""`import caikit` is answered by Kitfox: names, submodules, mistakes."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from kitfox.caikit.finder import AnsweredModule, CaikitFinder
from kitfox.caikit.names import MODULES
from tests.caikit.conftest import Run, RunScript, clean_environment


def load(path: str) -> AnsweredModule:
    """A module of the table, made without the import system."""
    finder = CaikitFinder()
    spec = finder.find_spec(path)
    assert spec is not None
    module = finder.create_module(spec)
    assert isinstance(module, AnsweredModule)
    return module


def python(script: str) -> str:
    """What a script prints that runs without caikit's names."""
    return subprocess.run(
        [sys.executable, "-c", script],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("path", sorted(MODULES))
def test_every_name_of_the_table_is_an_object(path: str) -> None:
    module = load(path)
    for name in {*module.__all__, *MODULES[path].names}:
        assert getattr(module, name) is not None, name


def test_every_path_is_below_another_one() -> None:
    parents = {path.rpartition(".")[0] for path in MODULES}
    assert parents - {""} <= set(MODULES)


def test_importing_the_package_imports_nothing_of_weight() -> None:
    script = (
        "import sys, kitfox; before = set(sys.modules); import kitfox.caikit; "
        "print(sorted(set(sys.modules) - before))"
    )
    assert python(script) == "['kitfox.caikit']\n"


def test_import_caikit_resolves_no_name_by_itself(run_script: RunScript) -> None:
    found = run_script("""
        import sys
        import kitfox
        before = set(sys.modules)
        import caikit, caikit.core, caikit.core.data_model, caikit.runtime.__main__
        print(*(name for name in sys.modules if name not in before and "caikit" not in name))
    """)
    assert not found.strip()


def test_submodules_are_attributes_without_an_import_of_their_own(run_script: RunScript) -> None:
    found = run_script("""
        import caikit
        print(caikit.core.exceptions.caikit_core_exception.CaikitCoreStatusCode.FATAL.name)
        print(caikit.__version__, caikit.core.__name__, "load" in dir(caikit))
    """)
    assert found == "FATAL\n0.29.0 caikit.core True\n"


def test_a_name_of_the_table_wins_over_a_path_of_the_same_name(run_script: RunScript) -> None:
    found = run_script("""
        from caikit.core.data_model.dataobject import make_dataobject
        from caikit.core.data_model import dataobject
        import caikit.core.task
        from caikit.core import task
        print(dataobject.__name__, task.__name__, type(caikit.core.task).__name__)
    """)
    assert found == "dataobject task function\n"


def test_a_star_import_gives_the_names_of_the_table(run_script: RunScript) -> None:
    found = run_script("""
        from caikit.core import *
        from caikit.interfaces.common.data_model import *
        print(ModuleBase.__module__, File.__name__)
    """)
    assert found == "kitfox.modules.module_class File\n"


def test_the_old_home_of_errors_warns(run_script: RunScript) -> None:
    found = run_script("""
        import warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            from caikit.core.toolkit.errors import error_handler
        print(caught[0].category.__name__, caught[0].filename == __file__, error_handler.get)
    """)
    assert found.startswith("DeprecationWarning True <function get")


@pytest.mark.parametrize(
    ("statement", "name", "near"),
    [
        ("from caikit.core import ModuelBase", "caikit.core.ModuelBase", "caikit.core.ModuleBase"),
        ("import caikit.core.modules.lodaer", "caikit.core.modules.lodaer", "modules.loader"),
        ("from caikit import DataStream", "caikit.DataStream", "caikit.core.data_model.DataStream"),
        ("import py_to_proto.nothing", "py_to_proto.nothing", "py_to_proto"),
    ],
)
def test_an_unknown_name_is_an_import_error_that_lists_near_ones(
    run_script: RunScript, statement: str, name: str, near: str
) -> None:
    found = run_script(f"""
        try:
            {statement}
        except ImportError as err:
            print(err)
    """)
    assert name in found
    assert "Kitfox does not offer this name" in found
    assert near in found


def test_an_unknown_attribute_is_an_attribute_error(run_script: RunScript) -> None:
    found = run_script("""
        import caikit
        print(hasattr(caikit, "no_such_name"), getattr(caikit, "__file__", "no file"))
        try:
            caikit.confgure
        except AttributeError as err:
            print(err)
    """)
    assert found.startswith("False no file\nKitfox does not offer this name of caikit")
    assert "caikit.configure" in found


def test_other_packages_are_not_touched() -> None:
    assert CaikitFinder().find_spec("json") is None


def test_a_package_that_was_imported_before_is_refused(tmp_path: Path, run_caikit: Run) -> None:
    (tmp_path / "caikit").mkdir()
    (tmp_path / "caikit" / "__init__.py").touch()
    script = "import caikit, kitfox.caikit; kitfox.caikit.install()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Kitfox cannot answer the names of caikit: the package itself has been" in done.stderr


def test_processes_that_are_started_install_the_names_when_asked(run_script: RunScript) -> None:
    found = run_script("""
        import subprocess, sys
        child = "import kitfox.caikit as k; k.install_if_asked(); k.install(); "
        child += "import caikit.core; print(caikit.core)"
        print(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout)
    """)
    assert "caikit.core" in found


def test_nothing_is_installed_when_not_asked() -> None:
    script = (
        "import sys, kitfox.caikit as k; before = list(sys.meta_path); k.install_if_asked(); "
        "print(sys.meta_path == before)"
    )
    assert python(script) == "True\n"


def test_a_script_runs_as_python_would_run_it(run_script: RunScript, tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("value = 5")
    found = run_script(
        """
        import json, sys
        import neighbour
        print(json.dumps([__name__, sys.argv[1:], sys.argv[0] == __file__, neighbour.value]))
        """,
        "--flag",
        "-m",
        cwd=Path("/"),
    )
    assert json.loads(found) == ["__main__", ["--flag", "-m"], True, 5]


def test_a_module_runs_as_python_would_run_it(tmp_path: Path, run_caikit: Run) -> None:
    package = tmp_path / "tool"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "greet.py").write_text("import caikit, sys; print(__name__, sys.argv[1:])")
    done = run_caikit("-m", "tool.greet", "a", cwd=tmp_path)
    assert done.stdout == "__main__ ['a']\n", done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [([], 1, "usage:"), (["--help"], 0, "usage:"), (["absent.py"], 1, "there is no script absent")],
)
def test_the_command_says_what_it_wants(
    run_caikit: Run, tmp_path: Path, arguments: list[str], status: int, text: str
) -> None:
    done = run_caikit(*arguments, cwd=tmp_path)
    assert done.returncode == status
    assert text in done.stdout + done.stderr


def test_what_a_path_offers_as_a_whole_exists() -> None:
    for answers in MODULES.values():
        if answers.everything_of:
            assert importlib.import_module(answers.everything_of).__all__
