"""How deep JSON is, told without parsing it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitfox.errors import ValidationError
from kitfox.server import json_depth
from kitfox.server.json_depth import check_depth

LIMIT = 3

names = st.text(st.sampled_from('a[]{}",\\'), max_size=6)
values = st.recursive(
    names | st.none() | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
)


def depth(value: Any) -> int:
    """The depth of what was parsed."""
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(values, st.integers(1, 40))
def test_it_is_the_depth_of_what_is_parsed(value: Any, chunk: int) -> None:
    """Wherever strings, escapes and brackets in strings are cut."""
    # So many that it has to be looked at.
    body = json.dumps([value, *([[]] * LIMIT)]).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_depth, "_CHUNK", chunk)
        if depth(value) + 1 > LIMIT:
            with pytest.raises(ValidationError, match=r"server\.max_json_depth"):
                check_depth(body, LIMIT)
        else:
            check_depth(body, LIMIT)


@given(st.binary(max_size=60), st.integers(1, 20))
def test_what_is_no_json_is_no_trouble(text: bytes, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_depth, "_CHUNK", chunk)
        check_depth(text, 60)
