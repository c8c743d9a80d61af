"""What `--data` names -> the JSON that tells a training where its data is.

sample.csv               a file
a.csv b.csv              several files, one after the other
folder, 'folder/*.csv'   the files of a folder that have one extension
s3://bucket/key.csv      an object in a bucket; who asks, and where, is in AWS's variables
-                        lines of JSON, or an array of it, on standard input
NAME=...                 any of these, for the parameter NAME where `train` has several
"""

import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kitfox.data.json_text import parse_json
from kitfox.errors import InvalidArgument

__all__ = ["data_sources"]

_EXTENSIONS = {".csv", ".json", ".jsonl", ".parquet"}
_NAMED = re.compile(r"([A-Za-z_]\w*)=(.+)", re.DOTALL)


def data_sources(
    given: Iterable[str],
    parameters: Iterable[str],
    *,
    environ: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The sources of a training's streams, by parameter.

    Args:
        given: What the options `--data` say.
        parameters: The parameters of `train` that are streams of data.
        environ: Where `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID` and
            `AWS_SECRET_ACCESS_KEY` are looked for.

    Raises:
        InvalidArgument: There is no such file, or no such parameter, or it is not said which.
    """
    streams = list(parameters)
    named: dict[str, list[str]] = {}
    for item in given:
        found = _NAMED.fullmatch(item)
        if found is not None and found[1] in streams:
            named.setdefault(found[1], []).append(found[2])
        else:
            named.setdefault(_only(streams, item), []).append(item)
    environ = os.environ if environ is None else environ
    return {name: {"data_stream": _source(items, environ)} for name, items in named.items()}


def _only(streams: list[str], item: str) -> str:
    if len(streams) == 1:
        return streams[0]
    if not streams:
        raise InvalidArgument(f"--data {item}: the module's train() takes no stream of data")
    raise InvalidArgument(
        f"--data {item}: train() takes several streams of data; expected NAME={item} with one of: "
        f"{', '.join(streams)}"
    )


def _source(items: list[str], environ: Mapping[str, str]) -> dict[str, Any]:
    if all(item.startswith("s3://") for item in items):
        return _bucket(items, environ)
    if len(items) > 1:
        return {"files": [str(_file(item)) for item in items]}
    if items[0] == "-":
        return {"data": _inline(sys.stdin.buffer.read())}
    path = Path(items[0])
    if path.is_dir():
        return {"dirname": str(path.resolve()), "extension": _extension(path)}
    if re.fullmatch(r"\*\.\w+", path.name) and path.parent.is_dir():
        return {"dirname": str(path.parent.resolve()), "extension": path.suffix[1:]}
    return {"filename": str(_file(items[0]))}


def _file(item: str) -> Path:
    path = Path(item)
    if not path.is_file():
        why = "is no file" if path.exists() else "does not exist"
        raise InvalidArgument(f"--data {item}: {path.absolute()} {why}")
    return path.resolve()


def _extension(folder: Path) -> str:
    """The one extension that the data files of a folder have."""
    found = {item.suffix for item in folder.iterdir() if item.suffix in _EXTENSIONS}
    if len(found) != 1:
        what = f"files with {', '.join(sorted(found))}" if found else "no data file"
        raise InvalidArgument(
            f"--data {folder}: the folder has {what}; expected one of "
            f"{', '.join(sorted(_EXTENSIONS))}, or a pattern such as '{folder}/*.csv'"
        )
    return found.pop()[1:]


def _bucket(items: list[str], environ: Mapping[str, str]) -> dict[str, Any]:
    addresses = [urlsplit(item) for item in items]
    if len({address.netloc for address in addresses}) > 1:
        raise InvalidArgument(f"--data: expected objects of one bucket, got {', '.join(items)}")
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
    return {
        "files": [item.split("/", 3)[3] if item.count("/") > 2 else "" for item in items],
        "bucket": addresses[0].netloc,
        "endpoint": environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or "",
        "region": region,
        "accessKey": environ.get("AWS_ACCESS_KEY_ID", ""),
        "secretKey": environ.get("AWS_SECRET_ACCESS_KEY", ""),
    }


def _inline(text: bytes) -> list[Any]:
    """The elements of an array, or of lines."""
    if text.lstrip().startswith(b"["):
        found: list[Any] = parse_json(text)
        return found
    return [parse_json(line) for line in text.splitlines() if line.strip()]
