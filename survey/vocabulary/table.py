"""What a tokenizer says of the rows of a matrix, and the bytes in which one process tells another.

The process that reads a stranger's tokenizer may be subverted by it, so what it answers is checked here
like any other file from outside: nothing of it is run, and every length is known before it is used.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from survey.vocabulary.entries import MAX_TOKEN_CHARS, MOST_IDS

# Whether some text is cut into the token, by the number that is sent; 0: that is not known.
REACHES = (None, "reachable", "unreachable", "special", "byte", "fragment")
SPECIAL, BYTE, ADDED = 8, 16, 32  # flags beside that number
ANSWER_CAP_BYTES = 64 << 20  # 262,144 names take 5 MB
PROBLEM_CAP_BYTES = 4000

# Between a server and its parent.
LENGTH = struct.Struct("<q")  # of a request's header, before it
ENDED = struct.Struct("<q")  # how the server's fork ended: as os.waitstatus_to_exitcode says it
OUT_OF_MEMORY = 3  # its exit code

_TABLE, _PROBLEM = b"T", b"P"
_HEAD = struct.Struct("<?qqq")  # whether it says how text is cut; size; added tokens; rows that follow
_ROW_BYTES = 4 + 4 + 1  # token id, length of its text, kind


class BadAnswer(Exception):
    """An answer contradicts itself; the message says what was found."""


@dataclass(frozen=True, slots=True)
class TokenTable:
    """The tokens that have a row, by ascending id.

    size: the highest token id + 1, with a row or without. added: tokens added beside the vocabulary,
    likewise. cuts: whether the files say how text is cut. kinds: of each id, a number in REACHES and flags.
    """

    size: int
    added: int
    cuts: bool
    ids: Sequence[int]
    texts: Sequence[str]
    kinds: bytes


def packed(table: TokenTable) -> bytes:
    """A table as bytes of this machine."""
    texts = [text.encode() for text in table.texts]
    head = _HEAD.pack(table.cuts, table.size, table.added, len(table.ids))
    ids, lengths = array("i", table.ids), array("i", map(len, texts))
    return b"".join([_TABLE, head, ids.tobytes(), lengths.tobytes(), table.kinds, *texts])


def packed_problem(problem: str) -> bytes:
    """Why there is no table."""
    return _PROBLEM + problem.encode("utf-8", "backslashreplace")[:PROBLEM_CAP_BYTES]


def unpacked(answer: bytes, rows: int) -> TokenTable | str:
    """The table for a matrix of V = `rows` rows, or why there is none. Raises BadAnswer."""
    kind, body = answer[:1], memoryview(answer)[1:]
    try:
        if kind == _PROBLEM and len(body) <= PROBLEM_CAP_BYTES:
            return bytes(body).decode("utf-8", "replace")  # it may be cut within a character
        if kind == _TABLE and len(body) >= _HEAD.size:
            return _table(body, rows)
    except UnicodeDecodeError as error:
        raise BadAnswer(f"a text is not UTF-8: {error.reason}") from error
    raise BadAnswer(f"{len(answer):,} bytes that begin with {answer[:16]!r}")


def _table(body: memoryview, rows: int) -> TokenTable:
    cuts, size, added, count = _HEAD.unpack_from(body)
    if not (0 <= count <= min(rows, size) and 0 <= added <= size <= MOST_IDS):
        raise BadAnswer(f"{count:,} of {rows:,} rows, {added:,} added of {size:,} tokens")
    start, texts_at = _HEAD.size, _HEAD.size + count * _ROW_BYTES
    if len(body) < texts_at:
        raise BadAnswer(f"{len(body):,} bytes for {count:,} rows")
    ids = array("i", bytes(body[start : start + 4 * count]))
    lengths = array("i", bytes(body[start + 4 * count : start + 8 * count]))
    kinds = bytes(body[start + 8 * count : texts_at])
    if any(low >= high for low, high in pairwise(ids)) or (
        count and not 0 <= ids[0] <= ids[-1] < min(rows, size)
    ):
        raise BadAnswer("token ids that do not ascend, or have no row")
    if (
        any(not 0 <= length <= 4 * MAX_TOKEN_CHARS for length in lengths)
        or sum(lengths) != len(body) - texts_at
    ):
        raise BadAnswer(f"{sum(lengths):,} bytes of text announced, {len(body) - texts_at:,} came")
    known = bytes(flags | reach for flags in range(0, 64, 8) for reach in range(len(REACHES)))
    if kinds.translate(None, known):
        raise BadAnswer("a kind of token that there is not")
    return TokenTable(size, added, cuts, ids, _texts(body[texts_at:], lengths), kinds)


def _texts(joined: memoryview, lengths: Sequence[int]) -> list[str]:
    texts, start = [], 0
    for length in lengths:
        texts.append(str(joined[start : start + length], "utf-8"))
        start += length
    if any(len(text) > MAX_TOKEN_CHARS for text in texts):
        raise BadAnswer(f"a text of more than {MAX_TOKEN_CHARS} characters")
    return texts
