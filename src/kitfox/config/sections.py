"""The sections of the configuration: every key with its type, its range and its default.

`docs/configuration.md` explains each key.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from kitfox.errors import InvalidArgument


class ConfigError(InvalidArgument):
    """A configuration that cannot be used; the message names file or variable, key and cure."""


_UNITS = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}
_UNITS |= {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_bytes(value: int | str, source: str) -> int:
    """A number of bytes, given as such or as text with a unit.

    Args:
        value: What a file would hold.
        source: Named in errors.

    Raises:
        ConfigError: It is no number of bytes.

    Example:
        >>> parse_bytes("1.5 GiB", "test")
        1610612736
    """
    text = str(value).strip()
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text, re.ASCII)
    unit = None if found is None else _UNITS.get(found[2].upper())
    if found is None or unit is None:
        raise ConfigError(f"{source}: {text!r}: expected a number of bytes, or text such as '2GiB'")
    return int(found[1]) * unit if found[1].isdigit() else int(float(found[1]) * unit)


Port = Annotated[int, msgspec.Meta(ge=0, le=65535, description="a port number, 0 to 65535")]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Natural = Annotated[int, msgspec.Meta(ge=0)]
Bytes = Annotated[int, msgspec.Meta(ge=1024)]
# A healthy worker gives a sign every five seconds: less than two of them would kill it.
Lease = Annotated[float, msgspec.Meta(ge=10)]
UrlPath = Annotated[
    str, msgspec.Meta(pattern=r"^(/[A-Za-z0-9._~/-]+)?$", description="a path, such as /livez")
]
# The most that Envoy can be told.
HeaderBytes = Annotated[int, msgspec.Meta(ge=1024, le=8 * 1024 * 1024)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A group of keys."""


class Grpc(Section, frozen=True):
    """The listener that is announced as the gRPC one; it answers REST as well."""

    enabled: bool = True
    port: Port = 8085
    server_shutdown_grace_period_seconds: Seconds = 45


class Http(Section, frozen=True):
    """The listener that is announced as the REST one; it answers gRPC as well."""

    enabled: bool = True
    port: Port = 8080
    route_prefix: str = "api/v1"
    server_shutdown_grace_period_seconds: Seconds = 5


class Metrics(Section, frozen=True):
    """Where Prometheus reads."""

    enabled: bool = True
    port: Port = 8086


class TrainingOutput(Section, frozen=True):
    """Where trained models are written."""

    output_dir: str = "training_output"
    save_with_id: bool = True


class ServiceGeneration(Section, frozen=True):
    """What is derived from the library, and under which names."""

    enable_inference: bool = True
    enable_training: bool = True
    enable_inference_jobs: bool | None = None
    package: str = ""
    domain: str = ""


class TlsServer(Section, frozen=True):
    """What the server shows: each the path of a PEM file, or its text."""

    key: str = ""
    cert: str = ""


class TlsClient(Section, frozen=True):
    """What clients must show: the authorities that signed their certificates, path or text."""

    cert: str = ""


class Tls(Section, frozen=True):
    """Encryption of the gRPC and the HTTP listener: none unless key and certificate are named."""

    server: TlsServer = TlsServer()
    client: TlsClient = TlsClient()


class Batching(Section, frozen=True):
    """caikit's way to say how calls are batched; `models.execution` says it with more words."""

    size: Natural = 0
    collect_delay_s: Seconds = 0


class VersionInfo(Section, frozen=True):
    """What `/info/version` tells."""

    runtime_image: str = ""
    python_packages: dict[str, bool | str] = {}


class Runtime(Section, frozen=True):
    """The server and what it serves; the names are caikit's."""

    library: str | list[str] = ""
    python_path: list[str] = []
    local_models_dir: str = "models"
    load_new_local_models: bool = True
    lazy_load_local_models: bool = False
    lazy_load_poll_period_seconds: Seconds | None = 10
    lazy_load_write_detection_period_seconds: Seconds | None = 0.05
    lazy_load_retries: Natural = 2
    load_threads: Positive | None = 2
    wait_for_initial_model_loads: bool = True
    server_thread_pool_size: Positive = 100
    use_abortable_threads: bool | None = None
    tls: Tls = Tls()
    grpc: Grpc = Grpc()
    http: Http = Http()
    metrics: Metrics = Metrics()
    training: TrainingOutput = TrainingOutput()
    service_generation: ServiceGeneration = ServiceGeneration()
    batching: dict[str, Batching] = {}
    version_info: VersionInfo = VersionInfo()

    @property
    def libraries(self) -> list[str]:
        """The packages to serve: a list as it is, text by its commas."""
        named = self.library.split(",") if isinstance(self.library, str) else self.library
        return [name.strip() for name in named if name.strip()]


class Cors(Section, frozen=True):
    """Which web pages of other origins may call: none unless named."""

    allow_origins: list[str] = []
    allow_headers: list[str] = []
    allow_credentials: bool = False
    max_age_seconds: Seconds = 600


class Server(Section, frozen=True):
    """The data plane and its limits."""

    engine: Literal["auto", "envoy", "hypercorn"] = "auto"
    threads: Annotated[int, msgspec.Meta(ge=0)] = 0
    pin_threads: bool = True
    address: str = "0.0.0.0"  # noqa: S104 -- a model server is there to be reached
    max_message_size: Bytes = 32 * 1024 * 1024
    max_decompressed_size: Bytes = 64 * 1024 * 1024
    max_buffered_size: Bytes = 1024 * 1024 * 1024
    max_unsent_size: Bytes = 1024 * 1024 * 1024
    max_engine_size: Bytes = 4 * 1024 * 1024 * 1024
    max_header_size: HeaderBytes = 64 * 1024
    max_headers: Positive = 200
    max_json_depth: Positive = 100
    max_concurrent_requests: Positive = 2048
    max_concurrent_streams: Positive = 256
    max_connections: Positive = 20_000
    header_seconds: Seconds = 30
    request_seconds: Seconds = 120
    stream_idle_seconds: Seconds = 3600
    live_path: UrlPath = "/livez"
    docs: bool = True
    cors: Cors = Cors()


class Retention(Section, frozen=True):
    """What is kept of trainings that have ended; what is pinned or current is always kept."""

    seconds: Seconds | None = None
    count: Natural | None = None
    bytes: int | str | None = None
    # A failure leaves a log and checkpoints, and no model that somebody could miss.
    failed_seconds: Seconds | None = 30 * 86400

    @property
    def bytes_limit(self) -> int | None:
        """The most bytes of logs and models, as a number.

        Raises:
            ConfigError: It is none.
        """
        return None if self.bytes is None else parse_bytes(self.bytes, "training.retention.bytes")


class Training(Section, frozen=True):
    """The job store and the scheduler."""

    store: str = ""
    max_concurrent: Positive = 2
    queue_limit: Positive = 1000
    warm: bool = True
    retries: Natural = 0
    lease_seconds: Lease = 30
    cancel_seconds: Seconds = 10
    stop_seconds: Seconds = 60
    checkpoints: Positive = 2
    auto_promote: bool = False
    digest_bytes: int | str = "1GiB"
    retention: Retention = Retention()

    @property
    def digest_limit(self) -> int:
        """The most bytes of data that are given a digest, as a number.

        Raises:
            ConfigError: It is none.
        """
        return parse_bytes(self.digest_bytes, "training.digest_bytes")


class Jobs(Section, frozen=True):
    """Inference jobs: predictions that are made later."""

    max_concurrent: Positive = 4
    queue_limit: Positive = 1000
    retention_seconds: Seconds | None = 86400
    result_dir: str | None = None


class ModelExecution(Section, frozen=True):
    """How the calls of a model are run."""

    mode: Literal["thread", "inline", "process"] = "thread"
    threads: Natural = 0
    queue_limit: Positive = 1000
    run_seconds: Seconds = 0
    max_batch_size: Natural = 0
    max_batch_delay_seconds: Seconds = 0
    batch_weight: str = ""
    max_batch_weight: Natural = 0
    replicas: Positive = 1
    devices: list[str] = []
    retry: bool = False


class Models(Section, frozen=True):
    """How models are kept and run, and where they come from beside the models folder."""

    execution: ModelExecution = ModelExecution()
    settings: dict[str, dict[str, Any]] = {}
    load_seconds: Seconds = 600
    memory_budget: int | str = 0
    memory_wait_seconds: Seconds = 5
    remote: list[str] = []
    remote_seconds: Annotated[float, msgspec.Meta(gt=0)] = 20
    cache_dir: str = "model_cache"
    max_upload_size: int | str = "16GiB"

    @property
    def upload_bytes(self) -> int:
        """The most bytes of a model that is uploaded as an archive, as a number.

        Raises:
            ConfigError: It is none.
        """
        return parse_bytes(self.max_upload_size, "models.max_upload_size")

    @property
    def budget_bytes(self) -> int:
        """The memory budget as a number of bytes.

        Raises:
            ConfigError: It is none.
        """
        return parse_bytes(self.memory_budget, "models.memory_budget")


class DataStreams(Section, frozen=True):
    """Where training data is looked for."""

    file_source_base: str | None = None


class Log(Section, frozen=True):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error", "off"] = "info"
    formatter: Literal["json", "pretty"] = "json"


class Config(Section, frozen=True):
    """Everything that can be configured. `docs/configuration.md` explains each key."""

    runtime: Runtime = Runtime()
    server: Server = Server()
    training: Training = Training()
    jobs: Jobs = Jobs()
    models: Models = Models()
    data_streams: DataStreams = DataStreams()
    log: Log = Log()

    @property
    def store_url(self) -> str:
        """The URL of the job store: as configured, else a SQLite file beside the trainings."""
        if self.training.store:
            return self.training.store
        return f"sqlite:///{Path(self.runtime.training.output_dir) / 'jobs.sqlite3'}"
