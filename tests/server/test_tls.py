"""Both ports are encrypted when a key and a certificate are configured."""

import json
import ssl
import urllib.request
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
import trustme

from kitfox import config
from kitfox.server.tls import tls_of
from tests.conftest import Server
from tests.waiting import wait_for

from .conftest import Start
from .small_server import call


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def pem(blob: trustme.Blob) -> str:
    return blob.bytes().decode()


@pytest.mark.parametrize("engine", ["envoy", "hypercorn"])
def test_clients_are_asked_for_a_certificate_when_one_is_wanted(
    start: Start, authority: trustme.CA, tmp_path: Path
) -> None:
    own = authority.issue_cert("localhost")
    values = {
        "key": pem(own.private_key_pem),
        "certificate": "".join(map(pem, own.cert_chain_pems)),
        "client_ca": pem(authority.cert_pem),
    }
    # Each setting takes the text of a file or its path.
    file = tmp_path / "certificate.pem"
    file.write_text(values["certificate"])
    values["certificate"] = str(file)
    server = start(tls=values)
    ports = server.ready()["ports"]
    target = f"localhost:{ports[0]}"
    roots = authority.cert_pem.bytes()
    client = authority.issue_cert("somebody@example.org")
    mine = grpc.ssl_channel_credentials(
        roots, client.private_key_pem.bytes(), client.cert_chain_pems[0].bytes()
    )
    with grpc.secure_channel(target, mine) as channel:
        assert call(channel) == b"hello 2"
    with (
        grpc.secure_channel(target, grpc.ssl_channel_credentials(roots)) as channel,
        pytest.raises(grpc.RpcError),
    ):
        call(channel)
    context = ssl.create_default_context(cadata=pem(authority.cert_pem))
    client.configure_cert(context)
    with urllib.request.urlopen(f"https://localhost:{ports[1]}/", context=context) as answer:
        assert answer.read() == b"hello 1.1"


@pytest.mark.slow
def test_the_command_line_finds_its_server_behind_tls(
    make_server: Callable[..., Server], authority: trustme.CA
) -> None:
    own = authority.issue_cert("models.example.org")
    server = make_server(
        RUNTIME_TLS_SERVER_KEY=pem(own.private_key_pem),
        RUNTIME_TLS_SERVER_CERT="".join(map(pem, own.cert_chain_pems)),
        RUNTIME_TLS_CLIENT_CERT=pem(authority.cert_pem),
    )
    process = server.launch()
    wait_for(lambda: process.poll() is not None or "Ready in" in server.log)
    done = server.kitfox("infer", "example", '{"name": "World"}')
    assert json.loads(done.stdout) == {"greeting": "Hello World"}, done.stderr
    with pytest.raises((ssl.SSLError, OSError)):
        urllib.request.urlopen(f"https://localhost:{server.http_port}/health")
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"server": {"cert": "{cert}"}}, "runtime.tls.server.key is not: TLS needs key and"),
        ({"client": {"cert": "{cert}"}}, "runtime.tls.client.cert is set and runtime.tls.server"),
        ({"server": {"cert": "{cert}", "key": "/none.pem"}}, "cannot read /none.pem: No such file"),
        ({"server": {"cert": "{cert}", "key": "{other}"}}, "key values mismatch"),
        ({"server": {"cert": "{other}", "key": "{key}"}}, "are no certificate chain with its key"),
        (
            {"server": {"cert": "{cert}", "key": "{key}"}, "client": {"cert": "{key}"}},
            "runtime.tls.client.cert holds no certificates in PEM",
        ),
    ],
)
def test_a_certificate_that_cannot_be_used_is_refused_before_the_start(
    authority: trustme.CA, settings: dict[str, dict[str, str]], sentence: str
) -> None:
    own, other = authority.issue_cert("a.example.org"), authority.issue_cert("b.example.org")
    words = {
        "cert": pem(own.cert_chain_pems[0]),
        "key": pem(own.private_key_pem),
        "other": pem(other.private_key_pem),
    }
    filled = {
        section: {name: text.format(**words) for name, text in values.items()}
        for section, values in settings.items()
    }
    loaded = config.load(environ={}, overrides={"runtime": {"tls": filled}})
    with pytest.raises(config.ConfigError, match=sentence):
        tls_of(loaded)
