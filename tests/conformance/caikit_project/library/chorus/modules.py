from typing import Iterable, List, Optional

from caikit.core import ModuleBase, ModuleLoader, ModuleSaver, TaskBase, module, task
from caikit.core.data_model import DataStream

from .data_model import Line, Verse


@task(
    unary_parameters={"verse": Verse},
    streaming_parameters={"verses": Iterable[Verse]},
    unary_output_type=Verse,
    streaming_output_type=Iterable[Verse],
)
class SingTask(TaskBase):
    """Sings verses."""


@module("50000000-0000-4000-8000-000000000001", "Choir", "1.0.0", SingTask)
class Choir(ModuleBase):
    """Repeats what it is given, in the words that it has learnt."""

    def __init__(self, words: Optional[dict] = None):
        super().__init__()
        self.words = words or {}

    @classmethod
    def load(cls, model_path, **kwargs):
        return cls(ModuleLoader(model_path).config.words)

    @SingTask.taskmethod()
    def run(self, verse: Verse, times: int = 1, voices: Optional[List[str]] = None) -> Verse:
        if verse.text == "silence":
            raise ValueError("nothing to sing")
        text = " ".join([self.words.get(verse.text, verse.text)] * times)
        return Verse(text, verse.number, voices or verse.voices, verse.tempo, verse.key)

    @SingTask.taskmethod(output_streaming=True)
    def run_out(self, verse: Verse, times: int = 3) -> Iterable[Verse]:
        for number in range(times):
            yield Verse(verse.text, number, ["all"], 0.5 * number, verse.key)

    @SingTask.taskmethod(input_streaming=True)
    def run_in(self, verses: DataStream[Verse], sep: str = " ") -> Verse:
        found = list(iter(verses))
        return Verse(sep.join(verse.text for verse in found), len(found), [], 1.0, "end")

    @SingTask.taskmethod(input_streaming=True, output_streaming=True)
    def run_both(self, verses: DataStream[Verse], sep: str = "!") -> Iterable[Verse]:
        for verse in verses:
            yield Verse(verse.text + sep, verse.number, ["echo"], None, verse.number)

    @classmethod
    def train(cls, lines: DataStream[Line], loud: bool = False) -> "Choir":
        words = {line.word: line.word * line.count for line in lines}
        return cls({old: new.upper() if loud else new for old, new in words.items()})

    def save(self, model_path, *args, **kwargs):
        with ModuleSaver(self, model_path=model_path) as saver:
            saver.update_config({"words": self.words})
