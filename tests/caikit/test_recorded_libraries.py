"""Libraries that were written for caikit are used unchanged, and behave as was recorded."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.caikit.conftest import GOLDEN, Run, RunScript

EXPRESSIONS = {
    "dm.Scalars.from_proto(dm.Scalars(when=w).to_proto()).when == w": (
        "times are read as aware ones in UTC, over gRPC as over HTTP, and equal no naive one"
    ),
    "s := DataStream.from_iterable([1, 2, 3, 4])": (
        "recorded was Python's own repr, with the path of caikit's module; ours names the function"
    ),
}
"""The expressions that give something else than was recorded, each with the reason."""


def test_expressions_give_what_was_recorded(tmp_path: Path, run_caikit: Run) -> None:
    folder = tmp_path / "kinds"
    shutil.copytree(GOLDEN / "kinds_for_caikit", folder)
    # As the recording was made: the script leaves files open, which Python would warn of.
    done = run_caikit(
        GOLDEN / "tools" / "python_cases.py", "check", "kinds", cwd=folder, PYTHONWARNINGS="ignore"
    )
    found = re.findall(r"^DIFFERENT (.*) $", done.stdout, re.MULTILINE)
    assert set(found) == set(EXPRESSIONS), done.stdout + done.stderr
    assert f"failures {len(EXPRESSIONS)}\n" in done.stdout


@pytest.mark.parametrize(
    ("folder", "library", "models"),
    [
        ("example", "example", ["hello_world"]),
        ("kinds_for_caikit", "kinds", ["echo"]),
        ("flows", "flows", ["legacy", "letters", "streams_only", "words"]),
        ("trainlab", "trainlab", ["fixed", "plain"]),
        ("faults", "faults", ["good", "old_style", "other", "zipped.zip", "zipped_nested.zip"]),
        ("textkit", "caikit_textkit", ["all"]),
    ],
)
def test_a_library_is_imported_and_its_models_are_loaded(
    run_script: RunScript, folder: str, library: str, models: list[str]
) -> None:
    found = run_script(
        f"""
        import sys
        sys.path.insert(0, "library")
        import caikit
        import {library}
        assert caikit.get_config().runtime.library == "{library}"
        assert {library}.data_model and {library}.modules
        for name in {models}:
            model = caikit.load(f"models/{{name}}")
            assert isinstance(model, caikit.core.ModuleBase)
            assert type(model).__module__ == "{library}.modules.hello_world" or (
                type(model).__module__ == "{library}.modules"
            )
        print("loaded", len({models}))
        """,
        cwd=GOLDEN / folder,
    )
    assert found == f"loaded {len(models)}\n"


def test_a_library_trains_and_saves_in_the_calling_process(
    run_script: RunScript, tmp_path: Path
) -> None:
    found = run_script(
        f"""
        import sys
        sys.path.insert(0, "library")
        import caikit
        import example
        from caikit.core.data_model import DataStream
        from example.data_model import HelloWorldInput, HelloWorldTrainingType

        rows = DataStream.from_csv("train_data/rows.csv", skip=1)
        data = rows.map(lambda row: HelloWorldTrainingType(*row))
        model = example.modules.HelloWorldModule.train(data)
        model.save(r"{tmp_path}/trained")
        again = caikit.load(r"{tmp_path}/trained")
        print(again.rows == len(data) > 0, again.run(HelloWorldInput("World")).greeting)
        """,
        cwd=GOLDEN / "example",
    )
    assert found == "True Hello World\n"


def test_the_libraries_need_the_names() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import example"],
        cwd=GOLDEN / "example" / "library",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "No module named 'caikit'" in done.stderr
