"""What a docstring tells about parameters and attributes, and what it says apart from them.

Read are the Google, numpy and reST styles, and the older caikit one (`name: type` with the
description on the next line). Types stay text here; `signature` resolves them where the
annotations say nothing. Documents made for readers have the descriptions.
"""

import inspect
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["DocstringFacts", "prose_of", "read_docstring"]

_GOOGLE_SECTION = re.compile(r"^(\w+):\s*$")
_GOOGLE_PARAMETER = re.compile(r"^\*{0,2}(\w+)\s*(?:\(([^)]*)\))?\s*:\s*(.*)$")
_NUMPY_PARAMETER = re.compile(r"^\*{0,2}(\w+)\s*(?::\s*(.+))?$")
_REST_PARAMETER = re.compile(r"^:param\s+(?:([^:]+?)\s+)?(\w+)\s*:\s*(.*)$")
_REST_TYPE = re.compile(r"^:type\s+(\w+)\s*:\s*(.+)$")
_REST_RETURN = re.compile(r"^:rtype\s*:\s*(.+)$")
_REST_FIELD = re.compile(r"^:\w+[^:]*:")
_TYPE = re.compile(r"^[\w.]+(?:\[.*\])?$")
_ARGUMENTS = ("Args", "Arguments", "Parameters", "Attributes")
_RETURNS = ("Returns", "Yields")
_NO_PROSE = {*_ARGUMENTS, *_RETURNS, "Raises"}


@dataclass(kw_only=True, slots=True)
class DocstringFacts:
    """Types and first description lines, by parameter name."""

    types: dict[str, str] = field(default_factory=dict)
    """What is written as the type, as far as it can be told apart."""
    descriptions: dict[str, str] = field(default_factory=dict)
    """The first line of each description."""
    texts: dict[str, str] = field(default_factory=dict)
    """The whole of each description, on one line."""
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

    def continue_text(self, name: str, line: str) -> None:
        """Adds a line to the whole description of a parameter.

        A first line that can be a type and is followed by others is caikit's habit: not a text.
        """
        known = self.texts.get(name, "")
        if known and known == self.types.get(name) and _TYPE.match(known):
            known = ""
        self.texts[name] = f"{known} {line}".strip()


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


def prose_of(text: str | None) -> str:
    """A docstring without what it says of parameters, results and errors one by one."""
    kept: list[str] = []
    skipping = False
    lines = inspect.cleandoc(text or "").splitlines()
    for line, after in _with_next(lines):
        title = _section_title(line, after)
        if title:
            skipping = title in _NO_PROSE
        elif line and not line[0].isspace() and _REST_FIELD.match(line):
            skipping = True
        if not skipping:
            kept.append(line)
    return "\n".join(kept).strip()


def _section_title(line: str, after: str) -> str:
    """The title of the Google (`Args:`) or numpy (underlined) section that begins here."""
    google = _GOOGLE_SECTION.match(line)
    if google:
        return google[1]
    underlined = bool(line.strip() and after.strip()) and set(after.strip()) == {"-"}
    return line.strip() if underlined else ""


def _with_next(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Each line with the one after it."""
    return itertools.zip_longest(lines, lines[1:], fillvalue="")


def _sections(lines: list[str]) -> list[tuple[str, list[str]]]:
    """The sections with their lines."""
    found: list[tuple[str, list[str]]] = []
    for line, after in _with_next(lines):
        title = _section_title(line, after)
        if title:
            found.append((title, []))
        elif found and line.strip() and set(line.strip()) != {"-"}:
            found[-1][1].append(line)
    return found


def _read_parameters(body: list[str], facts: DocstringFacts) -> None:
    if not body:
        return
    indent = len(body[0]) - len(body[0].lstrip())
    pattern = _GOOGLE_PARAMETER if indent else _NUMPY_PARAMETER
    name = ""
    for line, after in _with_next(body):
        if len(line) - len(line.lstrip()) != indent:
            if name:
                facts.continue_text(name, line.strip())
            continue
        match = pattern.match(line.strip())
        if match is None:
            continue
        name = match[1]
        if pattern is _GOOGLE_PARAMETER:
            facts.add(name, match[2], match[3].strip())
            facts.continue_text(name, match[3].strip())
        else:
            facts.add(name, match[2], after.strip())


def _read_rest(lines: list[str], facts: DocstringFacts) -> None:
    for line in lines:
        if match := _REST_PARAMETER.match(line.strip()):
            facts.add(match[2], match[1], match[3])
            facts.continue_text(match[2], match[3])
        elif match := _REST_TYPE.match(line.strip()):
            facts.types[match[1]] = match[2].strip()
        elif match := _REST_RETURN.match(line.strip()):
            facts.return_type = match[1].strip()
