"""Https for tests: a certificate of an authority that only they know, and a relay that speaks TLS for a plain server."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificate:
    """authority: what a client has to trust. server: the key with its certificate."""

    authority: Path
    server: Path


def certificate(folder: Path, host: str = "localhost") -> Certificate:
    """A certificate for a name or an address that no authority signed, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    try:
        subject: x509.GeneralName = x509.IPAddress(ip_address(host))
    except ValueError:
        subject = x509.DNSName(host)
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([subject]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(Encoding.PEM)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "authority.pem").write_bytes(pem)
    (folder / "server.pem").write_bytes(private + pem)
    return Certificate(folder / "authority.pem", folder / "server.pem")


@contextlib.contextmanager
def relay(server: Path, host: str, to: tuple[str, int]) -> Iterator[str]:
    """An https URL whose connections end, without TLS, at `to`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)
    with socket.create_server((host, 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    threading.Thread(target=_relayed, args=(client, context, to), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"https://{host}:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def _relayed(client: socket.socket, context: ssl.SSLContext, to: tuple[str, int]) -> None:
    with (
        contextlib.suppress(OSError),
        client,
        context.wrap_socket(client, server_side=True) as near,
        socket.create_connection(to) as far,
        selectors.DefaultSelector() as ready,
    ):
        ready.register(near, selectors.EVENT_READ, far)
        ready.register(far, selectors.EVENT_READ, near)
        while True:
            for key, _ in ready.select():
                source, sink = key.fileobj, key.data
                assert isinstance(source, socket.socket)
                if not (data := source.recv(1 << 16)):
                    return
                sink.sendall(data)
                while source is near and near.pending():
                    sink.sendall(near.recv(1 << 16))
