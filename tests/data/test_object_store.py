"""Data streams of objects in an S3 bucket, read from a service that speaks S3."""

import io
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pyarrow  # type: ignore[import-untyped] # has no types
import pyarrow.parquet  # type: ignore[import-untyped] # has no types
import pytest

from kitfox.data import (
    DataFileError,
    DataObjectBase,
    DataStream,
    dataobject,
    make_data_stream_source,
    object_store,
    open_data_stream,
)
from kitfox.data.bucket_address import BucketAddress
from kitfox.errors import Code, KitfoxError
from tests.data.s3_servers import (
    ACCESS_KEY,
    BUCKET,
    SECRET_KEY,
    Reply,
    Service,
    running_service,
    telling_service,
)

PACKAGE = "tests.object_store"


@dataobject(PACKAGE)
class Item(DataObjectBase):
    text: str
    number: int


def parquet(rows: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=100)
    return file.getvalue()


ROWS = [{"text": f"text {number}", "number": number} for number in range(500)]
OBJECTS: dict[str, bytes | str] = {
    "a.csv": 'text,number\na,1\n"b, c",2\n',
    "a.jsonl": '{"text": "d", "number": 3}\n{"text": "e"}\n',
    "a.json": '[{"text": "f", "number": "4"}]',
    "a.parquet": parquet([{"text": "g", "number": 5}]),
    "folder/LOUD.CSV": "text,number\nh,6\n",
    "plain": ' [{"text": "i", "number": 7}]',
    "parts": "--b\r\nContent-Type: text/csv\r\n\r\ntext,number\r\nj,8\r\n--b--\r\n",
    "marked.csv": "\ufefftext,number\nk,9\n",
    "bad.csv": "text,number\na,1\nb,many\n",
    "bad.json": '[{"text": "a"}, {"text": 5}]',
    "bad.jsonl": '{"text": "a"}\nnot json\n',
    "bad.parquet": parquet([{"text": "a", "number": 1.5}]),
    "no.parquet": "none",
    "empty.csv": "",
    "empty.json": "",
    "table.txt": "text,number\nx,1\n",
    "long.csv": "text,number\n" + "".join(f"{row['text']},{row['number']}\n" for row in ROWS),
    "long.parquet": parquet(ROWS),
}
ODD_KEYS = (
    "with space.csv",
    "ü/日本 😀.csv",
    "p%20q.csv",
    "a+b&c=d;e.csv",
    "h#x?y.csv",
    "z\u200d.csv",
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An S3 service that holds the objects."""
    with running_service(tmp_path_factory.mktemp("s3") / "log") as running:
        running.make_bucket()
        for key, content in OBJECTS.items():
            running.put(key, content)
        yield running


def stream(endpoint: str, *files: str, **fields: str) -> DataStream[Any]:
    """The stream of a training's source."""
    given = {
        "endpoint": endpoint,
        "region": "us-east-1",
        "bucket": BUCKET,
        "accessKey": ACCESS_KEY,
        "secretKey": SECRET_KEY,
        **fields,
    }
    made = make_data_stream_source(Item, PACKAGE).from_json({"s3files": {"files": files, **given}})
    return open_data_stream(made, Item)


def texts(items: DataStream[Any]) -> list[str]:
    return [item.text for item in items]


def failure(items: DataStream[Any]) -> KitfoxError:
    """How reading fails; nothing that may be logged of it holds the secret key."""
    with pytest.raises(KitfoxError) as caught:
        list(items)
    assert SECRET_KEY not in "".join(traceback.format_exception(caught.value))
    return caught.value


# what is read


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("a.csv", ["a", "b, c"]),
        ("a.jsonl", ["d", "e"]),
        ("a.json", ["f"]),
        ("a.parquet", ["g"]),
        ("folder/LOUD.CSV", ["h"]),
        ("plain", ["i"]),
        ("parts", ["j"]),
        ("marked.csv", ["k"]),
        ("/a.csv", ["a", "b, c"]),
        (f"s3://{BUCKET}/a.csv", ["a", "b, c"]),
    ],
)
def test_objects_are_read_by_their_extension(
    service: Service, key: str, expected: list[str]
) -> None:
    items = list(stream(service.url, key))
    assert [item.text for item in items] == expected
    assert all(type(item.number) is int for item in items)


def test_objects_are_read_one_after_the_other_and_as_often_as_wanted(service: Service) -> None:
    items = stream(service.url, "a.json", "a.csv", "a.json")
    assert texts(items) == ["f", "a", "b, c", "f"]
    assert texts(items) == ["f", "a", "b, c", "f"]
    assert len(items) == 4


@pytest.mark.parametrize("key", ODD_KEYS)
def test_keys_may_have_any_printable_character(service: Service, key: str) -> None:
    service.put(key, "text,number\nfound,1\n")
    assert texts(stream(service.url, key)) == ["found"]


@pytest.mark.parametrize("key", ["long.csv", "long.parquet", "parts", "a.jsonl", "a.json"])
@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
def test_the_size_of_the_parts_makes_no_difference(
    service: Service, monkeypatch: pytest.MonkeyPatch, key: str, size: int
) -> None:
    whole = list(stream(service.url, key))
    monkeypatch.setattr(object_store, "_PART_SIZE", max(size, len(OBJECTS[key]) // 20))
    assert list(stream(service.url, key)) == whole


def test_an_object_is_read_while_its_elements_are_used(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a part is in memory: a change of the object is noticed with the next one."""
    monkeypatch.setattr(object_store, "_PART_SIZE", 1000)
    service.put("changing.csv", OBJECTS["long.csv"])
    items = iter(stream(service.url, "changing.csv"))
    assert next(items).text == "text 0"
    service.put("changing.csv", str(OBJECTS["long.csv"]).replace("text 4", "test 4"))
    with pytest.raises(KitfoxError, match=r"changing\.csv: the object was changed while") as caught:
        list(items)
    assert caught.value.code is Code.ABORTED

    service.put("changing.csv", OBJECTS["long.csv"])
    items = iter(stream(service.url, "changing.csv"))
    next(items)
    service.put("changing.csv", "text,number\n")
    with pytest.raises(KitfoxError, match=r"changing\.csv: the object was changed while"):
        list(items)


# what is wrong with the content


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("bad.csv", ", row 2 (line 3), column 'number': expected a whole number, got text 'many'"),
        ("bad.json", ", row 2, column 'text': expected text, got the number 5"),
        ("bad.jsonl", ", line 2: the text is no JSON"),
        ("bad.parquet", ", row 1, column 'number': expected a whole number"),
        ("no.parquet", ": no readable Parquet file"),
        ("empty.csv", ": the file has no rows, not even a header"),
        ("empty.json", ": the file is empty; expected a JSON array"),
    ],
)
def test_faults_are_told_with_their_place(service: Service, key: str, message: str) -> None:
    error = failure(stream(service.url, key))
    assert isinstance(error, DataFileError)
    assert error.path == f"s3://{BUCKET}/{key}"
    assert str(error).startswith(error.path + message)


def test_other_extensions_are_refused(service: Service) -> None:
    error = failure(stream(service.url, "table.txt"))
    assert str(error).startswith("Extension not supported! .txt; supported are .json")


# what is wrong with the source


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bucket": ""}, "the bucket is missing"),
        ({"bucket": "no/bucket"}, "'no/bucket' cannot be the name of a bucket"),
        ({"accessKey": ""}, "the credentials lack accessKey"),
        ({"secretKey": ""}, "the credentials lack secretKey"),
        ({"accessKey": "", "secretKey": ""}, "the credentials lack accessKey and secretKey"),
        ({"accessKey": "a\nb"}, "the accessKey has characters that no access key has"),
        ({"region": "a b"}, "'a b' cannot be the name of a region"),
        ({"IAM_id": "someone"}, "IAM_id and IAM_api_key are not supported; give accessKey and se"),
        ({"IAM_api_key": SECRET_KEY}, "IAM_id and IAM_api_key are not supported"),
    ],
)
def test_a_source_that_cannot_be_right_is_refused(fields: dict[str, str], message: str) -> None:
    error = failure(stream("http://127.0.0.1:1", "a.csv", **fields))
    assert str(error).startswith(f"S3Files: {message}")
    assert error.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "endpoint",
    [
        "ftp://host",
        "http://",
        "http://:80",
        "http://host:99999",
        "http://a b",
        "http://[::1",
        "http://[v1.a]",
        "http://1.2.3.4.5",
        "http://xn--a",
        "http://host?query",
    ],
)
def test_an_endpoint_is_a_url_with_a_host(endpoint: str) -> None:
    error = failure(stream(endpoint, "a.csv"))
    assert "cannot be an endpoint; expected https://host or http://host:port" in str(error)


def test_an_endpoint_with_a_password_is_refused_and_not_repeated() -> None:
    error = failure(stream(f"http://me:{SECRET_KEY}@127.0.0.1:1", "a.csv"))
    assert str(error) == "S3Files: the endpoint must not hold a user name or password"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", "https://s3.eu-north-1.amazonaws.com"),
        ("storage.example.com", "https://storage.example.com"),
        ("localhost:9000", "https://localhost:9000"),
        ("http://127.0.0.1:9000/", "http://127.0.0.1:9000"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("https://Storage.Example.com/s3", "https://Storage.Example.com/s3"),
    ],
)
def test_an_endpoint_may_be_short(given: str, expected: str) -> None:
    address = BucketAddress(
        endpoint=given, region="eu-north-1", bucket="abc", access_key="a", secret_key=SECRET_KEY
    )
    assert address.checked().endpoint == expected
    assert SECRET_KEY not in repr(address)


@pytest.mark.parametrize(
    "key", ["", "/", "folder/", "a//b.csv", "../a.csv", "a\tb.csv", "s3://other/a.csv"]
)
def test_a_key_names_one_object(key: str) -> None:
    error = failure(stream("http://127.0.0.1:1", key))
    assert str(error).startswith(f"S3Files: {key!r} is no key that can be read; expected the key")


def test_a_source_names_files() -> None:
    error = failure(stream("http://127.0.0.1:1"))
    assert str(error) == "S3Files: no files of the bucket 'samples' are named"


# what the service refuses


def test_a_missing_object_or_bucket_is_named(service: Service) -> None:
    for key in ("missing.csv", "missing.json", "missing.jsonl", "missing.parquet", "missing"):
        items = stream(service.url, "a.csv", key)
        error = failure(items)
        assert str(error) == f"s3://samples/{key}: there is no such object at {service.url}"
        assert error.code is Code.NOT_FOUND
        assert next(iter(items)).text == "a"

    error = failure(stream(service.url, "a.csv", bucket="nowhere"))
    assert str(error) == f"s3://nowhere/a.csv: there is no bucket 'nowhere' at {service.url}"
    assert error.code is Code.NOT_FOUND


def test_credentials_are_checked_by_the_service(service: Service) -> None:
    access_key, secret_key = service.make_reader()
    with service.checking_signatures():
        own = {"accessKey": access_key, "secretKey": secret_key}
        assert texts(stream(service.url, "a.csv", **own)) == ["a", "b, c"]
        assert texts(stream(service.url, "a.csv", **own | {"region": ""})) == ["a", "b, c"]
        wrong = failure(stream(service.url, "a.csv", accessKey=access_key))
        unknown = failure(stream(service.url, "a.csv"))
    place = f"s3://samples/a.csv: {service.url}"
    assert str(wrong) == f"{place} does not accept the secretKey of the accessKey '{access_key}'"
    assert str(unknown) == f"{place} does not know the accessKey '{ACCESS_KEY}'"
    assert wrong.code is unknown.code is Code.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("reply", "message", "code"),
    [
        (
            Reply(status=403, body=b"<Error><Code>AccessDenied</Code></Error>"),
            "{url} does not let the accessKey 'AKIDEXAMPLE' read it (AccessDenied)",
            Code.PERMISSION_DENIED,
        ),
        (
            Reply(status=401),
            "{url} does not let the accessKey 'AKIDEXAMPLE' read it",
            Code.PERMISSION_DENIED,
        ),
        (
            Reply(status=301, body=b"<Error><Code>PermanentRedirect</Code></Error>"),
            "the bucket is not in the region 'us-east-1', or not at {url}",
            Code.INVALID_ARGUMENT,
        ),
        (
            Reply(status=400, body=b"<Error><Code>AuthorizationHeaderMalformed</Code></Error>"),
            "the bucket is not in the region 'us-east-1', or not at {url}",
            Code.INVALID_ARGUMENT,
        ),
        (
            Reply(status=400, body=b"internal page, not for others"),
            "{url} answered with status 400",
            Code.INVALID_ARGUMENT,
        ),
        (
            Reply(status=503, body=b"<Error><Code>SlowDown</Code></Error>"),
            "{url} answered with status 503 (SlowDown)",
            Code.UNAVAILABLE,
        ),
        (
            Reply(status=200, body=b"<html>Welcome</html>"),
            "{url} does not give objects in parts, as S3 does",
            Code.FAILED_PRECONDITION,
        ),
    ],
)
def test_what_a_service_says_is_one_sentence(reply: Reply, message: str, code: Code) -> None:
    with telling_service(lambda _: reply) as url:
        error = failure(stream(url, "certificate.csv"))
    assert str(error) == "s3://samples/certificate.csv: " + message.format(url=url)
    assert error.code is code


# what cannot be reached


def test_a_service_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    error = failure(stream(url, "a.csv"))
    assert str(error) == f"s3://samples/a.csv: {url} cannot be reached: no connection"
    assert error.code is Code.UNAVAILABLE


def test_a_service_that_does_not_answer_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connects, and says nothing
        address = BucketAddress(
            endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}",
            region="",
            bucket=BUCKET,
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
        )
        (item,) = object_store.objects_in_bucket(address, ["a.csv"], timeout=timedelta(seconds=0.1))
        with pytest.raises(KitfoxError, match=r"cannot be reached: it did not answer in time"):
            item.open("rb").read()


# the server's own environment


def test_nothing_of_the_environment_reaches_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {
        "AWS_ACCESS_KEY_ID": "SERVERS",
        "AWS_SECRET_ACCESS_KEY": "servers-own",
        "AWS_SESSION_TOKEN": "servers-token",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_REGION": "mars-1",
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_S3_EXPRESS": "true",
        "AWS_REQUEST_PAYER": "true",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    seen: list[dict[str, str]] = []

    def reply(headers: dict[str, str]) -> Reply:
        seen.append(headers)
        body = b"text,number\nx,1\n"
        place = f"bytes 0-{len(body) - 1}/{len(body)}"
        return Reply(body=body, headers=(("Content-Range", place), ("ETag", '"1"')))

    with telling_service(reply) as url:
        assert texts(stream(url, "a.csv")) == ["x"]
    (headers,) = seen
    assert f"Credential={ACCESS_KEY}/" in headers["authorization"]
    assert "/us-east-1/s3/" in headers["authorization"]
    assert {name for name in headers if name.startswith("x-amz")} == {
        "x-amz-date",
        "x-amz-content-sha256",
    }


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    error = failure(stream("http://127.0.0.1:1", "a.csv"))
    assert str(error).endswith(
        "needs the package obstore; install it with pip install 'kitfox[s3]'"
    )
    assert error.code is Code.FAILED_PRECONDITION


def test_the_library_is_loaded_only_when_it_is_needed() -> None:
    script = "import sys, kitfox.data.sources; sys.exit('obstore' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
