"""Each fault that the local Hub injects, on the wire."""

import socket
import time
from pathlib import Path
from typing import Literal

import httpx2
import pytest
from huggingface_hub import hf_hub_download
from support.hub_client import DIGITS, ranged, signed_url

from jobs.demo.hub.local_hub import (
    CorruptBytes,
    Drip,
    Fault,
    Garbage,
    IgnoreRange,
    LocalHub,
    ResetAfter,
    ShortBody,
    Stall,
    Status,
    Verbatim,
    WithHeaders,
    WrongCommit,
    WrongContentRange,
)


def test_a_status_is_answered_as_often_as_configured(hub: LocalHub) -> None:
    busy = Fault(Status(429, {"Retry-After": "0"}, b"slow down"), path_contains="org/model", times=2)
    hub.faults.append(busy)
    codes = [httpx2.get(f"{hub.endpoint}/api/models/org/model").status_code for _ in range(3)]
    assert (codes, busy.hits) == ([429, 429, 200], 2)
    assert [entry.status for entry in hub.log] == codes


def test_faults_wait_for_their_turn_and_their_request(hub: LocalHub) -> None:
    later = Fault(Status(503), skip=1)
    cdn_only = Fault(Status(500), server="cdn", times=None)
    head_only = Fault(Status(502), method="HEAD", path_contains="config.json")
    hub.faults = [later, cdn_only, head_only]
    url = f"{hub.endpoint}/org/model/resolve/main/config.json"
    assert [httpx2.head(url).status_code for _ in range(3)] == [502, 503, 307]
    location = signed_url(hub)
    assert [httpx2.get(location).status_code for _ in range(2)] == [500, 500]
    assert (later.hits, cdn_only.hits, head_only.hits) == (1, 2, 1)


def test_the_client_retries_a_busy_server(hub: LocalHub, tmp_path: Path) -> None:
    busy = Fault(Status(429, {"Retry-After": "0"}), server="cdn")
    hub.faults.append(busy)
    path = hf_hub_download("org/model", "digits.bin", endpoint=hub.endpoint, cache_dir=tmp_path, token=False)
    assert (Path(path).read_bytes(), busy.hits) == (DIGITS, 1)
    assert [entry.status for entry in hub.requests("cdn")] == [429, 200]


def test_reset_cuts_the_body_after_what_was_sent(hub: LocalHub) -> None:
    url = signed_url(hub)
    hub.faults.append(Fault(ResetAfter(4)))
    with httpx2.stream("GET", url) as reply:
        pieces = reply.iter_raw()
        assert (next(pieces), reply.headers["Content-Length"]) == (b"0123", "10")
        with pytest.raises(httpx2.ReadError):
            next(pieces)
    assert hub.log[-1].sent_bytes == 4
    assert httpx2.get(url).content == DIGITS


def test_short_body_frames_less_than_the_range(hub: LocalHub) -> None:
    hub.faults.append(Fault(ShortBody(2), server="cdn"))
    reply = ranged(hub, "bytes=2-6")
    assert (reply.status_code, reply.content) == (206, b"234")
    assert (reply.headers["Content-Length"], reply.headers["Content-Range"]) == (
        "3",
        "bytes 2-6/10",
    )


def test_ignored_range_brings_the_whole_file(hub: LocalHub) -> None:
    hub.faults.append(Fault(IgnoreRange(), server="cdn"))
    reply = ranged(hub, "bytes=2-6")
    assert (reply.status_code, reply.content) == (200, DIGITS)
    assert "Content-Range" not in reply.headers


@pytest.mark.parametrize(
    ("offset", "body", "content_range"),
    [
        pytest.param(1, b"345", "bytes 3-5/10", id="later"),
        pytest.param(-2, b"012", "bytes 0-2/10", id="earlier"),
        pytest.param(6, b"89", "bytes 8-9/10", id="cut-at-the-end"),
    ],
)
def test_wrong_range_is_framed_as_what_it_is(
    hub: LocalHub, offset: int, body: bytes, content_range: str
) -> None:
    hub.faults.append(Fault(WrongContentRange(offset), server="cdn"))
    reply = ranged(hub, "bytes=2-4")
    assert (reply.content, reply.headers["Content-Range"]) == (body, content_range)


def test_garbage_is_framed_like_the_answer(hub: LocalHub) -> None:
    hub.faults.append(Fault(Garbage(b"xy"), times=None))
    assert httpx2.get(f"{hub.endpoint}/api/models/org/model").content == b"xy"
    hub.faults.clear()
    url = signed_url(hub)
    hub.faults.append(Fault(Garbage(b"xy"), times=None))
    reply = httpx2.get(url, headers={"Range": "bytes=2-6"})
    assert (reply.status_code, reply.content, reply.headers["Content-Range"]) == (
        206,
        b"xyxyx",
        "bytes 2-6/10",
    )


def test_corrupt_bytes_are_inverted(hub: LocalHub) -> None:
    hub.faults.append(Fault(CorruptBytes(offset=1, count=2), server="cdn"))
    assert ranged(hub, "bytes=0-4").content == bytes([0x30, 0x31 ^ 0xFF, 0x32 ^ 0xFF, 0x33, 0x34])


def test_corrupt_bytes_reach_files_on_disk(hub: LocalHub, tmp_path: Path) -> None:
    (tmp_path / "digits.bin").write_bytes(DIGITS)
    hub.add_repo("org/model", tmp_path)
    hub.faults.append(Fault(CorruptBytes(), server="cdn"))
    assert ranged(hub, "bytes=3-5").content == bytes([0x33 ^ 0xFF, 0x34, 0x35])


def test_another_commit_is_named(hub: LocalHub) -> None:
    hub.faults.append(Fault(WrongCommit("f" * 40)))
    reply = httpx2.head(f"{hub.endpoint}/org/model/resolve/main/digits.bin")
    assert reply.headers["X-Repo-Commit"] == "f" * 40


@pytest.mark.parametrize("after_bytes", [0, 4])
def test_stalled_answers_run_into_the_clients_timeout(hub: LocalHub, after_bytes: int) -> None:
    url = signed_url(hub)
    hub.faults.append(Fault(Stall(30, after_bytes)))
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.get(url, timeout=0.2)


def test_stalled_answers_go_on_afterwards(hub: LocalHub) -> None:
    url = signed_url(hub)
    hub.faults.append(Fault(Stall(0.2, 4)))
    started = time.monotonic()
    assert httpx2.get(url).content == DIGITS
    assert time.monotonic() - started >= 0.2


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_drip_is_never_silent_for_long_and_never_ends(
    hub: LocalHub, part: Literal["headers", "body"]
) -> None:
    hub.faults.append(Fault(Drip(part, interval_s=0.01)))
    host, _, port = hub.endpoint.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=1.0) as line:
        line.sendall(b"GET /api/models/org/model HTTP/1.1\r\nHost: hub\r\n\r\n")
        came = b""
        while len(came) < 400:
            came += line.recv(100)
    assert (b"\r\n\r\n" in came) is (part == "body")


def test_bytes_are_sent_as_they_are(hub: LocalHub) -> None:
    content = b"SSH-2.0-OpenSSH_9.9\r\n"
    hub.faults.append(Fault(Verbatim(content)))
    host, _, port = hub.endpoint.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5.0) as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
        assert line.makefile("rb").read() == content


def test_headers_are_changed_and_left_out(hub: LocalHub) -> None:
    hub.faults.append(Fault(WithHeaders({"X-Repo-Commit": None, "X-Linked-Size": "5", "Link": "<x>"})))
    reply = httpx2.head(f"{hub.endpoint}/org/model/resolve/main/digits.bin")
    assert (reply.status_code, reply.headers["X-Linked-Size"], reply.headers["Link"]) == (302, "5", "<x>")
    assert "X-Repo-Commit" not in reply.headers
