"""What is answered where the recorded answer is a defect or an accident.

The recording names these exchanges in its `quirks.json`. Here stands for each the answer that is
expected instead, in the order of the recording.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.conformance.allowances import Allowance
from tests.conformance.recorded import Outcome

__all__ = ["ANSWERS", "Answer"]

ANYTHING: Any = object()


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """An expected answer."""

    code: int | str
    """The HTTP status, or the name of the gRPC code."""
    json: Any = ANYTHING
    """The body, or the single message."""
    text: Any = ANYTHING
    """The body of an answer that is no JSON; without ids and error texts."""

    def check(self, outcome: Outcome, allowed: Sequence[Allowance]) -> None:
        """Fails the test when this is not what was found."""
        assert outcome.code == self.code, outcome
        if self.json is not ANYTHING:
            assert outcome.json == self.json, outcome
        if self.text is not ANYTHING:
            assert outcome.found["body"] == self.text, outcome
        if isinstance(self.code, int) and self.code >= 400:
            assert outcome.found["headers"] == {"content-type": "application/json"}
            assert "detail" in outcome.json or outcome.json["code"] == self.code, outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded(Answer):
    """The recorded answer, because it is right, or as good as another."""

    def check(self, outcome: Outcome, allowed: Sequence[Allowance]) -> None:
        assert outcome.is_same(allowed), outcome


def ok(json: Any = ANYTHING, text: Any = ANYTHING) -> Answer:
    """A successful answer over HTTP."""
    return Answer(code=200, json=json, text=text)


def grpc_ok(json: Any = ANYTHING) -> Answer:
    """A successful answer over gRPC."""
    return Answer(code="OK", json=json)


def refused(status: int) -> Answer:
    """An error over HTTP."""
    return Answer(code=status)


INVALID = Answer(code="INVALID_ARGUMENT")
SAME = Recorded(code="")


def scalars(**fields: Any) -> Answer:
    """A `Scalars` over HTTP: every field is there."""
    names = (
        *("text", "whole", "real", "flag", "raw", "int32", "int64", "uint32", "uint64"),
        *("float32", "float64", "when", "anything", "color", "level", "point"),
    )
    return ok(dict.fromkeys(names) | fields)


def described(**values: str) -> Answer:
    """What `DescribeTask` tells of its arguments: the defaults, but for those given."""
    defaults = {
        "name": "str:'n'",
        "text": "str:'dflt'",
        "whole": "int:42",
        "real": "float:2.5",
        "flag": "bool:True",
        "raw": "bytes:b'raw'",
        "texts": "NoneType:None",
        "wholes": "NoneType:None",
        "table": "NoneType:None",
        "anything": "NoneType:None",
        "color": "Color:<Color.GREEN: 2>",
        "maybe": "NoneType:None",
        "either": "int:5",
        "point": "NoneType:None",
        "either_list": "NoneType:None",
        "untyped": "str:'guess'",
    }
    return ok({"text": "; ".join(f"{key}={value}" for key, value in (defaults | values).items())})


FULL = {
    "text": "téxt",
    "whole": 5,
    "real": 1.5,
    "flag": True,
    "raw": "AAEC/w==",
    "when": "2024-02-29T12:34:56.789012Z",
    "anything": {"a": 1, "b": [True, None, "x", {"c": 2.5}], "d": {}},
    "color": "BLUE",
    "point": {"x": 1.0, "y": -2.0},
}
NUMBERS = {"int32": -3, "int64": -4, "uint32": 3, "uint64": 4, "float32": 0.1, "float64": 0.1}
DEFAULTS = {"text": "hello", "whole": "3", "real": 0.25, "flag": True, "bare": "0"}
POINT = {"x": 1.0, "y": 2.0}


def report(samples: str) -> str:
    """What the trained model of `PlainModule` tells of its training."""
    return (
        f"p: samples=stream[{samples}]; epochs=3; rate=0.5; label='x'; shuffle=True; raw=b'r'; "
        "limit=None; names=None; sizes=None; table=None; extra=None; either=1; either_list=None; "
        "settings=None; all_settings=None"
    )


JSON_SAMPLES = report(
    "Sample({'text': 'a', 'number': 1, 'weight': None}), "
    "Sample({'text': 'b', 'number': 2, 'weight': 0.5})"
)
JSONL_SAMPLES = report(
    "Sample({'text': 'c', 'number': 3, 'weight': None}), "
    "Sample({'text': 'd', 'number': 4, 'weight': None})"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended(Answer):
    """The status of a job that has ended."""

    state: str
    reasons: tuple[str, ...] = ()

    def check(self, outcome: Outcome, allowed: Sequence[Allowance]) -> None:
        assert outcome.code == self.code, outcome
        assert outcome.json["state"] == self.state, outcome
        assert tuple(outcome.json.get("reasons", ())) == self.reasons, outcome
        assert outcome.json["completion_timestamp"], outcome


COMPLETED = Ended(code="OK", state="COMPLETED")
HTTP_COMPLETED = Ended(code=200, state="COMPLETED")

ANSWERS: dict[str, dict[str, Answer]] = {
    "example": {
        "predict-garbage": INVALID,
        "predict-bad-utf8": INVALID,
        "http-predict-charset": ok({"greeting": "Hello World"}),
    },
    "kinds": {
        "http-scalars-full": scalars(**FULL, **NUMBERS, level="HIGH"),
        "grpc-scalars-nan": SAME,
        "http-scalars-nan": scalars(real="NaN", float32="Infinity", float64="-Infinity"),
        "http-scalars-nan-raw": scalars(real="NaN"),
        "http-scalars-inf-raw": refused(422),
        "http-scalars-enum-name": scalars(color="BLUE"),
        "http-scalars-whole-too-big": refused(422),
        "http-scalars-int32-too-big": refused(422),
        "http-scalars-uint32-negative": refused(422),
        "http-scalars-raw-bad-base64": refused(422),
        "http-scalars-null-text": SAME,
        "grpc-optionals-empty": grpc_ok({}),
        "grpc-optionals-zero": grpc_ok(
            {
                "text": "",
                "whole": "0",
                "real": 0.0,
                "flag": False,
                "raw": "",
                "anything": {},
                "point": {},
            }
        ),
        "grpc-optionals-full": SAME,
        "http-optionals-full": ok({**FULL, "names": ["a"]}),
        "http-enum-list": ok({"colors": ["BLUE", "RED"]}),
        "http-maps-full": ok(
            {
                "text_to_text": {"a": "b", "": ""},
                "text_to_whole": {"a": 1},
                "whole_to_text": {"1": "a", "-2": "b"},
                "text_to_real": {"a": 0.5},
                "text_to_flag": {"t": True, "f": False},
                "text_to_point": {"p": POINT},
            }
        ),
        "http-choices-wide-bytes": ok({"wide_bytes": "AAH/"}),
        "grpc-defaults-empty": grpc_ok({**DEFAULTS, "point": POINT}),
        "grpc-defaults-set": grpc_ok(
            {
                "text": "",
                "whole": "0",
                "real": 0.25,
                "flag": False,
                "tags": ["z"],
                "point": POINT,
                "bare": "9",
            }
        ),
        "http-outer": ok(
            {"inner": {"value": 1}, "inners": [{"value": 2}], "by_name": {"k": {"value": 3}}}
        ),
        "http-pair-sep-null": ok({"text": "left=str:'l'; right=int:0; sep=str:'-'"}),
        "grpc-describe-name": SAME,
        "grpc-describe-nothing": SAME,
        "grpc-describe-zeros": SAME,
        "grpc-describe-all": SAME,
        "http-describe-empty-inputs": described(name="str:''"),
        "http-describe-all": described(
            text="str:'t'",
            whole="int:1",
            real="float:1.5",
            flag="bool:False",
            raw=r"bytes:b'\x01'",
            texts="list:['a']",
            wholes="list:[1]",
            table="dict:{'k': 1}",
            anything="dict:{'a': [1, 2.5, None]}",
            maybe="str:'m'",
            either="str:'e'",
            point="Point:{'x': 1.0, 'y': None}",
            either_list="list:[1, 2]",
            untyped="str:'u'",
        ),
        "http-describe-nulls": described(),
        "http-describe-optional-nulls": described(),
        "http-describe-color": described(color="Color:<Color.BLUE: 7>"),
        "http-words-empty": ok({"text": "words=list:[]; upper=NoneType:None"}),
        "http-job-pair": SAME,
        "http-job-pair-status": HTTP_COMPLETED,
    },
    "flows": {
        "client-stream-none": INVALID,
        "bidi-stream-none": INVALID,
        "wrong-task": INVALID,
        "http-split-other-modules-field": ok(
            {
                "pieces": [{"text": text, "index": index} for index, text in enumerate("one")],
                "note": "letters",
            }
        ),
        "http-sse-missing": refused(400),
        "http-sse-no-model-id": refused(400),
        "http-sse-unknown-model": refused(404),
        "http-sse-not-supported": refused(400),
        "http-break-unary-serialize": refused(500),
        "http-break-sse-serialize": ok(
            text='event: message\r\ndata: {"text": "fine", "index": 0}\r\n\r\n'
            'event: error\r\ndata: {"details": "Could not serialize output in model response '
            'stream", "code": 500, "id": "<HEX>"}\r\n\r\n'
        ),
        "http-break-sse-first": refused(404),
    },
    "faults": {
        "grpc-core-CONNECTION_ERROR": SAME,
        "http-core-CONNECTION_ERROR": refused(503),
        "http-grpc-OK": refused(500),
        "grpc-grpc-UNAVAILABLE": SAME,
        "http-grpc-UNAVAILABLE": refused(503),
        "http-none": SAME,
        "http-text": SAME,
        "http-nan": ok(
            {"text": "n", "real": "NaN", "reals": ["Infinity", "-Infinity", "NaN"], "raw": ""}
        ),
        "http-bad_field": refused(500),
        "grpc-model-bad_yaml": SAME,
        "http-model-bad_yaml": SAME,
        "grpc-model-no_module_id": SAME,
        "http-model-no_module_id": SAME,
        "grpc-task-not-in-model": SAME,
        "http-task-not-in-model": SAME,
        "http-shout-refused": refused(422),
        "http-no-content-type": refused(415),
        "http-upper-content-type": ok({"text": "plain", "real": None, "reals": None, "raw": None}),
        "deploy-absolute-file": INVALID,
        "http-deploy-no-files": refused(400),
        "http-deploy-unnamed-file": refused(400),
    },
    "trainlab": {
        "source-json": SAME,
        "source-json-status": COMPLETED,
        "source-json-run": grpc_ok({"text": JSON_SAMPLES}),
        "source-dir-json": SAME,
        "source-dir-json-status": COMPLETED,
        "source-dir-json-run": grpc_ok({"text": JSON_SAMPLES}),
        "source-dir-default": SAME,
        "source-dir-default-status": COMPLETED,
        "source-dir-default-run": grpc_ok({"text": JSON_SAMPLES}),
        "source-dir-jsonl": SAME,
        "source-dir-jsonl-status": COMPLETED,
        "source-dir-jsonl-run": grpc_ok({"text": JSONL_SAMPLES}),
        "trouble-core-status": Ended(code="OK", state="ERRORED", reasons=("core says no",)),
        "trouble-save-status": SAME,
        "no-model-name": INVALID,
        "no-model-name-status": Answer(code="NOT_FOUND"),
        "same-model-name-run": grpc_ok({"text": "p"}),
        "http-zeros": SAME,
        "http-zeros-status": HTTP_COMPLETED,
        "http-zeros-run": ok(
            {
                "text": "p: samples=stream[]; epochs=0; rate=0.0; label=''; shuffle=False; "
                "raw=b''; limit=0; names=[]; sizes=[]; table={}; extra={}; either=0; "
                "either_list=[]; settings=Settings({'depth': 0, 'mode': 'PLACEHOLDER_UNSET'}); "
                "all_settings=None"
            }
        ),
        "http-s3-output": refused(400),
        "http-no-model-name": refused(400),
        "http-empty": refused(400),
        "http-other-task": refused(400),
    },
    "textkit": {
        "grpc-embed-empty": grpc_ok(
            {
                "result": {"data_pyfloatsequence": {}},
                "producer_id": {"name": "textkit", "version": "9.9.9"},
                "input_token_count": "1",
            }
        ),
        "http-rerank-list-values": ok(
            {
                "result": {
                    "query": "q",
                    "scores": [
                        {
                            "document": {"text": "d", "tags": ["x"]},
                            "index": 0,
                            "score": 1.0,
                            "text": "d",
                        }
                    ],
                },
                "producer_id": {"name": "textkit", "version": "9.9.9"},
                "input_token_count": None,
            }
        ),
    },
}
