import time
from collections.abc import Iterable, Iterator

from kitfox import DataStream, ModuleBase, TaskBase, module, task

from .data_model import Colour, Harvest, News, Place, Plant


@task(
    unary_parameters={"plant": Plant},
    streaming_parameters={"plants": Iterable[Plant]},
    unary_output_type=Plant,
    streaming_output_type=Iterable[News],
)
class GrowTask(TaskBase):
    """Lets plants grow."""


@task(
    unary_parameters={"row": int, "name": str},
    unary_output_type=Place,
    metadata={"examples": {"roses": {"inputs": {"row": 3, "name": "rose"}}}},
)
class FindTask(TaskBase):
    """Finds a place."""


@task(unary_parameters={"basket": bytes}, unary_output_type=Harvest)
class HarvestTask(TaskBase):
    """Fills a basket."""


@module(
    "6a7de000-0000-4000-8000-000000000001",
    "Gardener",
    "1.0.0",
    tasks=[GrowTask, FindTask, HarvestTask],
)
class Gardener(ModuleBase):
    """Knows about plants."""

    @classmethod
    def load(cls, model_path: str) -> "Gardener":
        return cls()

    @GrowTask.taskmethod()
    def grow(self, plant: Plant, by: float = 0.5, colour: Colour = Colour.RED) -> Plant:
        """Grows one.

        Args:
            plant: What is there.
            by: How much it grows.
            colour: What it becomes.
        """
        return plant

    @GrowTask.taskmethod(output_streaming=True)
    def watch(self, plant: Plant, days: int = 3, pause: float = 0.0) -> Iterator[News]:
        for day in range(min(days, 5)):
            time.sleep(min(max(pause, 0.0), 0.5))
            yield News(text=f"{plant.name} {day}")

    @GrowTask.taskmethod(input_streaming=True)
    def gather(self, plants: DataStream[Plant]) -> Plant:
        found = list(plants)
        if not found:
            raise ValueError("plants: expected at least one")
        return found[-1]

    @GrowTask.taskmethod(input_streaming=True, output_streaming=True)
    def replant(self, plants: DataStream[Plant], suffix: str = "") -> Iterator[News]:
        for plant in plants:
            yield News(text=f"{plant.name}{suffix}")

    @FindTask.taskmethod()
    def find(self, row: int, name: str) -> Place:
        if not name:
            raise ValueError("name: expected the name of a plant, got none")
        return Place(row=row, depth=0.5)

    @HarvestTask.taskmethod()
    def harvest(self, basket: bytes) -> Harvest:
        return Harvest(content=basket)

    @classmethod
    def train(cls, plants: DataStream[Plant], rounds: int = 1) -> "Gardener":
        """Learns.

        Args:
            plants: What to learn from.
            rounds: How often.
        """
        return cls()

    def save(self, model_path: str) -> None:
        return None
