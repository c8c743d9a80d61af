"""Keys and passwords do not come out of the store."""

import json

from hypothesis import given
from hypothesis import strategies as st

from kitfox.errors import JobNotFound
from kitfox.training.redaction import HIDDEN, Redactions, redact_text, redacted, secrets_of

SECRET = "tuvwxyz-hush"  # noqa: S105 -- made up
names = st.sampled_from(["secretKey", "accessKey", "IAM_api_key", "IAM_id", "access_key"])
leaves = st.none() | st.integers() | st.text(max_size=5)
values = st.recursive(
    leaves | st.just(SECRET) | st.builds(lambda name: {name: SECRET}, names),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(value=values)
def test_a_secret_is_shown_nowhere(value: object) -> None:
    value = {"inside": value, "secretKey": SECRET}
    assert SECRET not in json.dumps(redacted(value))
    secrets = secrets_of(json.dumps(value))
    assert redact_text(f"signed with {SECRET}, twice {SECRET}", secrets) == (
        f"signed with {HIDDEN}, twice {HIDDEN}"
    )


@given(value=st.dictionaries(st.sampled_from("abc"), leaves))
def test_what_has_no_secret_stays_as_it_is(value: dict[str, object]) -> None:
    assert redacted(value) == value
    assert secrets_of(json.dumps(value)) == ()


def test_a_password_in_an_address_is_blanked() -> None:
    value = {"url": "s3://user:pass-word@host/x", "empty": {"secretKey": ""}}
    assert redacted(value) == {"url": "s3://***@host/x", "empty": {"secretKey": ""}}
    assert secrets_of(json.dumps(value)) == ("user:pass-word",)


def test_parameters_are_read_once_for_many_texts() -> None:
    read: list[str] = []

    def parameters(job_id: str) -> str:
        read.append(job_id)
        return json.dumps({"secretKey": job_id * 4})

    redact = Redactions(parameters)
    for _ in range(3):
        assert redact("ab", "not abababab") == "not ***"
    assert redact("ab", "") == ""
    assert read == ["ab"]
    for number in range(300):
        redact(str(number), "text")
    redact("ab", "text")
    assert read.count("ab") == 2  # it was forgotten meanwhile: memory is bounded


def test_nothing_is_shown_of_a_job_that_has_just_gone() -> None:
    def parameters(job_id: str) -> str:
        raise JobNotFound(job_id)

    assert Redactions(parameters)("gone", "text") == HIDDEN
