"""JSON from outside: its size is checked before it is parsed, and invalid JSON is refused by name."""

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
# Of a tensor; real names stay below 200. Searching names for matrices takes quadratic time.
NAME_CHARS = 1_000


def fits(text: bytes) -> bool:
    """Whether a text is small enough to be parsed as a whole; a larger text is streamed (`json_stream`)."""
    short = len(text) <= WIDE_CAP_BYTES or (len(text) <= TEXT_CAP_BYTES and text.isascii())
    return short and _values(text) <= VALUES_CAP


def _values(text: bytes) -> int:
    # Every value but the first follows one of these. Counting those inside strings only overestimates,
    # which is safe.
    return sum(text.count(mark) for mark in (b",", b"[", b"{"))


def refuse_long_name(name: str, reason: str, where: str) -> None:
    """Raise BrokenFile (`reason`) if a tensor's name is too long to be one."""
    if len(name) > NAME_CHARS:
        problem = f"a tensor's name has {len(name):,} characters, expected at most {NAME_CHARS:,}"
        raise BrokenFile(reason, where, f"{problem}: {name[:80]}…")


def parse_json(text: bytes, reason: str, where: str, *, allow_duplicates: bool = False) -> Any:  # Any: JSON
    """The value of a UTF-8 text. allow_duplicates: accept repeated keys of an object; the last one wins.

    Raises BrokenFile (`reason`) if the text is no JSON, or exceeds a cap.
    """
    values = _values(text)
    if values > VALUES_CAP:
        raise BrokenFile(reason, where, f"holds about {values:,} values, expected at most {VALUES_CAP:,}")
    if len(text) > WIDE_CAP_BYTES and not text.isascii():
        raise BrokenFile(reason, where, f"has {len(text):,} bytes and is not ASCII")
    try:
        hook = None if allow_duplicates else lambda pairs: _unique(pairs, reason, where)
        return json.loads(text.decode(), object_pairs_hook=hook)
    except UnicodeDecodeError as error:
        raise BrokenFile(reason, where, f"is not UTF-8: {error.reason} at byte {error.start:,}") from error
    except RecursionError as error:
        raise BrokenFile(reason, where, "is not JSON that we read: nested too deep") from error
    except ValueError as error:  # not JSON, or a number of thousands of digits
        raise BrokenFile(reason, where, f"is not JSON: {error}") from error


def _unique(pairs: list[tuple[str, Any]], reason: str, where: str) -> dict[str, Any]:
    # Repeated keys are valid JSON, and most parsers pass over them: which value counts would be open.
    values = dict(pairs)
    if len(values) != len(pairs):
        repeated = sorted(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise BrokenFile(reason, where, f"{', '.join(repeated[:3])} is named twice")
    return values
