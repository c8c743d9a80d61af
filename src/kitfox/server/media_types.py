"""What a request says of its own type, and of the types that it takes for an answer."""

from functools import lru_cache

from kitfox.server.answers import Refusal

__all__ = [
    "EVENT_STREAM",
    "FORM",
    "JSON",
    "JSON_LINES",
    "base_type",
    "choose",
    "is_form",
    "is_gzip",
    "unsupported",
]

JSON = b"application/json"
FORM = b"multipart/form-data"
EVENT_STREAM = b"text/event-stream"
JSON_LINES = (b"application/x-ndjson", b"application/jsonl", b"application/x-jsonlines")
"""The names that one JSON value a line goes by; the first is ours."""


def base_type(content_type: bytes) -> bytes:
    """A content type in lower case and without its parameters."""
    return content_type.split(b";", 1)[0].strip().lower()


def is_form(content_type: bytes) -> bool:
    """Whether a body is a form, not JSON.

    Raises:
        Refusal: It is neither.
    """
    kind = base_type(content_type)
    if kind == FORM:
        return True
    if kind != JSON:
        raise unsupported(content_type, JSON + b", " + FORM)
    return False


def is_gzip(coding: bytes, *, offered: bool = True) -> bool:
    """Whether a body is compressed, by its header `content-encoding`.

    Args:
        coding: The header's value.
        offered: Whether it may be.

    Raises:
        Refusal: It is in a way that is not read here.
    """
    coding = coding.strip().lower()
    if coding in (b"", b"identity"):
        return False
    if coding in (b"gzip", b"x-gzip") and offered:
        return True
    detail = f"Unsupported content encoding: {coding.decode('latin-1')}."
    accepted = b"gzip, identity" if offered else b"identity"
    raise Refusal(415, detail, [(b"accept-encoding", accepted)])


def unsupported(content_type: bytes, accepted: bytes) -> Refusal:
    """The refusal of a body for its type."""
    given = content_type.decode("latin-1") or f"none given, expected {accepted.decode()}"
    return Refusal(415, f"Unsupported media type: {given}.", [(b"accept", accepted)])


def choose(accept: bytes, offers: tuple[bytes, ...]) -> bytes | None:
    """The type to answer with, by a request's header `accept`.

    Args:
        accept: The header's value.
        offers: What there is, the best first.

    Returns:
        The offer with the greatest weight, of several the first; None when none is acceptable.
    """
    return (_choose if len(accept) > _LONGEST_KEPT else _choose_again)(accept, offers)


def _choose(accept: bytes, offers: tuple[bytes, ...]) -> bytes | None:
    weights = dict(_parse(item) for item in accept.lower().split(b",") if item.strip())
    if not weights:
        return offers[0]
    best = max(offers, key=lambda offer: _weight(offer, weights))
    return best if _weight(best, weights) > 0 else None


# Clients send the same header again and again.
_choose_again = lru_cache(maxsize=256)(_choose)
_LONGEST_KEPT = 256


def _parse(item: bytes) -> tuple[bytes, float]:
    name, *parameters = item.split(b";")
    weight = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition(b"=")
        if key.strip() == b"q":
            try:
                weight = float(value)
            except ValueError:
                weight = 0.0
    return name.strip(), weight


def _weight(offer: bytes, weights: dict[bytes, float]) -> float:
    """The weight of the most exact range that an offer is in."""
    for name in (offer, offer.split(b"/")[0] + b"/*", b"*/*"):
        if name in weights:
            return weights[name]
    return 0.0
