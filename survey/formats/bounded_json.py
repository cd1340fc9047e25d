"""JSON from outside: bounded before it is parsed, and refused in words where it is none."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from survey.errors import BrokenFile

# Parsing takes up to 220 bytes for each value and 8 for each byte of text: together they stay below
# 256 MB. Indexes and headers that are larger are read member by member.
VALUES_CAP = 500_000
WIDE_CAP_BYTES = 16 << 20
TEXT_CAP_BYTES = 32 << 20
# Of a tensor; real ones stay below 200. What looks for matrices by their names takes quadratic time.
NAME_CHARS = 1_000


def fits(text: bytes) -> bool:
    """Whether a text is small enough to be parsed as a whole; larger ones are streamed (`json_stream`)."""
    short = len(text) <= WIDE_CAP_BYTES or (len(text) <= TEXT_CAP_BYTES and text.isascii())
    return short and _values(text) <= VALUES_CAP


def _values(text: bytes) -> int:
    # Each value but the first follows one of these; inside texts they count, too, which is no harm.
    return sum(text.count(mark) for mark in (b",", b"[", b"{"))


def refuse_long_name(name: str, reason: str, where: str) -> None:
    """Raises BrokenFile (`reason`) for a tensor's name that is none."""
    if len(name) > NAME_CHARS:
        problem = f"a tensor's name has {len(name):,} characters, expected at most {NAME_CHARS:,}"
        raise BrokenFile(reason, where, f"{problem}: {name[:80]}…")


def parse_json(text: bytes, reason: str, where: str, *, twice: bool = False) -> Any:  # Any: JSON
    """What a UTF-8 text says. twice: whether a name may come twice in an object, the last one counts.

    Raises BrokenFile (`reason`).
    """
    values = _values(text)
    if values > VALUES_CAP:
        raise BrokenFile(reason, where, f"holds about {values:,} values, expected at most {VALUES_CAP:,}")
    if len(text) > WIDE_CAP_BYTES and not text.isascii():
        raise BrokenFile(reason, where, f"has {len(text):,} bytes and is not ASCII")
    try:
        return json.loads(
            text.decode(), object_pairs_hook=None if twice else lambda pairs: _unique(pairs, reason, where)
        )
    except UnicodeDecodeError as error:
        raise BrokenFile(reason, where, f"is not UTF-8: {error.reason} at byte {error.start:,}") from error
    except RecursionError as error:
        raise BrokenFile(reason, where, "is not JSON that we read: nested too deep") from error
    except ValueError as error:  # not JSON, or a number of thousands of digits
        raise BrokenFile(reason, where, f"is not JSON: {error}") from error


def _unique(pairs: list[tuple[str, Any]], reason: str, where: str) -> dict[str, Any]:
    # Twice the same name is valid JSON and invisible to most parsers: which one would they mean?
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = sorted(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise BrokenFile(reason, where, f"{', '.join(twice[:3])} is named twice")
    return found
