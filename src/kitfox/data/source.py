"""Python source that is written by the codecs and compiled once per class."""

from typing import Any

from kitfox.data.schema import Field

__all__ = ["Source", "default_expression"]


class Source:
    """The lines of one generated function and the objects that they name.

    Args:
        head: The first line, such as `def read(message):`.
    """

    def __init__(self, head: str) -> None:
        self._head = head
        self._lines: list[str] = []
        self._names: dict[str, Any] = {}

    def add(self, line: str, *, depth: int = 1) -> None:
        """Append a line, indented by so many steps."""
        self._lines.append("    " * depth + line)

    def name(self, value: Any, hint: str = "v") -> str:
        """A name by which the generated code can use an object."""
        for taken, known in self._names.items():
            if known is value:
                return taken
        name = f"_{hint}{len(self._names)}"
        self._names[name] = value
        return name

    def use(self, names: dict[str, Any]) -> None:
        """Make objects known under chosen names."""
        self._names.update(names)

    def function(self, label: str) -> Any:
        """Compile; `label` stands for the file in stack traces."""
        name = self._head.split("(", 1)[0].removeprefix("def ").strip()
        text = "\n".join([self._head, *(self._lines or ["    pass"])])
        namespace = self._names
        exec(compile(text, f"<kitfox {label}>", "exec"), namespace)  # noqa: S102 # our own text
        return namespace[name]


def default_expression(source: Source, field: Field) -> str:
    """The expression for the value of a field that was not given."""
    if field.factory is not None:
        return f"{source.name(field.factory, 'factory')}()"
    default = field.make_default()
    return "None" if default is None else source.name(default, "default")
