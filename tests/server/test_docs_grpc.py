"""The examples of the gRPC page work against the template."""

import re
from pathlib import Path

from tests.conftest import ROOT, Server

# In a process of its own, as a reader's would be: the template's library is imported.
SCRIPT = """
import doctest, sys
sys.path.insert(0, sys.argv[1])
results = doctest.testfile(sys.argv[2], module_relative=False)
print(results.attempted)
sys.exit(results.failed)
"""


def test_the_examples_of_the_page(server: Server, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "grpc.md").read_text(encoding="utf-8")
    text = text.replace("localhost:8085", server.address)
    text = text.replace("http://localhost:8080", server.url)
    examples = tmp_path / "examples.txt"
    blocks = re.findall(r"```pycon\n(.*?)```", text, re.DOTALL)
    examples.write_text("\n".join(blocks), encoding="utf-8")
    result = server.run("-c", SCRIPT, str(server.project), str(examples))
    assert result.returncode == 0, result.stdout
    assert int(result.stdout) > 20
