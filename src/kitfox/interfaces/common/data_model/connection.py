"""How to reach another server."""

from kitfox.data import DataObjectBase, JsonDict, dataobject

__all__ = ["ConnectionInfo", "ConnectionTlsInfo"]

_PACKAGE = "caikit_data_model.common"


@dataobject(package=_PACKAGE)
class ConnectionTlsInfo(DataObjectBase):
    """Whether and how a connection is encrypted; file names are of PEM files."""

    enabled: bool | None = None
    insecure_verify: bool | None = None
    """True: the server's certificate is not checked."""
    ca_file: str | None = None
    """Of the authorities that may have signed the server's certificate; none: the system's."""
    cert_file: str | None = None
    """Of the client, for mutual TLS."""
    key_file: str | None = None


@dataobject(package=_PACKAGE)
class ConnectionInfo(DataObjectBase):
    """A server that holds models."""

    hostname: str
    """May contain `{}`, which stands for the name of the model."""
    port: int | None = None
    """None: 443 with TLS, 80 without."""
    tls: ConnectionTlsInfo | None = None
    timeout: int | None = 60
    """Seconds that a call may take."""
    options: JsonDict | None = None
    """Of the gRPC channel, by name."""
    retries: int | None = 1
    """How many times a call that failed is made again."""
    retry_options: JsonDict | None = None
    max_session_age: float | int | None = -1
    """Seconds after which a new connection is made; below zero: never."""
