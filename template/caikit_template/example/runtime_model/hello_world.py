"""The example model: a task (what goes in, what comes out) and a module that does it.

To make it your own, change `run` and `train`, and what `save` writes and `load` reads.
"""

from kitfox import DataStream, ModuleBase, ModuleLoader, ModuleSaver, TaskBase, module, task

from ..data_model import HelloWorldInput, HelloWorldPrediction, HelloWorldTrainingType


@task(
    required_parameters={"text_input": HelloWorldInput},
    output_type=HelloWorldPrediction,
)
class HelloWorldTask(TaskBase):
    """Greets whoever is named."""


@module(
    id="00110203-0405-0607-0809-0a0b02dd0e0f",
    name="HelloWorldModule",
    version="0.0.1",
    task=HelloWorldTask,
)
class HelloWorldModule(ModuleBase):
    """Knows which greeting suits which name; says "Hello" to everybody else."""

    def __init__(self, greetings: dict[str, str] | None = None) -> None:
        """Takes the greetings by name, as learned."""
        super().__init__()
        self.greetings = greetings or {}

    def run(self, text_input: HelloWorldInput) -> HelloWorldPrediction:
        """Answers one request."""
        if not text_input.name:
            raise ValueError("text_input.name: expected a name to greet, got none")
        greeting = self.greetings.get(text_input.name, "Hello")
        return HelloWorldPrediction(greeting=f"{greeting} {text_input.name}")

    @classmethod
    def train(cls, training_data: DataStream[HelloWorldTrainingType]) -> "HelloWorldModule":
        """Learns one greeting a row; the last row of a name counts."""
        greetings = {row.text: row.label for row in training_data}
        if not greetings:
            raise ValueError("training_data: expected at least one row, got none")
        return cls(greetings)

    def save(self, model_path: str) -> None:
        """Writes the model into a folder."""
        with ModuleSaver(self, model_path=model_path) as saver:
            saver.update_config({"greetings": self.greetings})

    @classmethod
    def load(cls, model_path: str) -> "HelloWorldModule":
        """Reads a model from the folder that `save` wrote."""
        loader = ModuleLoader(model_path)
        return cls(loader.config.greetings)
