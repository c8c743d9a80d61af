"""TLS from the configuration: what was configured, checked before anything is started."""

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kitfox.config import Config, ConfigError
from kitfox.server.options import Tls, is_pem

__all__ = ["client_context", "server_context", "tls_of"]

_KEY = "runtime.tls.server.key"
_CERT = "runtime.tls.server.cert"
_CLIENT = "runtime.tls.client.cert"


def tls_of(config: Config) -> Tls | None:
    """What the configuration says of TLS; None for plain text.

    Raises:
        ConfigError: One of the settings is there without another that it needs, or cannot be used.
    """
    key, cert = config.runtime.tls.server.key, config.runtime.tls.server.cert
    client = config.runtime.tls.client.cert
    if not key and not cert and not client:
        return None
    for name, value in ((_KEY, key), (_CERT, cert)):
        if not value:
            present = next(
                name for name, found in ((_KEY, key), (_CERT, cert), (_CLIENT, client)) if found
            )
            raise ConfigError(f"{present} is set and {name} is not: TLS needs key and certificate")
    tls = Tls(key=key, certificate=cert, client_ca=client or None)
    server_context(tls)
    return tls


def server_context(tls: Tls) -> ssl.SSLContext:
    """What Python's own servers encrypt with.

    Raises:
        ConfigError: A file that cannot be read, or that does not hold what it should.
    """
    # https://datatracker.ietf.org/doc/html/rfc9113#section-9.2 -- HTTP/2 wants no older TLS.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"])
    with _file(tls.certificate, _CERT) as certificate, _file(tls.key, _KEY) as key:
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except ssl.SSLError as error:
            reason = (error.reason or str(error)).replace("_", " ").lower()
            raise ConfigError(
                f"{_CERT} and {_KEY} are no certificate chain with its key in PEM: {reason}"
            ) from error
    if tls.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        with _file(tls.client_ca, _CLIENT) as authorities:
            try:
                context.load_verify_locations(authorities)
            except ssl.SSLError as error:
                raise ConfigError(f"{_CLIENT} holds no certificates in PEM") from error
    return context


def client_context(config: Config, *, is_own: bool) -> ssl.SSLContext | None:
    """What a client on the server's own machine, with its configuration, encrypts with.

    It trusts the server's certificate beside those that everybody trusts, and shows the same
    certificate where one is asked for.

    Args:
        config: The server's.
        is_own: Whether the server is certainly the configured one. Its certificate is then enough,
            whatever name is in it.
    """
    tls = tls_of(config)
    if tls is None:
        return None
    context = ssl.create_default_context()
    # The server's certificate itself is known, not who signed it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = not is_own
    with _file(tls.certificate, _CERT) as certificate, _file(tls.key, _KEY) as key:
        context.load_verify_locations(certificate)
        if tls.client_ca is not None:
            context.load_cert_chain(certificate, key, password=_no_password)
    return context


def _no_password() -> str:
    raise ConfigError(f"{_KEY} is encrypted: a server has nobody to ask for its password")


@contextlib.contextmanager
def _file(value: str, setting: str) -> Iterator[str]:
    """The path of a readable file with what a setting holds."""
    if not is_pem(value):
        try:
            Path(value).open("rb").close()
        except OSError as error:
            raise ConfigError(f"{setting}: cannot read {value}: {error.strerror}") from error
        yield value
        return
    # OpenSSL as Python has it reads keys from files only.
    number, path = tempfile.mkstemp()
    try:
        with os.fdopen(number, "w", encoding="ascii", errors="replace") as file:
            file.write(value)
        yield path
    finally:
        Path(path).unlink()
