from datetime import datetime
from enum import Enum
from typing import Any

import numpy as np

from kitfox.data import DataObjectBase, File, JsonDict, dataobject

PACKAGE = "garden.data_model"


@dataobject(PACKAGE)
class Colour(Enum):
    """What one sees."""

    RED = 1
    WHITE = 2


@dataobject(PACKAGE)
class Place(DataObjectBase):
    """Where it stands."""

    row: int
    """Counted from the fence."""
    depth: float


@dataobject(PACKAGE)
class Plant(DataObjectBase):
    """What grows."""

    name: str
    place: Place | str
    """Where it stands, or what the place is called."""
    colour: Colour | None
    buds: list[int]
    labels: dict[str, str]
    planted: datetime
    notes: JsonDict
    seed: bytes
    height: np.float32 = np.float32(0.5)


@dataobject(PACKAGE)
class News(DataObjectBase):
    """What happens."""

    text: str


@dataobject(PACKAGE)
class Harvest(DataObjectBase):
    """A basket as a file."""

    content: bytes

    def to_file(self, file_obj: Any) -> File:
        file_obj.write(self.content)
        return File(filename="basket.txt", type="text/x-basket", data=b"")
