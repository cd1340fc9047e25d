"""Replies of the local Hub: spans of memory or of files, and their cut to a byte range."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

Source = bytes | Path

# Eighteen digits hold every real offset, and keep int() cheap on a hostile header.
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes [start, stop) of a source; a file is opened only while it is being sent."""

    source: Source
    start: int
    stop: int

    def read(self) -> bytes:
        if isinstance(self.source, bytes):
            return self.source[self.start : self.stop]
        with self.source.open("rb") as file:
            file.seek(self.start)
            return file.read(self.stop - self.start)


Body = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class HubReply:
    """One HTTP answer, before it is framed; `is_file` allows a Range header to cut it."""

    status: int
    headers: Mapping[str, str]
    body: Body = ()
    is_file: bool = False

    @property
    def body_bytes(self) -> int:
        return sum(span.stop - span.start for span in self.body)

    def with_headers(self, headers: Mapping[str, str]) -> "HubReply":
        return replace(self, headers={**self.headers, **headers})


def memory(content: bytes) -> Body:
    return (Span(content, 0, len(content)),)


def json_reply(document: object) -> HubReply:
    content = json.dumps(document).encode()
    return HubReply(200, {"Content-Type": "application/json; charset=utf-8"}, memory(content))


def source_bytes(source: Source) -> int:
    return source.stat().st_size if isinstance(source, Path) else len(source)


def split_body(body: Body, at: int) -> tuple[Body, Body]:
    """The first `at` bytes of a body, and the rest."""
    head, tail = [], []
    for span in body:
        cut = span.start + min(max(at, 0), span.stop - span.start)
        head.append(Span(span.source, span.start, cut))
        tail.append(Span(span.source, cut, span.stop))
        at -= span.stop - span.start
    return tuple(head), tuple(tail)


def cut_to_range(reply: HubReply, header: str | None) -> HubReply:
    """The part of a file that a Range header asks for: 206, or 416 if the file has no such bytes.

    Malformed ranges and several at once are ignored, as RFC 9110 allows: the whole file, 200.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or not reply.is_file or match[0] == "bytes=-":
        return reply
    (span,) = reply.body
    size, (first, last) = span.stop, match.groups()
    if first and last and int(last) < int(first):
        return reply
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last) + 1, size) if first and last else size  # HTTP names the last byte itself
    if start >= size:
        return HubReply(416, {"Content-Range": f"bytes */{size}"})
    ranged = replace(reply, status=206, body=(Span(span.source, start, stop),))
    return ranged.with_headers({"Content-Range": f"bytes {start}-{stop - 1}/{size}"})
