"""What a method's docstring tells about its parameters, where the annotations say nothing.

Read are the Google, numpy and reST styles, and the older caikit one (`name: type` with the
description on the next line). Types stay text here; `signature` resolves them.
"""

import inspect
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["DocstringFacts", "read_docstring"]

_GOOGLE_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns|Yields|Raises|\w+):\s*$")
_GOOGLE_PARAMETER = re.compile(r"^\*{0,2}(\w+)\s*(?:\(([^)]*)\))?\s*:\s*(.*)$")
_NUMPY_PARAMETER = re.compile(r"^\*{0,2}(\w+)\s*(?::\s*(.+))?$")
_REST_PARAMETER = re.compile(r"^:param\s+(?:([^:]+?)\s+)?(\w+)\s*:\s*(.*)$")
_REST_TYPE = re.compile(r"^:type\s+(\w+)\s*:\s*(.+)$")
_REST_RETURN = re.compile(r"^:rtype\s*:\s*(.+)$")
_ARGUMENTS = ("Args", "Arguments", "Parameters")
_RETURNS = ("Returns", "Yields")


@dataclass(kw_only=True, slots=True)
class DocstringFacts:
    """Types and first description lines, by parameter name."""

    types: dict[str, str] = field(default_factory=dict)
    """What is written as the type, as far as it can be told apart."""
    descriptions: dict[str, str] = field(default_factory=dict)
    """The first line of each description."""
    return_type: str = ""
    """What is written as the type of the result."""

    def is_optional(self, name: str) -> bool:
        """Whether the description of a parameter begins with "optional" or "an optional"."""
        text = self.descriptions.get(name, "").lower()
        return text.startswith(("optional", "an optional"))

    def add(self, name: str, written_type: str | None, description: str) -> None:
        """Notes one parameter."""
        written_type = (written_type or "").removesuffix(", optional").strip()
        if written_type:
            self.types[name] = written_type
        elif description:
            # caikit's own habit: `name: type`, then the description on the next line
            self.types[name] = description.split(" | ")[0].rstrip(".")
        self.descriptions[name] = description


def read_docstring(text: str | None) -> DocstringFacts:
    """Reads what there is; text in no known style gives empty facts."""
    facts = DocstringFacts()
    lines = inspect.cleandoc(text or "").splitlines()
    for section, body in _sections(lines):
        if section in _ARGUMENTS:
            _read_parameters(body, facts)
        elif section in _RETURNS and body:
            facts.return_type = body[0].strip().partition(":")[0].strip()
    _read_rest(lines, facts)
    return facts


def _with_next(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Each line with the one after it."""
    return itertools.zip_longest(lines, lines[1:], fillvalue="")


def _sections(lines: list[str]) -> list[tuple[str, list[str]]]:
    """The Google (`Args:`) and numpy (underlined) sections with their lines."""
    found: list[tuple[str, list[str]]] = []
    for line, after in _with_next(lines):
        google = _GOOGLE_SECTION.match(line)
        if google:
            found.append((google[1], []))
        elif line and after and set(after.strip()) == {"-"}:
            found.append((line.strip(), []))
        elif found and line.strip() and set(line.strip()) != {"-"}:
            found[-1][1].append(line)
    return found


def _read_parameters(body: list[str], facts: DocstringFacts) -> None:
    if not body:
        return
    indent = len(body[0]) - len(body[0].lstrip())
    pattern = _GOOGLE_PARAMETER if indent else _NUMPY_PARAMETER
    for line, after in _with_next(body):
        if len(line) - len(line.lstrip()) != indent:
            continue
        match = pattern.match(line.strip())
        if match is None:
            continue
        if pattern is _GOOGLE_PARAMETER:
            facts.add(match[1], match[2], match[3].strip())
        else:
            facts.add(match[1], match[2], after.strip())


def _read_rest(lines: list[str], facts: DocstringFacts) -> None:
    for line in lines:
        if match := _REST_PARAMETER.match(line.strip()):
            facts.add(match[2], match[1], match[3])
        elif match := _REST_TYPE.match(line.strip()):
            facts.types[match[1]] = match[2].strip()
        elif match := _REST_RETURN.match(line.strip()):
            facts.return_type = match[1].strip()
