from datetime import datetime
from enum import Enum
from typing import IO

from kitfox import DataObjectBase, dataobject
from kitfox.data import JsonDict
from kitfox.interfaces.common.data_model import File


@dataobject("parrot")
class Mood(Enum):
    CALM = 1
    LOUD = 2


@dataobject("parrot")
class Leaf(DataObjectBase):
    """What a branch ends in."""

    name: str
    size: int


@dataobject("parrot")
class Branch(DataObjectBase):
    """A field of most kinds, nested and alone."""

    leaf: Leaf
    leaves: list[Leaf]
    by_name: dict[str, Leaf]
    by_number: dict[int, float]
    either: int | str | Leaf | None
    lists: list[int] | list[str]
    anything: JsonDict
    when: datetime
    raw: bytes
    mood: Mood
    moods: list[Mood]
    reals: list[float]
    maybe: int | None
    file: File


@dataobject("parrot")
class Document(DataObjectBase):
    """An answer that is a file over REST, of whatever name and type the caller chose."""

    data: bytes
    filename: str
    type: str

    def to_file(self, file_obj: IO[bytes]) -> File:
        file_obj.write(self.data or b"")
        return File(data=b"", filename=self.filename, type=self.type)
