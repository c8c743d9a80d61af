"""Models come as zip files in pieces: larger than a message, and there as a whole or not at all."""

import contextlib
import http.client
import io
import json
import random
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import pytest

from kitfox.data import codec_of
from kitfox.interfaces.runtime.data_model import ModelInfo
from kitfox.interfaces.runtime.management import ModelPart
from tests.conftest import Answer
from tests.services.managed import MANAGE, ManagedServer, config_of, managed
from tests.waiting import wait_for

LIMIT = 4_000_000
RPC = "/kitfox.models.Models/Upload"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagedServer]:
    folder = tmp_path_factory.mktemp("uploads")
    with managed(
        folder, SERVER_MAX_MESSAGE_SIZE="65536", MODELS_MAX_UPLOAD_SIZE=str(LIMIT)
    ) as running:
        yield running
        assert left(running) == []


def zipped(
    greeting: str, folder: str = "", named: Mapping[str, bytes] | None = None, **files: bytes
) -> bytes:
    """A zip file of a model."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{folder}config.yml", config_of(greeting))
        for name, data in {**files, **(named or {})}.items():
            archive.writestr(f"{folder}{name}", data)
    return sink.getvalue()


def noise(size: int) -> bytes:
    """What does not get smaller by packing."""
    return random.Random(size).randbytes(size)  # noqa: S311 -- to fill files


def upload(server: ManagedServer, model: str, body: bytes, kind: str = "application/zip") -> Answer:
    """Sends a file in pieces, without saying how large it is."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)
    pieces = (body[start : start + 30_000] for start in range(0, len(body), 30_000))
    path, headers = f"{MANAGE}/upload?model_id={model}", {"content-type": kind}
    with contextlib.closing(connection):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has been refused
            connection.request("POST", path, pieces, headers, encode_chunked=True)
        answer = connection.getresponse()
        return Answer(answer.status, dict(answer.headers), answer.read())


def left(server: ManagedServer) -> list[str]:
    """What lies in the folder where changes are prepared."""
    folder = server.models / ".versions" / ".work"
    return [path.name for path in folder.glob("*") if path.name != "lock"]


def test_a_model_may_be_larger_than_a_message(server: ManagedServer) -> None:
    weights = noise(3_000_000)
    answer = upload(server, "fox", zipped("Fox", weights=weights))
    assert answer.status == 200, answer.body
    assert (answer.json["name"], answer.json["loaded"]) == ("fox", False)
    assert server.greeting("fox") == "Fox"
    assert (server.models / "fox" / "weights").read_bytes() == weights
    assert (server.models / "fox" / "manifest.json").exists()
    # With a version, in a folder of its own, as a training is downloaded.
    answer = upload(server, "fox@2", zipped("Fox Two", "deep/", weights=weights[:1000]))
    assert answer.status == 200, answer.body
    assert server.greeting("fox") == "Fox"
    assert server.greeting("fox@2") == "Fox Two"
    assert left(server) == []


def test_over_grpc_too(server: ManagedServer) -> None:
    body = zipped("Hen", weights=noise(300_000))
    codec, answers = codec_of(ModelPart), codec_of(ModelInfo)

    def parts() -> Iterator[bytes]:
        for start in range(0, len(body), 50_000):
            name = "hen" if start == 0 else None
            yield codec.encode(ModelPart(model_id=name, data=body[start : start + 50_000]))

    with server.channel() as channel:
        call: Any = channel.stream_unary(RPC)
        info: Any = answers.decode(call(parts(), timeout=60))
        assert info.name == "hen"
        with pytest.raises(grpc.RpcError) as caught:
            call(parts(), timeout=60)
        error: Any = caught.value
        assert error.code() is grpc.StatusCode.ALREADY_EXISTS
    assert server.greeting("hen") == "Hen"


@pytest.mark.parametrize(
    ("model", "body", "status", "text"),
    [
        ("owl", b"no archive", 400, "cannot be read as a zip file"),
        ("owl", b"", 400, "cannot be read as a zip file"),
        ("owl", zipped("Owl", "../"), 400, "points outside of the folder"),
        ("owl", zipped("Owl", named={"a\x07b": b"x"}), 400, "control characters"),
        ("owl", zipped("Owl", named={"manifest.json": b"{}"}), 400, "manifest"),
        ("owl", zipped("Owl", weights=noise(LIMIT)), 413, "models.max_upload_size"),
        ("owl", zipped("Owl", weights=b"x" * LIMIT), 413, "what is in it has more than"),
        ("../owl", zipped("Owl"), 400, "expected a plain name"),
        ("", zipped("Owl"), 400, "Must provide model_id"),
    ],
    ids=["text", "nothing", "outside", "control", "manifest", "large", "bomb", "name", "nameless"],
)
def test_what_cannot_be_a_model_is_refused_and_leaves_nothing(
    server: ManagedServer, model: str, body: bytes, status: int, text: str
) -> None:
    answer = upload(server, model, body)
    assert (answer.status, text in answer.json["details"]) == (status, True), answer.body
    assert server.show("owl").status == 404
    wait_for(lambda: left(server) == [], what="an empty place of work")


def test_only_files_are_taken(server: ManagedServer) -> None:
    answer = upload(server, "owl", zipped("Owl"), "application/json")
    assert answer.status == 415, answer.body


def test_an_upload_that_is_broken_off_leaves_nothing(server: ManagedServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)
    connection.putrequest("POST", f"{MANAGE}/upload?model_id=owl")
    connection.putheader("content-type", "application/zip")
    connection.putheader("transfer-encoding", "chunked")
    connection.endheaders()
    piece = zipped("Owl", weights=noise(2_000_000))[:-1000]
    connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    wait_for(lambda: left(server), what="a place of work")
    connection.close()
    wait_for(lambda: left(server) == [], what="an empty place of work")
    assert server.show("owl").status == 404


def test_the_document_says_what_an_upload_is(server: ManagedServer) -> None:
    document = json.loads(server.http("GET", "/openapi.json").body)
    operation = document["paths"][f"{MANAGE}/upload"]["post"]
    assert [item["name"] for item in operation["parameters"]] == ["model_id"]
    assert list(operation["requestBody"]["content"]) == ["application/zip"]
