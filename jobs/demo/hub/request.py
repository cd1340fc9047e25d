"""A request to the local Hub as an answer sees it, and as the log keeps it."""

from dataclasses import dataclass, field

from jobs.demo.hub.faults import ServerName


@dataclass(slots=True)
class LoggedRequest:
    """One request; `path` without percent-encoding, `headers` lower-case, without Authorization."""

    server: ServerName
    method: str
    path: str
    query: dict[str, list[str]]
    range: str | None
    authorization: bool
    status: int
    sent_bytes: int = 0
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """The parts of a request that an answer depends on; `segments` are the decoded parts of `raw_path`."""

    method: str
    raw_path: str
    segments: tuple[str, ...]
    query: dict[str, list[str]]
    authorization: str | None
    body: bytes
    range: str | None = None
