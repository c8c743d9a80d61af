"""The data objects: in and out."""

from kitfox import DataObjectBase, dataobject


@dataobject("errands.notes")
class Note(DataObjectBase):
    """What goes in."""

    text: str
    tags: list[str]


@dataobject("errands.notes")
class Report(DataObjectBase):
    """What comes out."""

    text: str


@dataobject("errands.notes")
class Count(DataObjectBase):
    """What comes out of another task."""

    number: int
