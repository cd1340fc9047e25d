"""Faults that tests and the demo plant in the local Hub: one list for both servers.

    hub.faults = [Fault(Status(503), times=2), Fault(ResetAfter(1000), server="cdn", skip=1)]

A request takes the first fault that matches it and has hits left.

To add a fault: a record here, its line in FaultAction, and its effect in `spoil`, if it changes the reply,
or in `http_connection`, if it replaces the reply or changes timing or the connection; its name also in
`local_hub.py`, from which all is imported.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Literal

from jobs.demo.hub.replies import HubReply, Span, memory, source_bytes, split_body

ServerName = Literal["hub", "cdn"]


@dataclass(frozen=True, slots=True)
class Status:
    """Answer with this status instead of the real answer."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class ResetAfter:
    """Send this many bytes of the body, then reset the connection (RST)."""

    bytes: int


@dataclass(frozen=True, slots=True)
class ShortBody:
    """Leave out the last bytes; Content-Length agrees with what is sent, Content-Range does not."""

    missing: int


@dataclass(frozen=True, slots=True)
class IgnoreRange:
    """Answer a range request with 200 and the whole file."""


@dataclass(frozen=True, slots=True)
class WrongContentRange:
    """Serve a range moved by `offset` bytes, cut at the file's ends; Content-Range agrees with it."""

    offset: int


@dataclass(frozen=True, slots=True)
class Stall:
    """Fall silent after this many bytes of the body; 0 is before the status line."""

    seconds: float
    after_bytes: int = 0


@dataclass(frozen=True, slots=True)
class WrongCommit:
    """Name another commit in X-Repo-Commit."""

    sha: str


@dataclass(frozen=True, slots=True)
class Garbage:
    """Send other bytes, correctly framed: as they are with 200, repeated to the requested length with 206."""

    body: bytes


@dataclass(frozen=True, slots=True)
class CorruptBytes:
    """Invert all bits of `count` bytes of the body, from byte `offset` of the body on."""

    offset: int = 0
    count: int = 1


@dataclass(frozen=True, slots=True)
class Drip:
    """Send headers or a body without an end, one byte at a time, so that no single wait is long."""

    part: Literal["headers", "body"] = "body"
    interval_s: float = 0.05


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Send exactly these bytes, be they HTTP or not, and hang up."""

    content: bytes


@dataclass(frozen=True, slots=True)
class WithHeaders:
    """Send the real answer with other headers; None leaves one out."""

    headers: Mapping[str, str | None]


FaultAction = (
    Status
    | ResetAfter
    | ShortBody
    | IgnoreRange
    | WrongContentRange
    | Stall
    | WrongCommit
    | Garbage
    | CorruptBytes
    | Drip
    | Verbatim
    | WithHeaders
)


@dataclass
class Fault:
    """An action for matching requests: `skip` of them pass, the next `times` (None: all) are hit."""

    action: FaultAction
    server: ServerName | None = None
    path_contains: str = ""
    method: str | None = None
    times: int | None = 1
    skip: int = 0
    hits: int = 0
    _passed: int = field(default=0, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def takes(self, server: ServerName, method: str, path: str) -> bool:
        """Whether this request is hit; counts it. `path` is without percent-encoding."""
        if self.server not in (None, server) or self.method not in (None, method):
            return False
        if self.path_contains not in path:
            return False
        with self._lock:
            if self._passed < self.skip:
                self._passed += 1
                return False
            if self.times is not None and self.hits >= self.times:
                return False
            self.hits += 1
            return True


def next_action(faults: Iterable[Fault], server: ServerName, method: str, path: str) -> FaultAction | None:
    """The action of the first fault in the list that takes this request."""
    return next((fault.action for fault in faults if fault.takes(server, method, path)), None)


def spoil(reply: HubReply, action: FaultAction | None) -> HubReply:
    """The reply after the fault; faults of timing and of connections do not change it."""
    match action:
        case ShortBody(missing):
            return replace(reply, body=split_body(reply.body, reply.body_bytes - missing)[0])
        case WrongContentRange(offset) if reply.status == 206:
            return _moved(reply, offset)
        case WithHeaders(headers):
            stated = {name: value for name, value in headers.items() if value is not None}
            kept = {name: value for name, value in reply.headers.items() if name not in headers}
            return replace(reply, headers={**kept, **stated})
        case WrongCommit(sha):
            return reply.with_headers({"X-Repo-Commit": sha})
        case Garbage(body) if reply.status == 206:
            repeats = -(-reply.body_bytes // max(len(body), 1))
            return replace(reply, body=split_body(memory(body * repeats), reply.body_bytes)[0])
        case Garbage(body):
            return replace(reply, status=200, body=memory(body))
        case CorruptBytes(offset, count):
            head, rest = split_body(reply.body, offset)
            chosen, tail = split_body(rest, count)
            inverted = bytes(byte ^ 0xFF for span in chosen for byte in span.read())
            return replace(reply, body=(*head, *memory(inverted), *tail))
        case _:
            return reply


def _moved(reply: HubReply, offset: int) -> HubReply:
    (span,) = reply.body
    size = source_bytes(span.source)
    start = min(max(span.start + offset, 0), size - 1)
    stop = min(max(span.stop + offset, start + 1), size)
    moved = replace(reply, body=(Span(span.source, start, stop),))
    return moved.with_headers({"Content-Range": f"bytes {start}-{stop - 1}/{size}"})
