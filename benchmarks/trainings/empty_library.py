"""A module whose training does nothing: what is left is what a training costs."""

from kitfox import (
    DataObjectBase,
    ModuleBase,
    ModuleLoader,
    ModuleSaver,
    TaskBase,
    dataobject,
    module,
    task,
)


@dataobject("bench.trainings")
class Word(DataObjectBase):
    """A word."""

    text: str


@task(unary_parameters={"word": Word}, unary_output_type=Word)
class EchoTask(TaskBase):
    """Gives back."""


@module("be000000-0000-4000-8000-000000000001", "Empty", "1.0.0", task=EchoTask)
class Empty(ModuleBase):
    """Learns nothing."""

    def run(self, word: Word) -> Word:
        """Gives the word back."""
        return word

    @classmethod
    def train(cls) -> "Empty":
        """Nothing."""
        return cls()

    def save(self, model_path: str) -> None:
        """A file of one line."""
        with ModuleSaver(self, model_path=model_path) as saver:
            saver.update_config({"learned": "nothing"})

    @classmethod
    def load(cls, model_path: str) -> "Empty":
        """Reads it."""
        ModuleLoader(model_path)
        return cls()
