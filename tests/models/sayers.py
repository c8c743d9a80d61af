"""A module to make models of that say a word, and the files of such models."""

from pathlib import Path

from kitfox.data import DataObjectBase, dataobject
from kitfox.modules import ModuleBase, TaskBase, load_model, module, task
from kitfox.modules.manifest import seal

MODULE_ID = "0b5f6d0c-54c3-4f51-9d7c-3f9d4a60c9aa"


@dataobject(package="storetest")
class Word(DataObjectBase):
    """A word."""

    text: str


@task(unary_parameters={"text": str}, unary_output_type=Word)
class SayTask(TaskBase):
    """Says something."""


@module(MODULE_ID, "Sayer", "1.0.0", SayTask)
class Sayer(ModuleBase):
    """Says what its file says."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self.word = word

    def run(self, text: str) -> Word:
        """Says it."""
        return Word(text=self.word)

    @classmethod
    def load(cls, model_path: str) -> "Sayer":
        """Reads the file."""
        return cls(Path(model_path, "word.txt").read_text())


def files(word: str) -> dict[str, bytes]:
    """The files of a model."""
    return {"config.yml": f"module_id: {MODULE_ID}\n".encode(), "word.txt": word.encode()}


def plain_folder(path: Path, word: str) -> Path:
    """A model as somebody copies it there: without a manifest."""
    path.mkdir(parents=True)
    for name, data in files(word).items():
        (path / name).write_bytes(data)
    return path


def word_of(path: Path | None) -> str:
    """What the model at a path says."""
    assert path is not None
    model = load_model(path)
    assert isinstance(model, Sayer)
    return model.word


class Training:
    """What a training has left in its folder, as the training service finds it by its id."""

    def __init__(self, output: Path) -> None:
        self._output = output

    def make(self, training_id: str, name: str, word: str) -> Path:
        """Makes the model of a training."""
        folder = plain_folder(self._output / training_id / name, word)
        seal(folder, training_id=training_id, attempt=1)
        return folder

    def find(self, training_id: str) -> Path | None:
        """The model of a training."""
        found = [path for path in self._output.glob("*/*") if path.parent.name == training_id]
        return found[0] if found else None
