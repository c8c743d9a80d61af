from collections.abc import Iterable

from kitfox import DataStream, ModuleBase, TaskBase, module, task

from .data_model import Colour, Message, Point, Scalars, Shape


@task(
    unary_parameters={"shape": Shape},
    streaming_parameters={"points": Iterable[Point]},
    unary_output_type=Shape,
    streaming_output_type=Iterable[Point],
)
class SketchTask(TaskBase):
    """Draws a shape.

    With care.
    """


@task(unary_parameters={"left": str, "right": bytes}, unary_output_type=Scalars)
class PairTask(TaskBase):
    """Takes two things."""


@task(unary_parameters={"message": Message}, unary_output_type=Message, visible=False)
class HiddenTask(TaskBase):
    """Not in the document."""


@task(
    unary_parameters={"raw": bytes},
    unary_output_type=Message,
    metadata={
        "extra_openapi": {
            "summary": "Sends",
            "tags": ["mail"],
            "responses": {"402": {"description": "No stamp."}},
        },
        "examples": [{"inputs": "SGVsbG8="}, {"inputs": "", "model_id": "small"}],
    },
)
class SendTask(TaskBase):
    """Sends bytes."""


@module("0a0b0c0d", "Sketcher", "1.2.3", tasks=[SketchTask, PairTask, HiddenTask, SendTask])
class Sketcher(ModuleBase):
    """Draws."""

    @classmethod
    def load(cls, model_path: str) -> "Sketcher":
        return cls()

    @SketchTask.taskmethod()
    def sketch(
        self,
        shape: Shape,
        scale: float = 1.0,
        either: int | str = 1,
        lists: list[str] | list[int] | None = None,
        colour: Colour = Colour.BLUE,
    ) -> Shape:
        """Draws it.

        Args:
            shape: What is
                drawn.
            scale: How large.

        Returns:
            The same.
        """
        return shape

    @SketchTask.taskmethod(output_streaming=True)
    def walk(self, shape: Shape) -> Iterable[Point]:
        yield from shape.points

    @SketchTask.taskmethod(input_streaming=True, output_streaming=True)
    def follow(self, points: DataStream[Point]) -> Iterable[Point]:
        yield from points

    @PairTask.taskmethod()
    def pair(self, left: str, right: bytes, count: int) -> Scalars:
        return Scalars.from_json({"text": left})

    @HiddenTask.taskmethod()
    def hide(self, message: Message) -> Message:
        return message

    @SendTask.taskmethod()
    def send(self, raw: bytes) -> Message:
        return Message.from_json({})

    @classmethod
    def train(cls, samples: DataStream[Shape], rounds: int = 3) -> "Sketcher":
        """Learns shapes.

        Args:
            samples: Shapes to learn.
            rounds: How often.
        """
        return cls()
