import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, List  # noqa: F401, UP035 -- a docstring below names List

import pytest

from kitfox.data import DataObjectBase, dataobject
from kitfox.modules import ProducerId, UnresolvedAnnotation
from kitfox.modules.annotation import same
from kitfox.modules.docstring import read_docstring
from kitfox.modules.signature import read_signature


@dataobject(package="kitfox.tests.signature")
class RawDocument(DataObjectBase):
    text: str


class Plain:
    def run(
        self, text: str, count: int = 3, note: str | None = None, *args: int, **kwargs: str
    ) -> "Plain":
        return self

    @classmethod
    def train(cls, names: "list[str]", epochs: int = 1) -> "Plain":
        return cls()

    @staticmethod
    def still(text: str) -> str:
        return text


def test_a_signature_holds_names_types_and_defaults_in_order() -> None:
    signature = read_signature(Plain, "run")
    assert list(signature.parameters) == ["text", "count", "note"]
    assert signature.parameters["text"] is str
    assert same(signature.parameters["note"], str | None)
    assert dict(signature.defaults) == {"count": 3, "note": None}
    assert signature.default_parameters == signature.defaults
    assert signature.return_type is Plain
    assert signature.method_name == "run"
    assert signature.full_name == f"{__name__}.Plain.run"


def test_self_and_cls_are_no_parameters() -> None:
    assert list(read_signature(Plain, "train").parameters) == ["names", "epochs"]
    assert list(read_signature(Plain, "still").parameters) == ["text"]


def test_text_annotations_are_resolved() -> None:
    assert same(read_signature(Plain, "train").parameters["names"], list[str])
    assert read_signature(Plain, "train").return_type is Plain


def test_an_inherited_method_is_resolved_where_it_is_defined() -> None:
    class Child(Plain):
        pass

    signature = read_signature(Child, "train")
    assert signature.return_type is Plain
    assert signature.qualified_name == "Plain.train"


def test_a_class_in_a_function_may_name_itself() -> None:
    class Local:
        def run(self, text: str) -> "Local":
            return self

    assert read_signature(Local, "run").return_type is Local


def test_an_unresolvable_annotation_names_class_method_and_parameter() -> None:
    class Broken:
        def run(self, text: str, thing: "Absent") -> str:  # type: ignore[name-defined] # noqa: F821
            return text

    with pytest.raises(UnresolvedAnnotation) as caught:
        read_signature(Broken, "run")
    assert "Broken.run`, parameter `thing`: the annotation `Absent`" in str(caught.value)
    assert (caught.value.parameter, caught.value.text) == ("thing", "Absent")


def test_an_unresolvable_result_is_named() -> None:
    class Broken:
        def run(self, text: str) -> "Absent":  # type: ignore[name-defined] # noqa: F821
            return text

    with pytest.raises(UnresolvedAnnotation, match="return annotation: the annotation `Absent`"):
        read_signature(Broken, "run")


def test_the_context_parameter_is_left_out() -> None:
    class Contextual:
        def run(self, text: str, context: object = None, limit: int = 1) -> str:
            return text

    signature = read_signature(Contextual, "run", context_arg="context")
    assert list(signature.parameters) == ["text", "limit"]
    assert list(signature.defaults) == ["limit"]
    assert signature.context_arg == "context"
    with pytest.raises(TypeError, match="no parameter `request` to give the context to"):
        read_signature(Contextual, "run", context_arg="request")


def test_positional_only_parameters_are_refused() -> None:
    class Positional:
        def run(self, text: str, /) -> str:
            return text

    with pytest.raises(TypeError, match=r"parameter `text`.*must not be positional-only"):
        read_signature(Positional, "run")


def passed_on(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return wrapper


class Kinds:
    def plain(self, a: int) -> int:
        return a

    def generator(self, a: int) -> Iterator[int]:
        yield a

    async def coroutine(self, a: int) -> int:
        return a

    async def async_generator(self, a: int) -> AsyncIterator[int]:
        yield a

    @passed_on
    async def wrapped(self, a: int) -> int:
        return a


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("plain", "function"),
        ("generator", "generator"),
        ("coroutine", "coroutine"),
        ("async_generator", "async_generator"),
        ("wrapped", "coroutine"),
    ],
)
def test_how_to_call_is_settled_once(method: str, kind: str) -> None:
    signature = read_signature(Kinds, method)
    assert signature.kind == kind
    assert list(signature.parameters) == ["a"]


# What follows is for methods without annotations, so the type checker has nothing to say to them.
class Unannotated:
    def run(  # type: ignore[no-untyped-def]
        self,
        producer_id,
        raw_document,
        text="x",
        flag=True,
        names=["a"],  # noqa: B006 -- a list default tells a type
        none=None,
        _=1,
    ):
        return text

    def google(self, text, count, maybe: int, odd):  # type: ignore[no-untyped-def]
        """Does it.

        Args:
            text (str): The text.
            count: int
                How many.
            maybe: Optional, how many.
            odd: the odd one.

        Returns:
            RawDocument: Something.
        """

    def numpy(self, text, names):  # type: ignore[no-untyped-def]
        """Does it.

        Parameters
        ----------
        text : str
            The text.
        names : List[str], optional
            The names.

        Returns
        -------
        int
            A number.
        """

    def rest(self, text, count, other):  # type: ignore[no-untyped-def]
        """Does it.

        :param str text: The text.
        :param count: How many.
        :type count: int
        :param other: no idea
        :rtype: RawDocument
        """


def test_types_come_from_names_and_defaults_where_there_is_no_annotation() -> None:
    parameters = dict(read_signature(Unannotated, "run").parameters)
    assert parameters == {
        "producer_id": ProducerId,
        "raw_document": RawDocument,
        "text": str,
        "flag": bool,
        "names": list[str],
        "none": None,
    }
    assert read_signature(Unannotated, "run").return_type is None


def test_google_docstrings_tell_types() -> None:
    signature = read_signature(Unannotated, "google")
    assert signature.parameters["text"] is str
    assert signature.parameters["count"] is int
    assert same(signature.parameters["maybe"], int | None)
    assert signature.parameters["odd"] is None
    assert signature.return_type is RawDocument


def test_numpy_docstrings_tell_types() -> None:
    signature = read_signature(Unannotated, "numpy")
    assert signature.parameters["text"] is str
    assert same(signature.parameters["names"], list[str])
    assert signature.return_type is int


def test_rest_docstrings_tell_types() -> None:
    signature = read_signature(Unannotated, "rest")
    assert signature.parameters["text"] is str
    assert signature.parameters["count"] is int
    assert signature.parameters["other"] is None
    assert signature.return_type is RawDocument


def test_prose_in_docstrings_is_no_type() -> None:
    facts = read_docstring("Just a sentence.\n\nArgs:\n    a: print\n\nNote:\n    b: int\n")
    assert facts.types == {"a": "print"}

    class Prose:
        def run(self, a):  # type: ignore[no-untyped-def]
            """Does it.

            Args:
                a: print
            """

    assert read_signature(Prose, "run").parameters["a"] is None
