"""The documentation names what there is, and nothing else."""

import re
from pathlib import Path

from typer.main import get_command

from kitfox.cli.commands import app
from kitfox.config import Config, describe

ROOT = Path(__file__).resolve().parents[1]


def test_the_configuration_page_has_every_key_with_its_default() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \|([^|]*)\|", page, re.MULTILINE))
    documented = {key: text.strip("` ") for key, text in rows.items()}
    actual = {key: _shown(value) for key, value in describe(Config())}
    assert documented == actual


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "null" if value is None else str(value)


def test_the_readme_names_only_commands_that_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    used = set(re.findall(r"^\s*kitfox ([a-z]+)", readme, re.MULTILINE))
    commands = set(getattr(get_command(app), "commands", {}))
    assert used
    assert used <= commands
