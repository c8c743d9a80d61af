"""A stream of many small answers, an answer of a mebibyte, an answer of nested objects.

The names from kitfox are those that caikit has too: it runs this file as it is.
"""

from collections.abc import Iterable

from kitfox import DataObjectBase, DataStream, ModuleBase, TaskBase, dataobject, module, task

MESSAGES = 500


@dataobject(package="samples")
class Greeting(DataObjectBase):
    """One message of many."""

    greeting: str


@dataobject(package="samples")
class Text(DataObjectBase):
    """A text of any size."""

    text: str


@dataobject(package="samples")
class Point(DataObjectBase):
    """An object in an object."""

    x: int
    y: float
    name: str


@dataobject(package="samples")
class Path(DataObjectBase):
    """Many objects in an object."""

    points: list[Point]


@task(unary_parameters={"text": str}, streaming_output_type=Iterable[Greeting])
class GreetTask(TaskBase):
    """Greets many times."""


@task(unary_parameters={"text": str}, unary_output_type=Text)
class EchoTask(TaskBase):
    """Gives back a text."""


@task(unary_parameters={"path": Path}, unary_output_type=Path)
class PathTask(TaskBase):
    """Gives back a path."""


@module(
    id="c0ffee00-0000-4000-8000-00000000a3b1",
    name="Sample",
    version="1.0.0",
    tasks=[GreetTask, EchoTask, PathTask],
)
class SampleModule(ModuleBase):
    """Does next to nothing, so that the server's work is what is measured."""

    @classmethod
    def load(cls, model_path: str) -> "SampleModule":
        """There is nothing to load."""
        return cls()

    @GreetTask.taskmethod(output_streaming=True)
    def greet(self, text: str) -> DataStream[Greeting]:
        """Many greetings."""
        return DataStream(
            lambda: (Greeting(greeting=f"Hello {text} {number}") for number in range(MESSAGES))
        )

    @EchoTask.taskmethod()
    def echo(self, text: str) -> Text:
        """The same text."""
        return Text(text=text)

    @PathTask.taskmethod()
    def path(self, path: Path) -> Path:
        """A path of the same points, each of them read and made anew."""
        return Path(points=[Point(x=p.x, y=p.y, name=p.name) for p in path.points])
