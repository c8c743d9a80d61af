"""What a server logs of itself: each service, RPC and route, to be copied and called."""

import importlib.metadata
from collections.abc import Iterable

from kitfox import logs
from kitfox.config import Config
from kitfox.services import Method, Purpose

__all__ = ["announce"]

log = logs.channel("SERVICES")

_SERVICE_KINDS = {
    Purpose.INFERENCE: "inference",
    Purpose.JOB_START: "inference job",
    Purpose.JOB_CANCEL: "inference job",
    Purpose.TRAINING: "train",
    Purpose.TRAINING_STATUS: "training management",
    Purpose.TRAINING_LIST: "training management",
    Purpose.BATCH_TRAINING: "batch training",
    Purpose.RUNTIME_INFO: "info",
    Purpose.DEPLOY: "model deployment",
    Purpose.MODEL_LIST: "model management",
    Purpose.MESH_LOAD: "model mesh",
    Purpose.HEALTH_CHECK: "health",
    Purpose.REFLECTION: "reflection",
}


def announce(config: Config, methods: Iterable[Method]) -> None:
    """Logs the methods.

    Args:
        config: Where the library and the ports are.
        methods: Those that are served, in the order of their services.
    """
    library = ", ".join(config.runtime.libraries)
    version = ", ".join(_version(name) for name in config.runtime.libraries)
    scheme = "https" if config.runtime.tls.server.cert else "http"
    base = f"{scheme}://localhost:{config.runtime.http.port}"
    service = ""
    for method in methods:
        if method.service != service:
            service = method.service
            kind = _SERVICE_KINDS[method.purpose]
            text = "Constructed %s service for library: %s, version: %s"
            log.info(text, kind, library, version, extra={"log_code": "<KFX10010I>"})
        log.info("Available RPC %s", method.path, extra={"log_code": "<KFX10020I>"})
        if method.route:
            url = base + method.route.path
            text = "Available route %s %s"
            log.info(text, method.route.verb, url, extra={"log_code": "<KFX10030I>"})


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
