from kitfox import DataObjectBase, dataobject


@dataobject("shapes")
class Word(DataObjectBase):
    """What every method answers."""

    text: str
    number: int
