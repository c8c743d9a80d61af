"""What goes into the example model and what comes out.

Each class is a typed record. From its annotations alone come the protobuf message, the JSON shape
and the documentation of the service.
"""

from kitfox import DataObjectBase, dataobject


@dataobject(package="example.data_model")
class HelloWorldInput(DataObjectBase):
    """Who to greet."""

    name: str


@dataobject(package="example.data_model")
class HelloWorldTrainingType(DataObjectBase):
    """One row of training data: a name and the greeting that suits it."""

    text: str
    label: str


@dataobject(package="example.data_model")
class HelloWorldPrediction(DataObjectBase):
    """The greeting."""

    greeting: str
