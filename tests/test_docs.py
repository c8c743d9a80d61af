"""The documentation names what there is, and nothing else."""

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from kitfox.cli.commands import app
from kitfox.config import Config, describe
from kitfox.modules.context import GrpcRequestContext

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


def test_the_page_of_streams_has_all_that_a_context_gives_a_method() -> None:
    page = (ROOT / "docs" / "streaming.md").read_text(encoding="utf-8")
    section = page.partition("## The request context")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    documented = {name for cell in cells for name in re.findall(r"`(\w+)", cell)}
    public = {name for name in dir(GrpcRequestContext) if not name.startswith("_")}
    assert documented == public - {"callbacks", "cancel", "introduce", "on_cancel"}


# Up to the end of what is code: a line of a block, or what stands between two backticks.
COMMAND = re.compile(r"(?:^|`|\$ )\s*kitfox ((?:[a-z]+)(?: [^`\n]*)?)", re.MULTILINE)


def commands_in(text: str) -> list[list[str]]:
    """The words of each command line of a page; lines that end in a backslash go on."""
    return [line.split() for line in COMMAND.findall(re.sub(r"\\\n", " ", text))]


@pytest.mark.parametrize(
    "page", ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
)
def test_a_page_names_only_commands_and_options_that_exist(page: str) -> None:
    for words in commands_in((ROOT / page).read_text(encoding="utf-8")):
        command: Any = get_command(app)
        for word in words:
            commands = getattr(command, "commands", {})
            if not commands or word[:1] == "-":
                break
            assert word in commands, words
            command = commands[word]
        known = {option for item in command.params for option in (*item.opts, *item.secondary_opts)}
        used = {word.partition("=")[0] for word in words if re.match("--?[a-z]", word)}
        assert used <= known | {"--help", "-v"}, words


def test_the_readme_shows_commands() -> None:
    assert len(commands_in((ROOT / "README.md").read_text(encoding="utf-8"))) > 4
    assert ["jobs", "cancel", "ID"] in commands_in((ROOT / "docs/training.md").read_text())
