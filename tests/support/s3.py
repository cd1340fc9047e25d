"""A real S3 protocol server on loopback (moto), with faults to order."""

from __future__ import annotations

import functools
import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.loaders import JSONFileLoader
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code} was ordered</Message></Error>"
CODES = {"SlowDown": "503 Slow Down", "InternalError": "500 Internal Server Error", "AccessDenied": "403 Forbidden", "InvalidAccessKeyId": "403 Forbidden", "SignatureDoesNotMatch": "403 Forbidden", "NotImplemented": "501 Not Implemented"}  # fmt: skip

SLOW_S = 0.05  # what a slow request waits before it is answered


@dataclass
class Fault:
    """What the next `times` requests get that match. code: of S3, `reset`, `lost` (done, no answer) or `slow`."""

    code: str
    method: str = "PUT"
    contains: str = ""
    times: int | None = 1
    hits: int = 0

    def strikes(self, method: str, path: str) -> bool:
        if method != self.method or self.contains not in path or self.hits == self.times:
            return False
        self.hits += 1
        return True


@dataclass
class S3:
    """The server: its address, the requests that it got, the faults that are ordered.

    writers: path and access key of every PUT that was done. conditions: whether If-Match and
    If-None-Match are `honoured`, `ignored`, or refused as `NotImplemented`.
    """

    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    writers: list[tuple[str, str]] = field(default_factory=list)
    conditions: str = "honoured"

    def puts(self, contains: str = "") -> int:
        return sum(method == "PUT" and contains in path for method, path in self.requests)


@contextmanager
def serve() -> Iterator[S3]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    served, app = S3(), DomainDispatcherApplication(create_backend_app)

    def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        served.requests.append((method, path))
        for fault in served.faults:
            if fault.strikes(method, path):
                if fault.code == "slow":
                    time.sleep(SLOW_S)
                    continue
                if fault.code == "lost":
                    list(app(environ, lambda *_: None))
                if fault.code in ("reset", "lost"):
                    connection = environ["werkzeug.socket"]
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    connection.shutdown(socket.SHUT_RDWR)
                    connection.close()
                    raise ConnectionAbortedError(fault.code)
                return refuse(environ, start, fault.code)
        if method == "PUT" and served.conditions != "honoured":
            conditions = [environ.pop(name, None) for name in ("HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH")]
            if any(conditions) and served.conditions == "NotImplemented":
                return refuse(environ, start, "NotImplemented")
        if method == "PUT":
            signed = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2]
            served.writers.append((path, signed.partition("/")[0]))
        content: Iterable[bytes] = app(environ, start)
        return content

    def refuse(environ: dict[str, Any], start: Any, code: str) -> Iterable[bytes]:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start(CODES[code], [("Content-Type", "application/xml")])
        return [ERROR.format(code=code).encode()]

    server = make_server("127.0.0.1", 0, answer, threaded=True)
    served.url = f"http://127.0.0.1:{server.port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(JSONFileLoader, "load_file", lambda _, path: _service_model(path))
            yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@functools.cache
def _service_model(path: str) -> object:
    """A JSON file of botocore. Every session reads those of S3 again, 0.1 to 0.3 CPU-seconds each."""
    return _READ_MODEL(JSONFileLoader(), path)


_READ_MODEL = JSONFileLoader.load_file


def environment(url: str) -> dict[str, str]:
    return {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}  # fmt: skip


def make_bucket(name: str) -> None:
    import boto3

    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    client.create_bucket(Bucket=name)
    client.close()
