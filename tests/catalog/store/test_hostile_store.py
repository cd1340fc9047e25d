"""An object store that answers as no store does: an answer has a size, a time and one host."""

from __future__ import annotations

import gc
import re
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import IO

import pytest
from support.s3 import environment

from catalog.files import ROWS
from catalog.store import compare_and_swap, object_store, object_store_retries, s3_session
from catalog.store.lock import catalog_lock
from catalog.store.object_store import ObjectStore
from survey.errors import CommitError, SurveyError, UsageError

# The client drops a connection whose answer it refused, and leaves the rest to the collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
Answer = Callable[[socket.socket], None]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n"
CHUNK = b"10000\r\n" + b" " * 0x10000 + b"\r\n"


@pytest.fixture(scope="module", autouse=True)
def _dropped_connections() -> Iterator[None]:
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class Hostile:
    """A server that gives each request the same answer. requests: the first line of each."""

    def __init__(self, answer: Answer) -> None:
        self._answer, self.requests = answer, list[str]()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._reply, args=(client,), daemon=True).start()

    def _reply(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as request:
            lines = list(iter(request.readline, b"\r\n"))
            self.requests.append(lines[0].decode())
            head = b"".join(lines).lower()
            if b"100-continue" in head:
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            request.read(int(length[1]) if length else 0)
            try:
                self._answer(client)
            except OSError:  # it does not listen any more
                return


@contextmanager
def store_of(answer: Answer, patch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    with closing(Hostile(answer)) as server:
        for name, value in environment(server.url).items():
            patch.setenv(name, value)
        patch.setattr(object_store_retries, "WAITS_S", ())
        yield ObjectStore("s3://bucket/catalog")


def without_end(client: socket.socket) -> None:
    client.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        client.sendall(CHUNK)


def of_any_length(client: socket.socket) -> None:
    client.sendall(HEAD + b"Content-Length: 99999999999999\r\n\r\n")
    while True:
        client.sendall(CHUNK)


def by_the_second(client: socket.socket) -> None:
    client.sendall(HEAD)
    while True:
        client.sendall(b"X-Next: 1\r\n")
        time.sleep(0.02)


def write_row(opened: IO[bytes]) -> None:
    opened.write(b"row")


REQUESTS: dict[str, Callable[[ObjectStore], object]] = {
    "a listing": lambda store: store.files(ROWS),
    "a lock": lambda store: catalog_lock(store).__enter__(),
    "a row": lambda store: store.publish(ROWS, "a.parquet", write_row),
}


@pytest.mark.parametrize("request_of", [REQUESTS["a listing"], REQUESTS["a row"]], ids=["a listing", "a row"])
@pytest.mark.parametrize("answer", [without_end, of_any_length])
def test_an_answer_has_a_largest_size(
    answer: Answer, request_of: Callable[[ObjectStore], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_session, "MAX_ANSWER_BYTES", 1 << 20)
    with store_of(answer, monkeypatch) as store, pytest.raises((UsageError, SurveyError), match="more than"):
        request_of(store)


@pytest.mark.parametrize("request_of", [REQUESTS["a lock"], REQUESTS["a row"]], ids=["a lock", "a row"])
def test_a_request_that_writes_has_a_deadline(
    request_of: Callable[[ObjectStore], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "WRITING_S", 0.3)
    monkeypatch.setattr(compare_and_swap, "CONTROL_S", 0.3)
    with (
        store_of(by_the_second, monkeypatch) as store,
        pytest.raises((UsageError, CommitError), match="did not end its answer"),
    ):
        request_of(store)


def test_a_redirect_to_another_host_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Hostile(lambda client: client.sendall(HEAD + b"Content-Length: 0\r\n\r\n"))) as other:
        there = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {other.url}/x\r\nContent-Length: 0\r\n\r\n"
        with store_of(lambda client: client.sendall(there.encode()), monkeypatch) as store:
            for request_of in REQUESTS.values():
                with pytest.raises((UsageError, SurveyError)):
                    request_of(store)
        assert not other.requests


def test_a_servers_words_are_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    words = b"<Error><Code>Odd</Code><Message>" + b"word\n" * 100_000 + b"</Message></Error>"
    head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n" % len(words)
    with (
        store_of(lambda client: client.sendall(head + words), monkeypatch) as store,
        pytest.raises(UsageError, match="word word") as refused,
    ):
        store.files(ROWS)
    assert len(str(refused.value)) < 2_000
    assert "\n" not in str(refused.value)
