"""The tokens of a matrix's rows, and the bytes in which the tokenizer process sends them.

An untrusted tokenizer may subvert the process that reads it. Its answer is therefore checked here like any
other file from outside: no code in it runs, and every length is checked before it is used.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from survey.vocabulary.entries import MAX_IDS, MAX_TOKEN_CHARS

# How a token is reached, by the number that is sent; 0: unknown.
REACHES = (None, "reachable", "unreachable", "special", "byte", "fragment")
SPECIAL, BYTE, ADDED = 8, 16, 32  # flags beside that number
ANSWER_CAP_BYTES = 64 << 20  # 262,144 tokens take 5 MB
PROBLEM_CAP_BYTES = 4000  # of the reason why there is no table, and of the remarks on one

# Between a server and its parent.
LENGTH = struct.Struct("<q")  # of the request's header, which follows
ENDED = struct.Struct("<q")  # exit code of the server's fork, as os.waitstatus_to_exitcode gives it
OUT_OF_MEMORY = 3  # exit code

_TABLE, _PROBLEM = b"T", b"P"
# Whether the encoder is known, and all tokens; size; tokens; added tokens; rows and bytes of remarks
_HEAD = struct.Struct("<??qqqqq")
_ROW_BYTES = 4 + 4 + 1  # token id, length of its text, kind


class BadAnswer(Exception):
    """An answer contradicts itself; the message says how."""


@dataclass(frozen=True, slots=True)
class TokenTable:
    """The tokens that have a row, by ascending id.

    size      the highest token id + 1, even if it has no row
    tokens    number of tokens, even if they have no row
    added     number of tokens added beside the vocabulary, even if they have no row
    encodes   whether the files define how text is cut into tokens
    complete  whether the files define all tokens
    remarks   what a reader of the names should know
    kinds     one byte per id: an index into REACHES, plus flags
    """

    size: int
    tokens: int
    added: int
    encodes: bool
    complete: bool
    remarks: Sequence[str]
    ids: Sequence[int]
    texts: Sequence[str]
    kinds: bytes


def packed(table: TokenTable) -> bytes:
    """A table as bytes, in this machine's byte order."""
    texts = [text.encode() for text in table.texts]
    remarks = "\n".join(table.remarks).encode("utf-8", "backslashreplace")[:PROBLEM_CAP_BYTES]
    counts = table.size, table.tokens, table.added, len(table.ids), len(remarks)
    head = _HEAD.pack(table.encodes, table.complete, *counts)
    ids, lengths = array("i", table.ids), array("i", map(len, texts))
    return b"".join([_TABLE, head, remarks, ids.tobytes(), lengths.tobytes(), table.kinds, *texts])


def packed_problem(problem: str) -> bytes:
    """The reason why there is no table, as bytes."""
    return _PROBLEM + problem.encode("utf-8", "backslashreplace")[:PROBLEM_CAP_BYTES]


def packed_size(answer: bytes) -> int | None:
    """The size that a packed table states; None of a reason why there is none."""
    return int(_HEAD.unpack_from(answer, len(_TABLE))[2]) if answer.startswith(_TABLE) else None


def unpacked(answer: bytes, rows: int) -> TokenTable | str:
    """The table for a matrix of V = `rows` rows, or the reason why there is none. Raises BadAnswer."""
    kind, body = answer[:1], memoryview(answer)[1:]
    try:
        if kind == _PROBLEM and len(body) <= PROBLEM_CAP_BYTES:
            return bytes(body).decode("utf-8", "replace")  # the cap may cut a character
        if kind == _TABLE and len(body) >= _HEAD.size:
            return _table(body, rows)
    except UnicodeDecodeError as error:
        raise BadAnswer(f"a text is not UTF-8: {error.reason}") from error
    raise BadAnswer(f"{len(answer):,} bytes that begin with {answer[:16]!r}")


def _table(body: memoryview, rows: int) -> TokenTable:
    encodes, complete, size, tokens, added, count, remark_bytes = _HEAD.unpack_from(body)
    if not (
        0 <= count <= min(rows, size) and max(added, count, 0) <= tokens <= size <= MAX_IDS and added >= 0
    ):
        raise BadAnswer(f"{count:,} of {rows:,} rows, {added:,} added of {tokens:,} tokens, {size:,} ids")
    if not 0 <= remark_bytes <= PROBLEM_CAP_BYTES:
        raise BadAnswer(f"{remark_bytes:,} bytes of remarks")
    start = _HEAD.size + remark_bytes
    texts_at = start + count * _ROW_BYTES
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
        raise BadAnswer(f"{sum(lengths):,} bytes of text announced, found {len(body) - texts_at:,}")
    known = bytes(flags | reach for flags in range(0, 64, 8) for reach in range(len(REACHES)))
    if kinds.translate(None, known):
        raise BadAnswer("a kind of token that there is not")
    remarks = bytes(body[_HEAD.size : start]).decode("utf-8", "replace").splitlines()  # the cap may cut one
    texts = _texts(body[texts_at:], lengths)
    return TokenTable(size, tokens, added, encodes, complete, remarks, ids, texts, kinds)


def _texts(joined: memoryview, lengths: Sequence[int]) -> list[str]:
    texts, start = [], 0
    for length in lengths:
        texts.append(str(joined[start : start + length], "utf-8"))
        start += length
    if any(len(text) > MAX_TOKEN_CHARS for text in texts):
        raise BadAnswer(f"a text of more than {MAX_TOKEN_CHARS} characters")
    return texts
