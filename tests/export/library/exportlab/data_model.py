from datetime import datetime
from enum import Enum
from typing import Annotated

import numpy as np
from typing_extensions import Doc

from kitfox.data import DataObjectBase, FieldNumber, File, JsonDict, OneofField, dataobject

PACKAGE = "exportlab.data_model"


@dataobject(PACKAGE)
class Colour(Enum):
    """What a shape is painted in."""

    RED = 1
    CRIMSON = 1  # noqa: PIE796 -- two names of one number are meant
    BLUE = 7


@dataobject(PACKAGE)
class Point(DataObjectBase):
    """A place.

    Attributes:
        x: To the right.
        y: Said elsewhere.
    """

    x: float
    y: float
    """Upwards,
    not down."""


@dataobject(PACKAGE)
class Scalars(DataObjectBase):
    """One field of each single-valued kind."""

    text: str
    raw: bytes
    flag: bool
    whole: int
    real: float
    small: np.int32
    large: np.int64
    small_natural: np.uint32
    large_natural: np.uint64
    single: np.float32
    when: datetime
    anything: JsonDict
    colour: Colour
    point: Point


@dataobject(PACKAGE)
class Shape(DataObjectBase):
    """A shape; its union comes before its other fields."""

    outline: Point | list[str] | list[int] | Annotated[str, OneofField("named")]
    points: list[Point]
    labels: dict[str, str]
    places: dict[int, Point]
    parts: list["Shape"]
    scalars: Scalars
    note: str | None
    tags: list[str] | None
    colour: Colour | None
    raws: list[bytes]
    weight: Annotated[float, FieldNumber(20), Doc("In kilograms.")] = 1.5


@dataobject("exportlab.files.exportlab")
class Message(DataObjectBase):
    """In a package whose last part is the first of others."""

    shape: Shape
    attachment: File
