"""The typed configuration: one YAML file, overrides from the environment, nothing unknown accepted.

`load` is called once at the edge (the command line, `start_runtime.py`); what comes out is handed
down. Keys that caikit knows keep caikit's names and meaning, so a caikit configuration works here.
Relative paths in a file are relative to the folder of that file.

    config = kitfox.config.load(Path("server/config.yml"))
    config.runtime.grpc.port
"""

from kitfox.config.reading import describe, layer_execution, load, parse
from kitfox.config.sections import (
    Batching,
    Config,
    ConfigError,
    Cors,
    DataStreams,
    Grpc,
    Http,
    Jobs,
    Log,
    Metrics,
    ModelExecution,
    Models,
    Retention,
    Runtime,
    Server,
    ServiceGeneration,
    Tls,
    TlsClient,
    TlsServer,
    Training,
    TrainingOutput,
    VersionInfo,
    parse_bytes,
)

__all__ = [
    "Batching",
    "Config",
    "ConfigError",
    "Cors",
    "DataStreams",
    "Grpc",
    "Http",
    "Jobs",
    "Log",
    "Metrics",
    "ModelExecution",
    "Models",
    "Retention",
    "Runtime",
    "Server",
    "ServiceGeneration",
    "Tls",
    "TlsClient",
    "TlsServer",
    "Training",
    "TrainingOutput",
    "VersionInfo",
    "describe",
    "layer_execution",
    "load",
    "parse",
    "parse_bytes",
]
