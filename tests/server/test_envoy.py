"""Envoy's configuration and environment, its output, and whether ports are free."""

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitfox.errors import FailedPrecondition
from kitfox.server._ports import check_free
from kitfox.server._process import Record, split_output
from kitfox.server.envoy import (
    LOG_MARK,
    LOG_SEPARATOR,
    bootstrap,
    command,
    environment,
    restore_environment,
)
from kitfox.server.options import Listener, Options

GRPC = Listener(name="grpc", address="127.0.0.1", port=8085)
HTTP = Listener(name="http", address="127.0.0.1", port=8080)


@pytest.mark.parametrize(
    "options",
    [
        Options(listeners=(GRPC, HTTP)),
        Options(listeners=(Listener(name="http", address="::", port=8080),)),
        Options(listeners=(HTTP,), live_path="/livez"),
        Options(listeners=(HTTP,), stream_seconds=0, loop="asyncio", threads=1),
    ],
)
def test_envoy_accepts_the_configuration(options: Options, tmp_path: Path) -> None:
    (tmp_path / "kitfox_test_app.py").write_text("async def app(scope, receive, send): pass\n")
    settings = bootstrap(options)
    text = json.dumps(settings).replace("kitfox.server.envoy_app:app", "kitfox_test_app:app")
    config = tmp_path / "envoy.json"
    config.write_text(text)
    words = command(options, config=str(config), admin=str(tmp_path / "admin"))
    done = subprocess.run(
        [*words, "--mode", "validate"],
        cwd=tmp_path,
        env=environment(os.environ),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_all_addresses_belong_to_one_listener() -> None:
    both = Listener(name="both", address="127.0.0.1", port=8080)
    unix = Listener(name="unix", address="/run/kitfox")
    [listener] = bootstrap(Options(listeners=(GRPC, HTTP, both, unix)))["static_resources"][
        "listeners"
    ]
    assert listener["address"]["socket_address"]["port_value"] == 8085
    others = [item["address"] for item in listener["additional_addresses"]]
    assert others == [
        {"socket_address": {"address": "127.0.0.1", "port_value": 8080}},
        {"pipe": {"path": "/run/kitfox", "mode": 0o660}},
    ]
    assert not listener["enable_reuse_port"]


def test_free_ports_are_chosen_for_each_listener() -> None:
    free = tuple(Listener(name=name) for name in ("grpc", "http"))
    [listener] = bootstrap(Options(listeners=free))["static_resources"]["listeners"]
    assert len(listener["additional_addresses"]) == 1


def test_the_environment_can_be_restored() -> None:
    base = {"LD_PRELOAD": "jemalloc.so", "PYTHONPATH": "mine", "OTHER": "x"}
    inner = environment(base)
    assert inner["LD_PRELOAD"].endswith(":jemalloc.so")
    assert inner["PYTHONHOME"]
    restore_environment(inner)
    assert inner == base
    restore_environment(inner)
    assert inner == base


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ({}, "glibc.pthread.rseq=0"),
        ({"GLIBC_TUNABLES": "glibc.malloc.check=1"}, "glibc.malloc.check=1:glibc.pthread.rseq=0"),
        ({"GLIBC_TUNABLES": "glibc.pthread.rseq=1"}, "glibc.pthread.rseq=1"),
    ],
)
def test_what_the_user_tells_glibc_stays(base: dict[str, str], expected: str) -> None:
    inner = environment(base)
    assert inner["GLIBC_TUNABLES"] == expected
    restore_environment(inner)
    assert inner == base


def test_a_taken_port_is_found_although_both_would_share_it() -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        mine = Listener(name="grpc", address="127.0.0.1", port=port, setting="runtime.grpc.port")
        everywhere = Listener(name="grpc", address="0.0.0.0", port=port)
        with pytest.raises(
            FailedPrecondition, match=rf"^Port {port} \(runtime.grpc.port\) is taken"
        ):
            check_free(mine)
        with pytest.raises(FailedPrecondition, match=f"process {os.getpid()}"):
            check_free(everywhere)
    check_free(mine)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(FailedPrecondition, match=r"no address 192\.0\.2\.1"):
        check_free(Listener(name="http", address="192.0.2.1", port=8080))


def test_a_dead_unix_socket_is_free_and_a_living_one_taken(tmp_path: Path) -> None:
    listener = Listener(name="local", address=str(tmp_path / "s"))
    check_free(listener)
    with socket.socket(socket.AF_UNIX) as holder:
        holder.bind(listener.address)
        holder.listen()
        with pytest.raises(FailedPrecondition, match=r"Socket .* \(local\) is taken"):
            check_free(listener)
    check_free(listener)


ORDINARY = st.binary(max_size=20).filter(lambda data: b"\x1e" not in data)
WORDS = st.text(st.characters(categories=("L", "N", "P", "Zs")), max_size=20)


@given(parts=st.lists(ORDINARY | st.tuples(WORDS, WORDS, WORDS)), size=st.integers(1, 30))
def test_output_is_parted_however_it_arrives(
    parts: list[bytes | tuple[str, str, str]], size: int
) -> None:
    """The application's bytes and Envoy's records come out whole and in order."""
    stream = b"".join(part if isinstance(part, bytes) else _logged(part) for part in parts)
    passed, found, rest = b"", list[Record](), b""
    for start in range(0, len(stream), size):
        more, records, rest = split_output(rest + stream[start : start + size])
        passed += more
        found += records
    assert passed + rest == b"".join(part for part in parts if isinstance(part, bytes))
    assert found == [part for part in parts if isinstance(part, tuple)]


def _logged(record: Record) -> bytes:
    """A record as Envoy writes it: `%j` escapes as JSON does."""
    level, logger, message = record
    escaped = json.dumps(message, ensure_ascii=False)[1:-1]
    return f"{LOG_MARK}{LOG_SEPARATOR.join((level, logger, escaped))}\n".encode()
