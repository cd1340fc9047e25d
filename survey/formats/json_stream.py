"""Large JSON from outside, member by member: indexes and headers of 500,000 tensors, in bounded memory."""

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
ENTRY_VALUES_CAP = 4096  # of one member: a tensor has a dozen values, the notes beside them some hundred
DEPTH_CAP = 32
READ_BYTES = 64 << 10
QUIET_READS = 16  # so many without an event are one text of a megabyte, whose length would be its memory

Event = tuple[str, Any]  # as ijson names them; Any: a text, a number, true, false or null


class _Twice(Exception):
    """A name comes twice in an object; digest: of one among the members."""

    def __init__(self, name: str = "", digest: int = 0) -> None:
        super().__init__(name, digest)
        self.name, self.digest = name, digest


class _Source:
    """The text as ijson reads it."""

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
    """Names and values of the object that begins at byte `start`, or of its member `within`, alone.

    A name that comes twice is known at the end only: nothing counts before the last member came. Raises
    BrokenFile (`reason`).
    """
    events = _events(text, start, reason, where)
    try:
        if next(events)[0] != "start_map":
            raise BrokenFile(reason, where, "holds no object where one is expected")
        if within is None:
            yield from _members(events, reason, where)
        else:
            yield from _member_of(events, within, reason, where)
        for _ in events:  # what follows the object is an error, too
            pass
    except _Twice as twice:
        again = members(text, start, within, reason, where) if twice.digest else iter(())
        name = next((name for name, _ in again if _digest(name) == twice.digest), twice.name)
        raise BrokenFile(reason, where, f"{name[:200]} is named twice") from None


def _member_of(events: Iterator[Event], within: str, reason: str, where: str) -> Iterator[tuple[str, Any]]:
    seen: set[str] = set()
    skipped = 0
    for kind, key in events:
        if kind == "end_map":
            break
        if key in seen:
            raise _Twice(key)
        seen.add(key)
        opened = next(events)
        if key == within and opened[0] == "start_map":
            yield from _members(events, reason, where)
            continue
        for _ in _rest(opened, events):
            skipped += 1
            if skipped > SKIPPED_CAP:
                raise BrokenFile(reason, where, f"holds more than {SKIPPED_CAP:,} values beside {within}")


def _members(events: Iterator[Event], reason: str, where: str) -> Iterator[tuple[str, Any]]:
    """Members of an object that was opened, up to its end."""
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
        raise _Twice(digest=int(equal[0]))


def _digest(name: str) -> int:
    return xxhash.xxh3_64_intdigest(name.encode("utf-8", "surrogatepass"))


def _value(opened: Event, events: Iterator[Event], left: list[int], depth: int) -> Any:
    """The value that an event begins. left: how many values it may hold. Raises OverflowError."""
    kind, value = opened
    left[0] -= 1
    if left[0] < 0 or depth == 0:
        raise OverflowError
    if kind == "start_map":
        found: dict[str, Any] = {}
        for kind, key in events:
            if kind == "end_map":
                return found
            if key in found:
                raise _Twice(key)
            found[key] = _value(next(events), events, left, depth - 1)
    if kind == "start_array":
        items: list[Any] = []
        for item in events:
            if item[0] == "end_array":
                return items
            items.append(_value(item, events, left, depth - 1))
    return value


def _rest(opened: Event, events: Iterator[Event]) -> Iterator[Event]:
    """The events of a value that one begins."""
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
        said = error.args[0] if error.args else ""
        line = (said.decode("ascii", "replace") if isinstance(said, bytes) else str(said)).split("\n")[0]
        raise BrokenFile(reason, where, f"is not JSON: {line[:200]}") from error
    except ValueError as error:  # a number of thousands of digits
        raise BrokenFile(reason, where, f"is not JSON: {error}") from error
