"""The Hub's client: whatever answers, the outcome is one of our reasons, in time, and never `internal`."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from support.hub_model import located, planned, read, settings

from jobs.demo.hub.local_hub import Drip, Fault, FaultAction, Garbage, LocalHub, Status, Verbatim, WithHeaders
from survey.errors import SurveyError
from survey.hub.listings import listed_models
from survey.hub.repositories import commit_of, commits_of, refs, resolve
from survey.hub.throttle import LocalThrottle
from survey.opening import open_target
from survey.records.settings import RetryPolicy, Settings

SHA = "a" * 40
LINE = b"HTTP/1.1 200 OK\r\n"
LIMIT_S = 1.5
REFUSED = {
    "network",
    "rate-limited",
    "unauthorised",
    "timeout",
    "bad-header",
    "bad-pickle",
    "index-mismatch",
    "no-config",
    "not-found",
}


def asking(hub: LocalHub) -> Settings:
    retry_policy = RetryPolicy(tries=2, first_wait_s=0.01, longest_wait_s=0.05)
    return Settings(endpoint=hub.endpoint, connections=1, retry_policy=retry_policy, timeout_s=LIMIT_S)


# ---- what each question asks, and of which path


def _resolve(hub: LocalHub) -> object:
    return resolve("org/model", None, asking(hub))


def _commit_of(hub: LocalHub) -> object:
    return commit_of("org/model", None, asking(hub))


def _refs(hub: LocalHub) -> object:
    return refs("org/model", asking(hub))


def _listed(hub: LocalHub) -> object:
    return list(listed_models(None, asking(hub), LocalThrottle()))


def _config(hub: LocalHub) -> object:
    return located(resolve("org/model", None, asking(hub)), 1)


def _matrix(hub: LocalHub) -> object:
    return read(open_target(planned(hub), asking(hub)))


QUESTIONS: dict[str, tuple[Callable[[LocalHub], object], dict[str, Any]]] = {
    "resolve": (_resolve, {"path_contains": "/api/models/org/model"}),
    "commit_of": (_commit_of, {"path_contains": "/api/models/org/model"}),
    "refs": (_refs, {"path_contains": "/refs"}),
    "listing": (_listed, {"path_contains": "/api/models"}),
    "config": (_config, {"path_contains": "config.json"}),
    "head": (_matrix, {"method": "HEAD", "skip": 1}),
    "header of the weights": (_config, {"server": "cdn"}),
    "range": (_matrix, {"server": "cdn", "skip": 1}),
}

# ---- headers that `email` cannot parse, or not in time; nobody needs to know what they say

PARTS = b"multipart/x; boundary"
TYPES: dict[str, bytes] = {
    "a number of thousands of digits": b"Content-Type: %s*%s*=a\r\n" % (PARTS, b"1" * 5000),
    "a charset that is none": b"Content-Type: %s*=undefined''a%%41\r\n" % PARTS,
    "a zero byte": b"Content-Type: %s*=a\0b''a%%41\r\n" % PARTS,
    "semicolons": b'Content-Type: multipart/x; a="%s\r\n' % (b";" * 30_000),
    "semicolons over lines": b'content-type: multipart/x; a="\r\n' + (b"\t" + b";" * 10_000 + b"\r\n") * 3,
    "after a carriage return": b'X: 1\rContent-Type: multipart/x; a="%s\r\n' % (b";" * 30_000),
    "of a letter": b"Content-Type: message/rfc822\r\n",
}


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 100 Go on\r\nX: 1\r\n\r\n"], ids=["", "after a 100"])
@pytest.mark.parametrize("header", TYPES.values(), ids=TYPES)
def test_what_type_an_answer_claims_changes_nothing(hub: LocalHub, header: bytes, before: bytes) -> None:
    body = json.dumps({"id": "org/model", "sha": SHA}).encode()
    length = b"Content-Length: %d\r\n" % len(body)
    hub.faults = [Fault(Verbatim(before + LINE + header + length + b"\r\n" + body), times=None)]
    assert commit_of("org/model", None, asking(hub)) == ("org/model", SHA)


# ---- replies that no question can use

FRAMES: dict[str, FaultAction] = {
    "nothing": Verbatim(b""),
    "no HTTP": Verbatim(b"\x16\x03\x01\x00\x05hello\r\n\r\n"),
    "HTTP/9": Verbatim(b"HTTP/9.9 200 OK\r\n\r\n{}"),
    "a status of letters": Verbatim(b"HTTP/1.1 OK 200\r\n\r\n{}"),
    "a status of zero": Verbatim(b"HTTP/1.1 000 OK\r\n\r\n{}"),
    "a status of five digits": Verbatim(b"HTTP/1.1 20000 OK\r\n\r\n{}"),
    "early hints": Verbatim(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "switching": Verbatim(b"HTTP/1.1 101 Switching\r\nContent-Length: 0\r\n\r\n"),
    "no content": Verbatim(b"HTTP/1.1 204 None\r\n\r\n"),
    "not modified": Verbatim(b"HTTP/1.1 304 Same\r\n\r\n"),
    "multiple choices": Verbatim(b"HTTP/1.1 300 Many\r\nContent-Length: 0\r\n\r\n"),
    "a header without an end": Verbatim(LINE + b"X: " + b"a" * 70_000),
    "thousands of headers": Verbatim(LINE + b"X: 1\r\n" * 5000 + b"\r\n{}"),
    "a status with a sign": Verbatim(b"HTTP/1.1 +100 Go on\r\n\r\n" + LINE + b"Content-Length: 2\r\n\r\n{}"),
    "headers without an end": Verbatim(LINE + b"".join(b"X-%d: %s\r\n" % (at, b"a" * 999) for at in range(99))),
    "going on without an end": Verbatim(b"HTTP/1.1 100 Go on\r\n\r\n" * 5000 + LINE),
    "a header without a colon": Verbatim(LINE + b"nonsense\r\nContent-Length: 2\r\n\r\n{}"),
    "a length below zero": Verbatim(LINE + b"Content-Length: -5\r\n\r\n{"),
    "a length of letters": Verbatim(LINE + b"Content-Length: many\r\n\r\n{"),
    "a huge length": Verbatim(LINE + b"Content-Length: 99999999999999999999\r\n\r\n{}"),
    "a length of thousands of digits": Verbatim(LINE + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}"),
    "a short body": Verbatim(LINE + b"Content-Length: 9\r\n\r\n{}"),
    "chunks of letters": Verbatim(LINE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"),
    "a chunk below zero": Verbatim(LINE + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n" + b"x" * 5_000_000),
    "a huge chunk": Verbatim(LINE + b"Transfer-Encoding: chunked\r\n\r\nffffffffffff\r\n{}"),
    "chunks without an end": Verbatim(LINE + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"),
    "gzip that is none": Status(200, {"Content-Encoding": "gzip"}, b"nonsense"),
    "gzip cut short": Status(200, {"Content-Encoding": "gzip"}, gzip.compress(b"[]")[:-9]),
    "gzip of gigabytes": Status(200, {"Content-Encoding": "gzip"}, gzip.compress(bytes(1 << 26))),
    "gzip twice": Status(200, {"Content-Encoding": "gzip, gzip"}, gzip.compress(gzip.compress(b"{}"))),
    "gzip and more": Status(200, {"Content-Encoding": "gzip"}, gzip.compress(b"[]") + bytes(1 << 20)),
    "the head of gzip": Status(200, {"Content-Encoding": "gzip"}, gzip.compress(b"[]")[:10]),
    "deflate that is none": Status(200, {"Content-Encoding": "deflate"}, b"{}"),
    "brotli": Status(200, {"Content-Encoding": "br"}, b"\x0b\x00\x80{}\x03"),
    "two encodings": Verbatim(LINE + b"Content-Encoding: identity\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n{}"),
    "gzip in chunks": Verbatim(LINE + b"Transfer-Encoding: gzip, chunked\r\nContent-Length: 2\r\n\r\n{}"),
    "two lengths": Verbatim(LINE + b"Content-Length: 2\r\nContent-Length: 4\r\n\r\n{}  "),
    "an unknown encoding": Status(200, {"Content-Encoding": "secret"}, b"{}"),
    "drips of the headers": Drip("headers"),
    "drips of the body": Drip("body"),
    "a redirect to nowhere": Status(302, {}),
    "a redirect to itself": Status(302, {"Location": "?"}),
    "a redirect to port 99999": Status(307, {"Location": "http://127.0.0.1:99999/x"}),
    "a redirect to no URL": Status(302, {"Location": "http://[::1/x"}),
    "a redirect to a file": Status(302, {"Location": "file:///etc/passwd"}),
    "a redirect beyond ASCII": Status(302, {"Location": "/\xfc\xe9 x"}),
    "a redirect to control characters": Status(302, {"Location": "/a\x0bb\x01\x7f\tc"}),
    "a redirect to a long path": Status(302, {"Location": "/" + "a" * 20_000}),
    "a redirect to a host of control characters": Status(302, {"Location": "http://127.0.0.1\x0b:9/x"}),
    "a redirect to a closed port": Status(302, {"Location": "http://127.0.0.1:9/x"}),
    "400": Status(400),
    "418": Status(418, {"X-Error-Message": "\x1b[31mt\xe9a\x9b" * 1000}),
    "429 of thousands of digits": Status(429, {"RateLimit": '"api";r=0;t=' + "9" * 5000}),
    "429 of hundreds of digits": Status(429, {"RateLimit": '"api";r=0;t=' + "9" * 400}),
    "429 for ever": Status(429, {"Retry-After": "9" * 400}),
    "503 for a while": Status(503, {"Retry-After": "\xb2"}),
    "599": Status(599),
    "999": Status(999),
}  # fmt: skip


@pytest.mark.parametrize("action", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize(("ask", "chosen"), QUESTIONS.values(), ids=QUESTIONS)
def test_a_reply_that_cannot_be_used_has_its_reason(
    hub: LocalHub, ask: Callable[[LocalHub], object], chosen: dict[str, Any], action: FaultAction
) -> None:
    if action == Drip("body") and chosen.get("method") == "HEAD":
        pytest.skip("an answer to HEAD has no body")
    hub.faults = [Fault(action, times=None, **chosen)]
    started = time.monotonic()
    with pytest.raises(SurveyError) as caught:
        ask(hub)
    assert caught.value.reason in REFUSED
    assert time.monotonic() - started < LIMIT_S + 2
    assert str(caught.value).isprintable() or caught.value.reason == "bad-header"
    assert sum(fault.hits for fault in hub.faults) >= 1


ENCODED: dict[str, Mapping[str, str]] = {
    **{name: {"Content-Encoding": name} for name in ("gzip", "br", "zstd", "deflate", "identity, gzip")},
    "in chunks": {"Transfer-Encoding": "gzip, chunked"},
}
PLAIN: dict[str, Mapping[str, str]] = {
    "nothing": {},
    "identity": {"Content-Encoding": "Identity"},
    "nothing stated": {"Content-Encoding": ""},
    "in no coding": {"Transfer-Encoding": "identity"},
}


@pytest.mark.parametrize("headers", ENCODED.values(), ids=ENCODED)
def test_a_range_that_is_encoded_is_refused(hub: LocalHub, headers: Mapping[str, str]) -> None:
    """Its bytes, of the right number, would be taken for those of the matrix."""
    target = open_target(planned(hub), asking(hub))
    hub.faults = [Fault(WithHeaders(headers), server="cdn", times=None)]
    with pytest.raises(SurveyError, match="Encoding") as caught:
        read(target)
    assert caught.value.reason == "network"


@pytest.mark.parametrize("headers", PLAIN.values(), ids=PLAIN)
def test_one_that_says_that_it_is_not_is_read(hub: LocalHub, headers: Mapping[str, str]) -> None:
    expected = read(open_target(planned(hub), asking(hub)))
    hub.faults = [Fault(WithHeaders(headers), server="cdn", times=None)]
    assert read(open_target(planned(hub), asking(hub))) == expected


# ---- documents of another shape

DEEP = b"[" * 200_000
DOCUMENTS: dict[str, bytes] = {
    "html": b"<html>Please log in to the Wi-Fi</html>",
    "nothing": b"",
    "null": b"null",
    "a number": b"5",
    "a text": b'"model"',
    "a huge number": b"9" * 5000,
    "no UTF-8": b'{"id": "\xff"}',
    "cut": b'{"id": "org/mo',
    "deep": DEEP,
    "deep objects": b'{"a":' * 100_000,
    "a name twice": b'{"id": "org/model", "id": "org/other"}',
    "millions of values": b"[" + b"0," * 600_000 + b"0]",
}
MODEL = {"id": "org/model", "sha": SHA, "siblings": []}
WRONG: dict[str, list[Any]] = {
    "id": [None, 5, "", "../..", "a/../b", "..", "a/b/c", "org/mo del", "org/\n", ["org/model"], {}],
    "sha": [None, 5, 10**39, "", "main", SHA.upper(), SHA + "\n", SHA[:39], [SHA], True],
    "siblings": [5, "config.json", {"rfilename": "config.json"}, True],
    "lastModified": [5, "yesterday", "0001-01-01T00:00:00+23:00", [], "9999-99-99"],
}


@pytest.mark.parametrize("body", DOCUMENTS.values(), ids=DOCUMENTS)
@pytest.mark.parametrize("ask", [_resolve, _commit_of, _refs, _listed])
def test_what_is_not_the_hubs_document_is_named(
    hub: LocalHub, ask: Callable[[LocalHub], object], body: bytes
) -> None:
    hub.faults = [Fault(Garbage(body), times=None)]
    with pytest.raises(SurveyError, match="not an answer of the Hub") as caught:
        ask(hub)
    assert caught.value.reason == "network"
    assert len(hub.log) == 1  # asking again would bring the same


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in WRONG.items() for value in values]
)
@pytest.mark.parametrize("missing", [False, True], ids=["wrong", "left-out"])
def test_a_field_of_another_kind_is_named(hub: LocalHub, field: str, value: Any, missing: bool) -> None:
    model = {**MODEL, field: value}
    if missing:
        del model[field]
        if field not in ("id", "sha"):
            pytest.skip("the Hub may leave it out")
    hub.faults = [Fault(Garbage(json.dumps(model).encode()), times=None)]
    with pytest.raises(SurveyError) as caught:
        _resolve(hub)
    assert caught.value.reason == "network"
    assert (
        field in caught.value.problem
        or "calls it" in caught.value.problem
        or "commit" in caught.value.problem
    )


@pytest.mark.parametrize(
    "siblings",
    [
        None,
        [],
        [None, 5, "x", {}],
        [{"rfilename": None}, {"rfilename": "config.json", "size": float("nan")}],
        [{"rfilename": "model.safetensors", "size": 10**400, "lfs": 5}],
        [{"rfilename": "model.safetensors", "size": -1, "lfs": {}}],
        [{"rfilename": "a/" * 1_000_000 + "model.safetensors", "size": 1}],  # minutes, looked at
    ],
)
def test_files_that_are_none_leave_a_model_without_weights(hub: LocalHub, siblings: Any) -> None:
    hub.faults = [Fault(Garbage(json.dumps({**MODEL, "siblings": siblings}).encode()), path_contains="/api/")]
    with pytest.raises(SurveyError) as caught:
        located(resolve("org/model", None, asking(hub)), 1)
    assert caught.value.reason in {"no-config", "no-safetensors", "network", "not-found"}


@pytest.mark.parametrize(
    "listing",
    [
        {},
        {"branches": None, "tags": []},
        {"branches": [], "tags": {}},
        {"branches": [None], "tags": []},
        {"branches": [{"name": 5, "targetCommit": SHA}], "tags": []},
        {"branches": [{"name": "main", "targetCommit": 5}], "tags": []},
        {"branches": [{"name": "main", "targetCommit": "../x"}], "tags": []},
        {"branches": [{"name": "main"}], "tags": []},
    ],
)
def test_refs_that_are_none_are_named(hub: LocalHub, listing: Any) -> None:
    hub.faults = [Fault(Garbage(json.dumps(listing).encode()), times=None)]
    with pytest.raises(SurveyError) as caught:
        _refs(hub)
    assert (caught.value.reason, len(hub.log)) == ("network", 1)


ENTRIES: list[Any] = [
    {"id": "org/a", "downloads": 10**400, "safetensors": {"parameters": {"F32": 10**400}, "total": 1}},
    {"id": "org/a", "downloads": float("nan"), "safetensors": {"parameters": {"F32": float("inf")}}},
    {"id": "org/a", "downloads": None, "safetensors": 5, "config": [], "cardData": "x", "gated": {}},
    {"id": "org/a", "downloads": True, "safetensors": {"parameters": []}, "cardData": {"base_model": [None]}},
]


@pytest.mark.parametrize("entry", ENTRIES)
def test_figures_of_a_listing_that_are_none_are_not_known(hub: LocalHub, entry: Any) -> None:
    hub.faults = [Fault(Garbage(json.dumps([entry]).encode()))]
    (model,) = listed_models(None, settings(hub), LocalThrottle())
    assert (model.repo, model.downloads, model.parameters, model.base_model) == ("org/a", 0, {}, None)


@pytest.mark.parametrize("entry", [None, 5, [], {}, {"id": None}, {"id": 5}])
def test_an_entry_of_a_listing_that_is_no_model_is_named(hub: LocalHub, entry: Any) -> None:
    hub.faults = [Fault(Garbage(json.dumps([entry]).encode()))]
    with pytest.raises(SurveyError, match="not an answer of the Hub"):
        list(listed_models(None, settings(hub), LocalThrottle()))


# ---- the heads of files


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"X-Repo-Commit": None}, "came without X-Repo-Commit"),
        ({"X-Repo-Commit": SHA}, f"came from commit {SHA}"),
        ({"X-Repo-Commit": "\xfc\xe9"}, "came from commit"),
        ({"X-Linked-Size": "-1"}, "X-Linked-Size is '-1', expected a number"),
        ({"X-Linked-Size": "9" * 5000}, "X-Linked-Size is"),
        ({"X-Linked-Size": "1e3"}, "X-Linked-Size is '1e3'"),
        ({"X-Linked-Size": "5"}, "has 5 bytes, expected"),
        ({"Location": "http://127.0.0.1:99999/"}, "is not a URL that can be requested"),
        ({"Location": "ftp://127.0.0.1/"}, "is not a URL that can be requested"),
    ],
)
def test_a_head_that_cannot_be_used_is_named(hub: LocalHub, headers: Any, said: str) -> None:
    target = planned(hub)
    hub.faults = [Fault(WithHeaders(headers), method="HEAD", times=None)]
    with pytest.raises(SurveyError) as caught:
        read(open_target(target, asking(hub)))
    assert said in str(caught.value)


@pytest.mark.parametrize("wrong", [None, 5, [], ["org/a"], {}, {"a": []}, "\ud800", "org/b"])
def test_an_entry_of_the_listing_of_commits_that_is_no_model_is_none_of_ours(
    hub: LocalHub, wrong: Any
) -> None:
    entries = [{"id": wrong, "sha": SHA}, {"id": "org/a", "sha": SHA}, {"id": "org/c", "sha": [SHA]}]
    hub.faults = [Fault(Garbage(json.dumps(entries).encode()))]
    ours = frozenset({"org/a", "org/c"})
    assert commits_of("org", ours, 1, asking(hub), LocalThrottle()) == {"org/a": SHA}
