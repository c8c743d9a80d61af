"""What a model's method learns of its call, in the words of gRPC's own context."""

import grpc
import pytest

from kitfox.errors import Code, KitfoxError
from kitfox.modules import GrpcRequestContext


def context(*pairs: tuple[bytes, bytes]) -> GrpcRequestContext:
    return GrpcRequestContext(metadata=pairs)


def test_binary_metadata_is_bytes_in_the_pairs() -> None:
    """Padded or not, once or more often; as text it is as it travels."""
    call = context((b"a", b"1"), (b"x-bin", b"AP8Q"), (b"y-bin", b"AQ"), (b"y-bin", b"Ag=="))
    pairs = (("a", "1"), ("x-bin", b"\x00\xff\x10"), ("y-bin", b"\x01"), ("y-bin", b"\x02"))
    assert call.invocation_metadata() == pairs
    assert call.metadata["x-bin"] == "AP8Q"
    assert context((b"x-bin", b"A")).invocation_metadata() == (("x-bin", b"A"),)


def test_a_call_can_be_aborted() -> None:
    with pytest.raises(KitfoxError, match="not today") as caught:
        context().abort(grpc.StatusCode.FAILED_PRECONDITION, "not today")
    assert caught.value.code is Code.FAILED_PRECONDITION


@pytest.mark.parametrize("name", ["set_code", "set_trailing_metadata", "peer"])
def test_what_there_is_not_is_said_clearly(name: str) -> None:
    assert not hasattr(context(), name)
    with pytest.raises(AttributeError, match=f"no '{name}': "):
        getattr(context(), name)
    with pytest.raises(AttributeError, match=r"no 'typo'$"):
        _ = context().typo
