"""The page about REST does what it says, against the template."""

import re
import shutil
import subprocess

import pytest

from tests.conftest import ROOT, Server

PAGE = (ROOT / "docs" / "rest.md").read_text(encoding="utf-8")


def examples() -> list[tuple[str, str]]:
    """Commands and what they print."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        for example in block.removeprefix("$ ").split("\n$ "):
            command, _, output = example.partition("\n")
            found.append((command, output.strip()))
    return found


@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples are for curl")
def test_the_examples(server: Server) -> None:
    """One after the other: there are some that show what those before them have done."""
    found = examples()
    assert found
    for command, output in found:
        printed = run(server, command)
        pattern = re.escape(output).replace(re.escape("..."), ".*")
        assert re.fullmatch(pattern, printed), f"{command}\n{printed}"


def run(server: Server, command: str) -> str:
    """What a command prints."""
    # `--json` is younger than many a curl.
    command = re.sub(r"--json ('.*?')$", r"-H 'content-type: application/json' -d \1", command)
    done = subprocess.run(
        ["/bin/sh", "-c", command.replace("localhost:8080", f"127.0.0.1:{server.http_port}")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def test_the_page_names_the_settings_that_there_are() -> None:
    settings = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for name in re.findall(r"`((?:server|runtime)\.[a-z_.]+)`", PAGE):
        assert f"`{name}`" in settings, name
