"""The examples of the documentation do what it says."""

import doctest
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.mark.parametrize("page", ["data-objects", "streaming", "training-modules"])
def test_the_examples_of_a_page(page: str) -> None:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    # Like a module of its own: what resolves the annotations looks there.
    scope = vars(sys.modules.setdefault(f"docs_{page}", ModuleType(f"docs_{page}")))
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(code, f"{page}.md", "exec"), scope)  # noqa: S102 -- the page's own code
    examples = "\n".join(re.findall(r"```pycon\n(.*?)```", text, re.DOTALL))
    parsed = doctest.DocTestParser().get_doctest(examples, scope, page, None, None)
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(parsed)
    assert results.attempted > 1
    assert results.failed == 0
