"""The peers: other model servers, on the same work and as their manuals recommend."""

import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.bodies import MESSAGES, TEXT, as_json, field, sentences
from benchmarks.contestants import (
    Contestant,
    Launch,
    Place,
    Suite,
    Target,
    free_ports,
    grpc,
    python_of,
    rest,
)
from benchmarks.data_suite import reading
from benchmarks.kitfox_servers import (
    FOUR,
    embedding_project,
    embedding_targets,
    example_targets,
    four_project,
    prepared,
    sample_targets,
    template_project,
)
from benchmarks.training import training

__all__ = ["PEERS"]

HERE = Path(__file__).resolve().parent
HELLO = b"Hello World"


# Ray lets other processes of a machine, here the load generator, go first.
_RAY = {
    "RAY_worker_niceness": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def _model(place: Place) -> dict[str, str]:
    """The variable that tells a server where the embedding model is."""
    return {"KITFOX_BENCH_MODEL": str(place.environments / "embedding" / "model")}


def _python(place: Place, peer: str) -> str:
    return str(python_of(place.environments, f"peers/{peer}"))


def _script(peer: str, suite: str, targets: Callable[[int, int], dict[str, Target]]) -> Suite:
    """A server file that takes what to do and the ports."""

    def prepare(place: Place) -> Launch:
        ports = free_ports(2)
        script = str(HERE / "peers" / peer / "server.py")
        return Launch(
            command=(_python(place, peer), script, suite, str(ports[0]), str(ports[1])),
            environment={**_model(place), **(_RAY if peer == "ray_serve" else {})},
            targets=targets(ports[0], ports[1]),
        )

    return prepare


def _named(path: str) -> Callable[[int, int], dict[str, Target]]:
    body = as_json({"name": "World"})
    return lambda port, _: {"rest": rest(port, path, body, HELLO)}


def _stream(path: str) -> Callable[[int, int], dict[str, Target]]:
    body = as_json({"name": "World"})
    return lambda port, _: {"rest": rest(port, path, body, HELLO, messages=MESSAGES)}


def _echo(path: str) -> Callable[[int, int], dict[str, Target]]:
    body = as_json({"text": TEXT})
    return lambda port, _: {"rest": rest(port, path, body, TEXT.encode())}


def _embed(path: str) -> Callable[[int, int], dict[str, Target]]:
    bodies = [as_json({"text": text}) for text in sentences()]
    return lambda port, _: {"rest": rest(port, path, bodies, b'"values"')}


def _ray_hello(http_port: int, grpc_port: int) -> dict[str, Target]:
    message, application = field(1, "World"), {"application": "bench"}
    return {
        **_named("/")(http_port, grpc_port),
        "grpc": grpc(grpc_port, "/bench.Ray/Hello", message, HELLO, headers=application),
    }


def _caikit(
    project: Callable[[Place], Path], targets: Callable[[int, int], dict[str, Target]]
) -> Suite:
    """Caikit on a project that is written for Kitfox, with its own settings as they are."""

    def prepare(place: Place) -> Launch:
        folder = project(place)
        ports = free_ports(3)
        config = place.folder / f"{folder.name}.yml"
        (library,) = [path.parent.name for path in folder.glob("*/__init__.py")]
        models = folder / "models"
        settings = {
            "library": library,
            "local_models_dir": str(models if models.exists() else folder / "client" / "models"),
            "lazy_load_local_models": True,
            "grpc": {"port": ports[0]},
            "http": {"port": ports[1]},
            "metrics": {"port": ports[2]},
            "training": {"output_dir": str(place.folder / "training_output")},
        }
        config.write_text(json.dumps({"runtime": settings}))
        return Launch(
            command=(
                str(python_of(place.environments, "caikit")),
                str(HERE / "peers" / "caikit" / "server.py"),
                str(config),
            ),
            environment={"PYTHONPATH": str(folder)},
            targets=targets(ports[0], ports[1]),
        )

    return prepare


def _bentoml(service: str, targets: Callable[[int, int], dict[str, Target]]) -> Suite:
    def prepare(place: Place) -> Launch:
        (port,) = free_ports(1)
        return Launch(
            command=(
                _python(place, "bentoml"),
                *("-m", "bentoml", "serve", f"server:{service}"),
                *("--host", "127.0.0.1", "--port", str(port)),
                *("--working-dir", str(HERE / "peers" / "bentoml")),
            ),
            environment={
                **_model(place),
                "BENTOML_HOME": str(place.folder / "home"),
                "BENTOML_DO_NOT_TRACK": "true",
            },
            targets=targets(port, port),
        )

    return prepare


def _bentoml_embedding(port: int, _: int) -> dict[str, Target]:
    bodies = [as_json({"text": [text]}) for text in sentences()]
    return {"rest": rest(port, "/embed", bodies, b"[[")}


def _mlserver(runtime: str, targets: Callable[[int, int], dict[str, Target]]) -> Suite:
    """MLServer on a model folder; parallel workers and adaptive batching for the embedding."""

    def prepare(place: Place) -> Launch:
        http_port, grpc_port, metrics_port = free_ports(3)
        embedding = runtime == "Embedding"
        name = runtime.lower()
        model: dict[str, object] = {"name": name, "implementation": f"runtime.{runtime}"}
        if embedding:
            model |= {"max_batch_size": 32, "max_batch_time": 0.01}
        settings = {
            "host": "127.0.0.1",
            "http_port": http_port,
            "grpc_port": grpc_port,
            "metrics_port": metrics_port,
            "parallel_workers": _workers() if embedding else 0,
            # A stream is refused while answers are compressed.
            "gzip_enabled": False,
        }
        folder = place.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "settings.json").write_text(json.dumps(settings))
        (folder / "model-settings.json").write_text(json.dumps(model))
        program = python_of(place.environments, "peers/mlserver").with_name("mlserver")
        return Launch(
            command=(str(program), "start", str(folder)),
            environment={**_model(place), "PYTHONPATH": str(HERE / "peers" / "mlserver")},
            targets=targets(http_port, grpc_port),
        )

    return prepare


def _workers() -> int:
    from benchmarks.contestants import cores

    return cores()


def _inputs(name: str, text: str) -> bytes:
    tensor = {"name": name, "shape": [1, 1], "datatype": "BYTES", "data": [text]}
    return as_json({"inputs": [tensor]})


def _mlserver_hello(http_port: int, grpc_port: int) -> dict[str, Target]:
    shape, contents = field(3, b"\1\1"), field(5, field(8, "World"))
    tensor = field(1, "name") + field(2, "BYTES") + shape + contents
    message = field(1, "hello") + field(5, tensor)
    call = "/inference.GRPCInferenceService/ModelInfer"
    return {
        "rest": rest(http_port, "/v2/models/hello/infer", _inputs("name", "World"), HELLO),
        "grpc": grpc(grpc_port, call, message, HELLO),
    }


def _mlserver_stream(http_port: int, _: int) -> dict[str, Target]:
    path, body = "/v2/models/hello/infer_stream", _inputs("name", "World")
    return {"rest": rest(http_port, path, body, HELLO, messages=MESSAGES)}


def _mlserver_echo(http_port: int, _: int) -> dict[str, Target]:
    path, body = "/v2/models/hello/infer", _inputs("text", TEXT)
    return {"rest": rest(http_port, path, body, TEXT.encode())}


def _mlserver_embedding(http_port: int, _: int) -> dict[str, Target]:
    bodies = [_inputs("text", text) for text in sentences()]
    return {"rest": rest(http_port, "/v2/models/embedding/infer", bodies, b'"values"')}


def _samples(suite: str) -> Suite:
    return _caikit(
        lambda place: prepared(HERE / "project", place.folder / "project"),
        lambda grpc_port, rest_port: sample_targets(suite, grpc_port, rest_port),
    )


PEERS = (
    Contestant(
        name="caikit",
        environment="caikit",
        packages=("caikit", "grpcio", "fastapi", "uvicorn", "protobuf"),
        suites={
            "hello": _caikit(lambda place: template_project(place.folder), example_targets),
            **{suite: _samples(suite) for suite in ("stream", "payload", "nested")},
            "embedding": _caikit(embedding_project, lambda _, port: embedding_targets(port)),
            "four": _caikit(four_project, lambda _, port: embedding_targets(port, FOUR)),
        },
        own={
            "data": reading("caikit", "caikit", part=10),
            "training": training("caikit_trainings.py", environment="caikit"),
        },
        peer=True,
    ),
    Contestant(
        name="LitServe",
        environment="peers/litserve",
        packages=("litserve", "fastapi", "uvicorn"),
        suites={
            "hello": _script("litserve", "hello", _named("/predict")),
            "stream": _script("litserve", "stream", _stream("/predict")),
            "payload": _script("litserve", "echo", _echo("/predict")),
            "embedding": _script("litserve", "embedding", _embed("/predict")),
        },
        peer=True,
    ),
    Contestant(
        name="BentoML",
        environment="peers/bentoml",
        packages=("bentoml", "starlette", "uvicorn"),
        suites={
            "hello": _bentoml("Hello", _named("/hello")),
            "stream": _bentoml("Hello", _stream("/stream")),
            "payload": _bentoml("Hello", _echo("/echo")),
            "embedding": _bentoml("Embedding", _bentoml_embedding),
        },
        peer=True,
    ),
    Contestant(
        name="MLServer",
        environment="peers/mlserver",
        packages=("mlserver", "fastapi", "uvicorn", "uvloop", "grpcio"),
        suites={
            "hello": _mlserver("Hello", _mlserver_hello),
            "stream": _mlserver("Hello", _mlserver_stream),
            "payload": _mlserver("Hello", _mlserver_echo),
            "embedding": _mlserver("Embedding", _mlserver_embedding),
        },
        peer=True,
    ),
    Contestant(
        name="Ray Serve",
        environment="peers/ray_serve",
        packages=("ray", "uvicorn", "starlette", "grpcio"),
        suites={
            "hello": _script("ray_serve", "hello", _ray_hello),
            "stream": _script("ray_serve", "stream", _stream("/")),
            "payload": _script("ray_serve", "echo", _echo("/")),
            "embedding": _script("ray_serve", "embedding", _embed("/")),
        },
        peer=True,
    ),
    Contestant(
        name="mosec",
        environment="peers/mosec",
        packages=("mosec",),
        suites={
            "hello": _script("mosec", "hello", _named("/inference")),
            "stream": _script("mosec", "stream", _stream("/inference")),
            "payload": _script("mosec", "echo", _echo("/inference")),
            "embedding": _script("mosec", "embedding", _embed("/inference")),
        },
        peer=True,
    ),
)
