"""The examples of the documentation do what it says."""

import doctest
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_the_examples_of_data_objects() -> None:
    text = (DOCS / "data-objects.md").read_text(encoding="utf-8")
    scope: dict[str, Any] = {"__name__": "docs_example"}
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(code, "data-objects.md", "exec"), scope)  # noqa: S102 -- the page's own code
    examples = "\n".join(re.findall(r"```pycon\n(.*?)```", text, re.DOTALL))
    parsed = doctest.DocTestParser().get_doctest(examples, scope, "data-objects", None, None)
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(parsed)
    assert results.attempted > 5
    assert results.failed == 0
