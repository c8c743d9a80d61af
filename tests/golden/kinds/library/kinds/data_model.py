from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Annotated, Dict, List, Optional, Union

import numpy as np
from kitfox.data import DataObjectBase, FieldNumber, JsonDict, OneofField, dataobject


PACKAGE = "kinds.data_model"


@dataobject(package=PACKAGE)
class Color(Enum):
    RED = 1
    GREEN = 2
    BLUE = 7


@dataobject(package=PACKAGE)
class Level(Enum):
    LOW = 0
    HIGH = 1


@dataobject(package=PACKAGE)
class Point(DataObjectBase):
    """A place."""

    x: float
    y: float


@dataobject(package=PACKAGE)
class Named(DataObjectBase):
    name: str


@dataobject(package=PACKAGE)
class Scalars(DataObjectBase):
    """One field of each single-valued kind."""

    text: str
    whole: int
    real: float
    flag: bool
    raw: bytes
    int32: np.int32
    int64: np.int64
    uint32: np.uint32
    uint64: np.uint64
    float32: np.float32
    float64: np.float64
    when: datetime
    anything: JsonDict
    color: Color
    level: Level
    point: Point


@dataobject(package=PACKAGE)
class Optionals(DataObjectBase):
    text: Optional[str]
    whole: Optional[int]
    real: Optional[float]
    flag: Optional[bool]
    raw: Optional[bytes]
    when: Optional[datetime]
    anything: Optional[JsonDict]
    color: Optional[Color]
    point: Optional[Point]
    names: Optional[List[str]]


@dataobject(package=PACKAGE)
class Lists(DataObjectBase):
    texts: List[str]
    wholes: List[int]
    reals: List[float]
    flags: List[bool]
    raws: List[bytes]
    whens: List[datetime]
    anythings: List[JsonDict]
    points: List[Point]


@dataobject(package=PACKAGE)
class EnumList(DataObjectBase):
    colors: List[Color]


@dataobject(package=PACKAGE)
class Maps(DataObjectBase):
    text_to_text: Dict[str, str]
    text_to_whole: Dict[str, int]
    whole_to_text: Dict[int, str]
    text_to_real: Dict[str, float]
    text_to_flag: Dict[str, bool]
    text_to_point: Dict[str, Point]


@dataobject(package=PACKAGE)
class Choices(DataObjectBase):
    plain: Union[int, str]
    wide: Union[float, str, bool, bytes]
    thing: Union[Point, Named]
    tagged: Union[
        Annotated[int, OneofField("count")], Annotated[str, OneofField("label")]
    ]
    maybe: Optional[Union[int, str]]


@dataobject(package=PACKAGE)
class ChoiceLists(DataObjectBase):
    items: Union[List[int], List[str]]


@dataobject(package=PACKAGE)
class Numbered(DataObjectBase):
    late: Annotated[str, FieldNumber(10)]
    early: Annotated[int, FieldNumber(2)]
    free: bool
    pick: Union[
        Annotated[int, FieldNumber(20), OneofField("pick_number")],
        Annotated[str, FieldNumber(30), OneofField("pick_word")],
    ]


@dataobject(package=PACKAGE)
@dataclass
class Defaults(DataObjectBase):
    text: str = "hello"
    whole: int = 3
    real: float = 0.25
    flag: bool = True
    tags: List[str] = field(default_factory=lambda: ["a", "b"])
    point: Point = field(default_factory=lambda: Point(1.0, 2.0))
    none: Optional[str] = None
    bare: int = 0


@dataobject(package=PACKAGE)
class Base(DataObjectBase):
    first: str
    second: int


@dataobject(package=PACKAGE)
class Derived(Base):
    third: float


@dataobject(package=PACKAGE)
class Outer(DataObjectBase):
    """Holds a class of its own."""

    @dataobject(package=PACKAGE)
    class Inner(DataObjectBase):
        value: int

    inner: Inner
    inners: List[Inner]
    by_name: Dict[str, Inner]


@dataobject(package=PACKAGE)
class Empty(DataObjectBase):
    pass


@dataobject(package=PACKAGE)
class Seen(DataObjectBase):
    """What a module saw, as text."""

    text: str


@dataobject
class NoPackage(DataObjectBase):
    value: str
