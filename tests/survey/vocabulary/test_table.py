"""The answer of another process about a tokenizer is used only if it is consistent."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from survey.vocabulary.entries import MAX_IDS, MAX_TOKEN_CHARS
from survey.vocabulary.table import BadAnswer, TokenTable, packed, packed_problem, unpacked

TABLE = TokenTable(
    size=9,
    tokens=4,
    added=1,
    encodes=True,
    complete=False,
    remarks=["odd", "é"],
    ids=[0, 2, 5],
    texts=["a", "é", "▁x"],
    kinds=b"\x01\x22\x0b",
)
ROWS = 8
NUMBERS = 1 + 2  # after what it is, whether text can be cut, whether all tokens are known
REMARKS = NUMBERS + 5 * 8
HEAD = REMARKS + len("odd\né".encode())


def table(size: int, count: int, kind: int = 0) -> TokenTable:
    """A table of as many tokens as rows."""
    return replace(
        TABLE,
        size=size,
        tokens=count,
        added=0,
        ids=list(range(count)),
        texts=[""] * count,
        kinds=bytes([kind] * count),
    )


def changed(at: int, by: bytes) -> bytes:
    whole = packed(TABLE)
    return whole[:at] + by + whole[at + len(by) :]


def number(value: int, size: str = "<q") -> bytes:
    return struct.pack(size, value)


@pytest.mark.parametrize(
    "whole",
    [
        TABLE,
        replace(TABLE, encodes=False),
        replace(TABLE, complete=True, remarks=[]),
        table(MAX_IDS, 0),
        table(8, 8, kind=61),
        replace(TABLE, texts=["𝄞" * MAX_TOKEN_CHARS, "\0", "\u202e"]),
    ],
    ids=[
        "a table",
        "without reach",
        "complete, without remarks",
        "no rows",
        "every row and flag",
        "the longest text",
    ],
)
def test_a_table_comes_as_it_went(whole: TokenTable) -> None:
    answer = unpacked(packed(whole), ROWS)
    assert isinstance(answer, TokenTable)
    assert replace(answer, ids=list(answer.ids)) == whole


@pytest.mark.parametrize("problem", ["", "holds no tokens", "\ud800 half a character", "x" * 10_000 + "é"])
def test_a_problem_comes_as_words(problem: str) -> None:
    answer = unpacked(packed_problem(problem), ROWS)
    assert isinstance(answer, str)
    assert answer[:9] == problem.encode("utf-8", "backslashreplace").decode()[:9]
    assert len(answer) <= 4000


FALSE = {
    "nothing": b"",
    "another kind": b"X" + packed(TABLE)[1:],
    "a pickle": b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    "cut in its head": packed(TABLE)[:20],
    "cut in its rows": packed(TABLE)[: HEAD + 10],
    "cut in its texts": packed(TABLE)[:-1],
    "more after its end": packed(TABLE) + b"x",
    "more rows than it has": changed(NUMBERS + 24, number(4)),
    "a row less than it has": changed(NUMBERS + 24, number(2)),
    "rows below none": changed(NUMBERS + 24, number(-1)),
    "rows without end": changed(NUMBERS + 24, number(2**62)),
    "a size below none": changed(NUMBERS, number(-9)),
    "a size without end": changed(NUMBERS, number(2**40)),
    "a size below its ids": changed(NUMBERS, number(5)),
    "more added than tokens": changed(NUMBERS + 16, number(5)),
    "added below none": changed(NUMBERS + 16, number(-1)),
    "more tokens than ids": changed(NUMBERS + 8, number(10)),
    "fewer tokens than rows": changed(NUMBERS + 8, number(2)),
    "more remarks than it has": changed(NUMBERS + 32, number(8)),
    "remarks below none": changed(NUMBERS + 32, number(-1)),
    "remarks without end": changed(NUMBERS + 32, number(5000)),
    "an id twice": changed(HEAD + 4, number(0, "<i")),
    "ids that descend": changed(HEAD, number(3, "<i")),
    "an id below none": changed(HEAD, number(-1, "<i")),
    "an id beyond the rows": changed(HEAD + 8, number(8, "<i")),
    "a text that is longer": changed(HEAD + 12, number(2, "<i")),
    "a text below none": changed(HEAD + 12, number(-1, "<i") + number(4, "<i")),
    "a text that ends within a character": changed(HEAD + 12, number(2, "<i") + number(1, "<i")),
    "a text that is not UTF-8": packed(TABLE)[:-1] + b"\xff",
    "a kind that there is not": changed(HEAD + 24, b"\x06"),
    "a flag that there is not": changed(HEAD + 24, b"\x41"),
    "too long a text": packed(replace(TABLE, texts=["x" * (MAX_TOKEN_CHARS + 1), "", ""])),
    "too long a problem": b"P" + b"x" * 5000,
    "more rows than the matrix": packed(table(9, 9)),
}


@pytest.mark.parametrize("answer", FALSE.values(), ids=FALSE)
def test_an_answer_that_contradicts_itself_is_refused(answer: bytes) -> None:
    with pytest.raises(BadAnswer):
        unpacked(answer, ROWS)
