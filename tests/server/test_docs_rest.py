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
@pytest.mark.parametrize(("command", "output"), examples())
def test_an_example(server: Server, command: str, output: str) -> None:
    # `--json` is younger than many a curl.
    command = re.sub(r"--json ('.*?')$", r"-H 'content-type: application/json' -d \1", command)
    done = subprocess.run(
        ["/bin/sh", "-c", command.replace("localhost:8080", f"127.0.0.1:{server.http_port}")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    pattern = re.escape(output).replace(re.escape("..."), ".*")
    assert re.fullmatch(pattern, done.stdout.strip()), done.stdout


def test_the_page_names_the_settings_that_there_are() -> None:
    settings = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for name in re.findall(r"`((?:server|runtime)\.[a-z_.]+)`", PAGE):
        assert f"`{name}`" in settings, name
