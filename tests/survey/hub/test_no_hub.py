"""The Hub's client without a Hub: one message at once, with the remedy."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hub_model import settings
from support.proxies import alone, forward_proxy
from support.tls import Certificate
from support.tls import certificate as made_certificate

from jobs.demo.hub.local_hub import LocalHub
from survey.errors import NoHub, Unreachable
from survey.hub.repositories import resolve
from survey.hub.transport.connections import ConnectionPool, connection_pool
from survey.hub.transport.limits import RequestLimits
from survey.records.settings import Settings


def refused(endpoint: str) -> NoHub:
    """How asking there ends, within seconds."""
    connection_pool().responsive.clear()  # an earlier Hub may have answered at the same port
    started = time.monotonic()
    with pytest.raises(NoHub) as caught:
        resolve("org/model", None, Settings(endpoint=endpoint))
    assert time.monotonic() - started < 8
    assert caught.value.reason == "network"
    return caught.value


@pytest.fixture
def port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def test_a_port_without_a_listener_is_reported(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = f"http://127.0.0.1:{port}"
    assert str(refused(endpoint)) == f"{endpoint} (as given): it refuses connections"
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert str(refused(endpoint)) == f"{endpoint} (of HF_ENDPOINT): it refuses connections"


def test_a_host_that_no_name_server_knows_is_reported() -> None:
    assert "the host name of the URL is unknown" in str(refused("http://nowhere.invalid"))


def test_a_hub_that_answered_before_is_waited_for(hub: LocalHub) -> None:
    asking = settings(hub)
    resolve("org/model", None, asking)
    assert any(origin.port == int(hub.endpoint.rpartition(":")[2]) for origin in connection_pool().responsive)
    hub.close()
    with pytest.raises(Unreachable) as caught:
        resolve("org/model", None, asking)
    assert not isinstance(caught.value, NoHub)


def test_offline_mode_is_reported_and_nothing_is_requested(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set, so no request is made" in str(refused(hub.endpoint))
    assert hub.log == []


# ---- proxies


def test_a_proxy_that_is_not_there_is_named(
    hub: LocalHub, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone(monkeypatch, http_proxy=f"http://user:secret-word@127.0.0.1:{port}")
    error = str(refused(hub.endpoint))
    assert error.endswith(f"the proxy http://127.0.0.1:{port} (of http_proxy) refuses connections")
    assert hub.log == []


def test_a_socks_proxy_is_named(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    alone(monkeypatch, all_proxy="socks5://127.0.0.1:7890")
    assert "all_proxy names a socks5 proxy" in str(refused(hub.endpoint))
    monkeypatch.setenv("no_proxy", "127.0.0.0/8")
    assert resolve("org/model", None, settings(hub)).repo == "org/model"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_password_is_named(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with forward_proxy(password="user:word") as proxy:
        alone(monkeypatch, http_proxy=f"http://{proxy.address}", https_proxy=f"http://{proxy.address}")
        error = str(refused(f"{scheme}://hub.test:443"))
    assert "407" in error
    assert f"{scheme}_proxy" in error
    assert len(proxy.requests) == 1


def test_everything_goes_through_the_proxy(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with forward_proxy(password="user:word") as proxy:
        alone(monkeypatch, http_proxy=f"http://user:word@{proxy.address}")
        checkpoint = resolve("org/model", None, settings(hub))
        assert checkpoint.read_file("config.json", 10_000)
    assert [method for method, _ in proxy.requests] == ["GET", "GET", "GET"]
    assert all(target.startswith("http://127.0.0.1:") for _, target in proxy.requests)


# ---- certificates


@pytest.fixture
def plain() -> Iterator[str]:
    """An https:// endpoint at which plain http is spoken."""
    with LocalHub() as hub:
        yield hub.endpoint.replace("http://", "https://")


def test_a_server_without_tls_is_reported(plain: str) -> None:
    assert "does not speak TLS" in str(refused(plain))


@pytest.mark.parametrize(
    "variable", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]
)
@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "broken"])
def test_unreadable_certificates_are_reported_with_their_variable(
    hub: LocalHub, variable: str, content: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "authorities.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv(variable, str(file))
    assert f"{variable} names {file}:" in str(refused(hub.endpoint))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return made_certificate(tmp_path_factory.mktemp("tls"))


@contextlib.contextmanager
def tls(server: Path, excess: bytes = b"") -> Iterator[str]:
    """A server that speaks TLS, and answers everything with nothing. excess: sent after the answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    with (
                        contextlib.suppress(OSError),
                        client,
                        context.wrap_socket(client, server_side=True) as line,
                    ):
                        line.recv(1 << 16)
                        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]" + excess)
                        line.recv(1)  # until it is closed

        threading.Thread(target=serve, daemon=True).start()
        yield f"https://localhost:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def test_an_untrusted_certificate_is_reported_and_not_tried_again(
    certificate: Certificate,
) -> None:
    with tls(certificate.server) as endpoint:
        assert "its certificate is not trusted" in str(refused(endpoint))


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_a_certificate_of_an_authority_that_is_named_is_trusted(
    certificate: Certificate, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(certificate.authority))
    with (
        tls(certificate.server) as endpoint,
        pytest.raises(Unreachable, match="not an answer of the Hub"),
    ):
        resolve("org/model", None, Settings(endpoint=endpoint))


def test_a_line_that_brought_more_than_was_asked_for_is_not_used_again(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What TLS has decrypted and nobody has read leaves the socket silent."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
    own = ConnectionPool()
    with tls(certificate.server, b"x" * 12_000) as endpoint, contextlib.closing(own):
        for _ in range(2):
            with own.request(
                "GET", endpoint, {}, RequestLimits(5.0, 5.0, time.monotonic() + 5.0)
            ) as response:
                assert response.read() == b"[]"
