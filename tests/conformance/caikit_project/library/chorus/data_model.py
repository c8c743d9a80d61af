from typing import List, Optional, Union

from caikit.core import DataObjectBase, dataobject


@dataobject(package="chorus")
class Verse(DataObjectBase):
    """A line of a song."""

    text: str
    number: int
    voices: List[str]
    tempo: Optional[float]
    key: Union[int, str]


@dataobject(package="chorus")
class Line(DataObjectBase):
    """A line to learn."""

    word: str
    count: int
