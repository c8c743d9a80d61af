"""No name from a client leads anywhere but to a model, or to a file of one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitfox.errors import InvalidArgument
from kitfox.models import ModelReference, ModelStore, check_model_id
from kitfox.models.reference import check_file_names

# What names are made of that try something.
NASTY = st.text(
    st.sampled_from(["a", "é", "/", "\\", ".", "@", "\0", "\n", " ", "~", "%", ":", "\ud800", "*"])
    | st.characters(),
    max_size=12,
)


@pytest.mark.parametrize(
    ("text", "name", "version"),
    [
        ("greeter", "greeter", ""),
        ("greeter@v1.2", "greeter", "v1.2"),
        ("Größe 3", "Größe 3", ""),
        ("a" * 255 + "@" + "b" * 255, "a" * 255, "b" * 255),
        ("00110203-0405", "00110203-0405", ""),
        ("model.zip", "model.zip", ""),
        ("a..b", "a..b", ""),
    ],
)
def test_an_id_is_a_name_and_maybe_a_version(text: str, name: str, version: str) -> None:
    found = ModelReference.parse(text)
    assert found == ModelReference(name=name, version=version)
    assert str(found) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Missing required model ID"),
        (".", "plain name"),
        ("..", "plain name"),
        ("../x", "plain name"),
        ("a/../b", "plain name"),
        ("/etc/passwd", "plain name"),
        ("a\\b", "plain name"),
        ("a\0b", "plain name"),
        (".hidden", r"not begin with '\.'"),
        ("a@.work", r"not begin with '\.'"),
        ("a@..", "plain name"),
        ("a@b/c", "plain name"),
        ("a@", "a version after it"),
        ("@a", "a name before '@'"),
        ("@", "a name before '@'"),
        ("a@b@c", "one '@' at most"),
        ("a" * 300, "300 bytes: expected at most 255"),
        ("é" * 128, "256 bytes: expected at most 255"),
        ("a@" + "b" * 256, "model version of 256 bytes"),
        ("\ud800", "UTF-8"),
        ("a\nb", "control characters"),
    ],
)
def test_other_ids_are_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason) as caught:
        check_model_id(text)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@given(NASTY)
def test_an_id_that_is_accepted_names_one_entry_of_the_folder(text: str) -> None:
    try:
        found = ModelReference.parse(text)
    except InvalidArgument:
        return
    for part in (found.name, found.version or "v"):
        place = Path("/models") / part
        assert place.parent == Path("/models")
        assert place.name == part
        assert not part.startswith(".")
        assert len(part.encode()) <= 255
    assert str(found) == text


@given(NASTY)
def test_a_file_name_that_is_accepted_stays_in_the_folder(name: str) -> None:
    try:
        check_file_names([name])
    except InvalidArgument:
        return
    place = Path("/models/m") / name
    assert place.is_relative_to("/models/m")
    assert ".." not in place.parts
    assert str(place) == f"/models/m/{name}"


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([], "Must provide at least one model_files entry"),
        ([""], "all must be valid file names"),
        (["  "], "all must be valid file names"),
        (["/nonexistent-root/x"], "relative to the model"),
        (["../x"], r"without '\.', '\.\.'"),
        (["a/../../x"], r"without '\.', '\.\.'"),
        (["a//b"], "empty parts"),
        (["a/"], "empty parts"),
        (["./a"], r"without '\.'"),
        (["a\\b"], "relative to the model"),
        (["C:x"], "relative to the model"),
        (["a\0b"], "control characters"),
        (["a" * 300], "255 bytes"),
        (["a/" * 40 + "a"], "32 parts"),
        (["ab/" * 700 + "a"], "2048 bytes"),
        (["\udfff"], "UTF-8"),
        (["a", "b", "a"], "'a' is there twice"),
        (["a", "a/b"], "'a' cannot be the folder of 'a/b'"),
    ],
)
def test_other_file_names_are_refused_with_the_reason(names: list[str], reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        check_file_names(names)


def test_files_may_lie_in_folders_and_begin_with_a_dot() -> None:
    names = ["config.yml", "deep/er/data.bin", ".gitattributes", "a b/ç"]
    assert check_file_names(names) == names


@given(NASTY)
def test_whatever_is_asked_nothing_outside_is_found_or_removed(text: str) -> None:
    store = ModelStore(Path("/nonexistent/models"))
    try:
        assert store.find(text) is None
    except InvalidArgument:
        with pytest.raises(InvalidArgument):
            store.remove(text)
        with pytest.raises(InvalidArgument):
            store.deploy(text, {"config.yml": b""})
