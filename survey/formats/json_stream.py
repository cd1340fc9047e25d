"""Large JSON from outside, one member at a time: indexes of 500,000 tensors in bounded memory."""

from __future__ import annotations

import io
from array import array
from collections.abc import Iterator
from typing import Any

import ijson
import numpy as np
import xxhash

from survey.errors import BrokenFile

MEMBERS_CAP = 1_000_000
SKIPPED_CAP = 200_000
NAME_A_FILE = "write the model's name, a colon and the file that holds the matrix"
ENTRY_VALUES_CAP = 4096  # of each member: a tensor has a dozen values, `__metadata__` some hundred
DEPTH_CAP = 32
READ_BYTES = 64 << 10
QUIET_READS = 16  # so many reads without an event are a single text of a megabyte, which would lie in memory

Event = tuple[str, Any]  # as ijson names them; Any: a text, a number, true, false or null


class _Duplicate(Exception):
    """A name comes twice in an object. digest: of the name, if only its digest is known."""

    def __init__(self, name: str = "", digest: int = 0) -> None:
        super().__init__(name, digest)
        self.name, self.digest = name, digest


class _Source:
    """The text as a stream for ijson. quiet: reads since the last event."""

    def __init__(self, text: bytes, start: int) -> None:
        self._text = io.BytesIO(text)  # shares the bytes
        self._text.seek(start)
        self.quiet = 0

    def read(self, count: int) -> bytes:
        self.quiet += 1
        if self.quiet > QUIET_READS:
            raise ValueError(f"a single text of more than {QUIET_READS * READ_BYTES >> 20} MB")
        return self._text.read(count)


def members(
    text: bytes, start: int, within: str | None, reason: str, where: str
) -> Iterator[tuple[str, Any]]:
    """Yield names and values of the object that begins at byte `start`, or of its member `within` alone.

    Duplicate names are detected at the end: use no member before the last was yielded.
    Raises BrokenFile (`reason`).
    """
    events = _events(text, start, reason, where)
    try:
        if next(events)[0] != "start_map":
            raise BrokenFile(reason, where, "holds no object where one is expected")
        if within is None:
            yield from _members(events, reason, where)
        else:
            yield from _member_of(events, within, reason, where)
        for _ in events:  # text after the object is an error, too
            pass
    except _Duplicate as duplicate:
        again = members(text, start, within, reason, where) if duplicate.digest else iter(())
        name = next((name for name, _ in again if _digest(name) == duplicate.digest), duplicate.name)
        raise BrokenFile(reason, where, f"{name[:200]} is named twice") from None


def _member_of(events: Iterator[Event], within: str, reason: str, where: str) -> Iterator[tuple[str, Any]]:
    keys: set[str] = set()
    skipped = 0
    for kind, key in events:
        if kind == "end_map":
            break
        if key in keys:
            raise _Duplicate(key)
        keys.add(key)
        opened = next(events)
        if key == within and opened[0] == "start_map":
            yield from _members(events, reason, where)
            continue
        for _ in _rest(opened, events):
            skipped += 1
            if skipped > SKIPPED_CAP:
                raise BrokenFile(reason, where, f"holds more than {SKIPPED_CAP:,} values beside {within}")


def _members(events: Iterator[Event], reason: str, where: str) -> Iterator[tuple[str, Any]]:
    """Yield the members of an object whose start was read, up to its end."""
    digests = array("Q")
    for kind, name in events:
        if kind == "end_map":
            break
        if len(digests) == MEMBERS_CAP:
            raise BrokenFile(reason, where, f"names more than {MEMBERS_CAP:,} tensors", NAME_A_FILE)
        digests.append(_digest(name))
        try:
            yield name, _value(next(events), events, [ENTRY_VALUES_CAP], DEPTH_CAP)
        except OverflowError:
            problem = f"{name[:200]} holds more than {ENTRY_VALUES_CAP:,} values"
            raise BrokenFile(reason, where, problem) from None
    ordered = np.sort(np.frombuffer(digests, np.uint64)) if digests else np.empty(0, np.uint64)
    if (equal := ordered[1:][ordered[1:] == ordered[:-1]]).size:
        raise _Duplicate(digest=int(equal[0]))


def _digest(name: str) -> int:
    return xxhash.xxh3_64_intdigest(name.encode("utf-8", "surrogatepass"))


def _value(opened: Event, events: Iterator[Event], left: list[int], depth: int) -> Any:
    """The value that an event begins. left: [number of values that it may hold]. Raises OverflowError."""
    kind, value = opened
    left[0] -= 1
    if left[0] < 0 or depth == 0:
        raise OverflowError
    if kind == "start_map":
        entries: dict[str, Any] = {}
        for kind, key in events:
            if kind == "end_map":
                return entries
            if key in entries:
                raise _Duplicate(key)
            entries[key] = _value(next(events), events, left, depth - 1)
    if kind == "start_array":
        items: list[Any] = []
        for item in events:
            if item[0] == "end_array":
                return items
            items.append(_value(item, events, left, depth - 1))
    return value


def _rest(opened: Event, events: Iterator[Event]) -> Iterator[Event]:
    """Yield the events of the value that `opened` begins."""
    yield opened
    depth = int(opened[0] in ("start_map", "start_array"))
    while depth:
        event = next(events)
        depth += (event[0] in ("start_map", "start_array")) - (event[0] in ("end_map", "end_array"))
        yield event


def _events(text: bytes, start: int, reason: str, where: str) -> Iterator[Event]:
    source = _Source(text, start)
    try:
        for event in ijson.basic_parse(source, use_float=True, buf_size=READ_BYTES):
            source.quiet = 0
            yield event
    except ijson.JSONError as error:
        message = error.args[0] if error.args else ""
        text_of = message.decode("ascii", "replace") if isinstance(message, bytes) else str(message)
        line = text_of.split("\n")[0]
        raise BrokenFile(reason, where, f"is not JSON: {line[:200]}") from error
    except ValueError as error:  # a number of thousands of digits
        raise BrokenFile(reason, where, f"is not JSON: {error}") from error
