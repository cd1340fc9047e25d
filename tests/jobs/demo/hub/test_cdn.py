"""The local Hub's CDN and its link: redirects, signatures, ranges, rates, and who leaves early."""

import os
import time
from pathlib import Path
from threading import Thread

import httpx2
import pytest
from support.hub_client import DIGITS, MODEL, ranged, signed_url

from jobs.demo.hub.local_hub import LocalHub, ReplyShape
from jobs.demo.hub.replies import HubReply, Span, cut_to_range


def test_redirects_name_the_commit_and_the_file(hub: LocalHub) -> None:
    large = httpx2.get(f"{hub.endpoint}/org/model/resolve/main/digits.bin")
    assert large.status_code == 302
    assert large.headers["Location"].startswith(f"{hub.cdn_origin}/")
    assert large.headers["X-Repo-Commit"] == hub.repos["org/model"].branches["main"]
    assert large.headers["X-Linked-Size"] == "10"
    assert large.headers["X-Linked-Etag"] == large.headers["ETag"]
    small = httpx2.get(f"{hub.endpoint}/org/model/resolve/main/config.json")
    assert small.status_code == 307
    assert small.headers["Location"].startswith("/api/resolve-cache/models/org/model/")


def test_large_files_are_large_by_size_or_by_suffix() -> None:
    with LocalHub(large_file_bytes=100) as hub:
        hub.add_repo("org/model", {"a.json": bytes(99), "b.json": bytes(100), "c.safetensors": b""})
        codes = [
            httpx2.head(f"{hub.endpoint}/org/model/resolve/main/{name}").status_code
            for name in ("a.json", "b.json", "c.safetensors")
        ]
    assert codes == [307, 302, 302]


def test_the_token_stays_on_the_hub(hub: LocalHub) -> None:
    httpx2.get(
        f"{hub.endpoint}/org/model/resolve/main/digits.bin",
        headers={"Authorization": "Bearer member"},
        follow_redirects=True,
    )
    assert [(entry.server, entry.authorization) for entry in hub.log] == [
        ("hub", True),
        ("cdn", False),
    ]
    reply = httpx2.get(signed_url(hub), headers={"Authorization": "Bearer wrong"})
    assert (reply.status_code, hub.log[-1].authorization) == (200, True)
    assert all("authorization" not in entry.headers for entry in hub.log)


def test_signatures_are_checked_and_expire(hub: LocalHub) -> None:
    url = signed_url(hub)
    assert httpx2.get(url).content == DIGITS
    assert httpx2.get(url[:-1] + ("0" if url[-1] != "0" else "1")).status_code == 403
    assert httpx2.get(url.partition("?")[0]).status_code == 403
    assert httpx2.get(url.replace("Expires=1", "Expires=2")).status_code == 403
    assert httpx2.get(url.replace("digits.bin", "model.safetensors")).status_code == 403
    assert httpx2.get(url.replace("%2F", "/")).status_code == 403
    hub.expire_signatures()
    assert httpx2.get(url).status_code == 403
    assert httpx2.get(signed_url(hub)).content == DIGITS
    hub.signature_lifetime_s = -1
    assert httpx2.get(signed_url(hub)).status_code == 403


@pytest.mark.parametrize(
    ("header", "status", "body", "content_range"),
    [
        pytest.param("bytes=2-4", 206, b"234", "bytes 2-4/10", id="first-last"),
        pytest.param("bytes=7-", 206, b"789", "bytes 7-9/10", id="open-end"),
        pytest.param("bytes=-3", 206, b"789", "bytes 7-9/10", id="suffix"),
        pytest.param("bytes=-99", 206, DIGITS, "bytes 0-9/10", id="suffix-over-all"),
        pytest.param("bytes=8-99", 206, b"89", "bytes 8-9/10", id="past-the-end"),
        pytest.param("bytes=10-", 416, b"", "bytes */10", id="at-the-end"),
        pytest.param("bytes=-0", 416, b"", "bytes */10", id="empty-suffix"),
        pytest.param("bytes=4-2", 200, DIGITS, None, id="backwards"),
        pytest.param("bytes=-", 200, DIGITS, None, id="nothing"),
        pytest.param("bytes=0-1,4-5", 200, DIGITS, None, id="several"),
        pytest.param("lines=0-1", 200, DIGITS, None, id="other-unit"),
    ],
)
def test_ranges(hub: LocalHub, header: str, status: int, body: bytes, content_range: str | None) -> None:
    reply = ranged(hub, header)
    assert (reply.status_code, reply.content) == (status, body)
    assert reply.headers.get("Content-Range") == content_range
    assert (hub.log[-1].range, hub.log[-1].sent_bytes, hub.log[-1].status) == (
        header,
        len(body),
        status,
    )


def test_only_get_requests_of_files_are_ranged(hub: LocalHub) -> None:
    head = httpx2.head(signed_url(hub), headers={"Range": "bytes=0-1"})
    assert (head.status_code, head.headers["Content-Length"]) == (200, "10")
    document = HubReply(200, {}, (Span(b"{}", 0, 2),))
    assert cut_to_range(document, "bytes=0-0") is document


def test_small_files_are_ranged_too(hub: LocalHub) -> None:
    reply = httpx2.get(
        f"{hub.endpoint}/org/model/resolve/main/config.json",
        headers={"Range": "bytes=2-5"},
        follow_redirects=True,
    )
    assert (reply.status_code, reply.content) == (206, MODEL["config.json"][2:6])


def test_connections_are_kept_alive(hub: LocalHub) -> None:
    url = signed_url(hub)
    with httpx2.Client() as client:
        ports = set()
        for _ in range(3):
            with client.stream("GET", url) as reply:
                ports.add(reply.extensions["network_stream"].get_extra_info("client_addr"))
                reply.read()
    assert len(ports) == 1


# ---- the link


def test_latency_delays_every_request(hub: LocalHub) -> None:
    hub.shape = ReplyShape(latency_s=0.1)
    started = time.monotonic()
    httpx2.get(signed_url(hub))
    assert time.monotonic() - started >= 0.2


@pytest.mark.parametrize("on_disk", [False, True])
def test_one_connection_keeps_to_its_rate(hub: LocalHub, tmp_path: Path, on_disk: bool) -> None:
    content = os.urandom(2_000_000)
    (tmp_path / "digits.bin").write_bytes(content)
    hub.add_repo("org/model", tmp_path if on_disk else {"digits.bin": content})
    hub.shape = ReplyShape(connection_bytes_s=5_000_000)
    url = signed_url(hub)
    started = time.monotonic()
    assert httpx2.get(url).content == content
    assert time.monotonic() - started >= 0.95 * 0.4


def test_all_connections_share_the_total_rate(hub: LocalHub) -> None:
    hub.add_repo("org/model", {"digits.bin": bytes(1_000_000)})
    hub.shape = ReplyShape(total_bytes_s=10_000_000)
    url = signed_url(hub)
    readers = [Thread(target=httpx2.get, args=(url,)) for _ in range(4)]
    started = time.monotonic()
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert time.monotonic() - started >= 0.95 * 0.4
    assert sum(entry.sent_bytes for entry in hub.requests("cdn")) == 4_000_000


# ---- connections


def test_sent_bytes_count_what_a_leaving_client_took(hub: LocalHub, tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(1 << 32)
    hub.add_repo("org/model", {"model.safetensors": tmp_path / "big"})
    with httpx2.stream("GET", signed_url(hub, "model.safetensors")) as reply:
        next(reply.iter_raw())
    assert hub.log[-1].sent_bytes < 1 << 27


def test_closing_cuts_what_is_being_sent(tmp_path: Path) -> None:
    hub = LocalHub(shape=ReplyShape(connection_bytes_s=1000))
    hub.add_repo("org/model", {"digits.bin": bytes(1_000_000)})
    with httpx2.stream("GET", signed_url(hub)) as reply:
        hub.close()
        with pytest.raises(httpx2.TransportError):
            reply.read()
    hub.close()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(hub.endpoint)


def test_nothing_is_printed(hub: LocalHub, capfd: pytest.CaptureFixture[str]) -> None:
    for target in ("/absent", "/api/models/org/model", "/org/model/resolve/main/config.json"):
        httpx2.get(hub.endpoint + target)
    httpx2.request("PUT", hub.endpoint)
    assert capfd.readouterr() == ("", "")
