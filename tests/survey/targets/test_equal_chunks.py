"""What common chunks prove of two ranges: no byte that differs, and most of those that do not."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from survey.errors import NotTheHubs
from survey.hub.xet import runs_of
from survey.records.tensors import ByteRange, ChunkRun
from survey.targets.equal_chunks import unproved

X, Y = "a" * 64, "b" * 64


def gaps(one: list[ChunkRun], other: list[ChunkRun], size: int) -> list[tuple[int, int]]:
    return [(gap.start, gap.stop) for gap in unproved(one, other, size)]


CASES: dict[str, tuple[list[ChunkRun], list[ChunkRun], list[tuple[int, int]]]] = {
    "the same run": ([ChunkRun(X, 0, 9, 0, 100)], [ChunkRun(X, 0, 9, 0, 100)], []),
    "no storage": ([], [], [(0, 100)]),
    "another container": ([ChunkRun(X, 0, 9, 0, 100)], [ChunkRun(Y, 0, 9, 0, 100)], [(0, 100)]),
    "other chunks of it": ([ChunkRun(X, 0, 9, 0, 100)], [ChunkRun(X, 9, 18, 0, 100)], [(0, 100)]),
    "moved by a byte": ([ChunkRun(X, 0, 9, 0, 100)], [ChunkRun(X, 0, 9, -1, 101)], [(0, 100)]),
    "a first chunk of its own": (
        [ChunkRun(X, 0, 9, -5, 110)],
        [ChunkRun(Y, 0, 1, -9, 19), ChunkRun(X, 1, 9, 10, 95)],
        [(0, 10)],
    ),
    "a last chunk of its own": (
        [ChunkRun(X, 0, 9, 0, 110)],
        [ChunkRun(X, 0, 8, 0, 90), ChunkRun(Y, 0, 1, 90, 20)],
        [(90, 100)],
    ),
    "both, and nothing says where the run lies in the other": (
        [ChunkRun(X, 0, 9, -5, 110)],
        [ChunkRun(Y, 0, 1, -9, 19), ChunkRun(X, 1, 8, 10, 80), ChunkRun(Y, 7, 8, 90, 20)],
        [(0, 100)],
    ),
    "both, and the chunks' sizes do": (
        [ChunkRun(X, 0, 4, -5, 110, (0, 15, 55, 95))],
        [ChunkRun(Y, 0, 1, -9, 19), ChunkRun(X, 1, 3, 10, 80, (0, 40)), ChunkRun(Y, 7, 8, 90, 20)],
        [(0, 10), (90, 100)],
    ),
    "both, and by the sizes they lie elsewhere": (
        [ChunkRun(X, 0, 4, -5, 110, (0, 16, 56, 96))],
        [ChunkRun(Y, 0, 1, -9, 19), ChunkRun(X, 1, 3, 10, 80, (0, 40)), ChunkRun(Y, 7, 8, 90, 20)],
        [(0, 100)],
    ),
    "a run in two terms": (
        [ChunkRun(X, 0, 9, 0, 100)],
        [ChunkRun(X, 0, 4, 0, 30), ChunkRun(X, 4, 9, 30, 70)],
        [],
    ),
    "sizes that contradict each other": (
        [ChunkRun(X, 0, 4, 0, 100)],
        [ChunkRun(X, 0, 4, 0, 90), ChunkRun(Y, 0, 1, 90, 10)],
        [(0, 100)],
    ),
}


@pytest.mark.parametrize(("one", "other", "expected"), CASES.values(), ids=list(CASES))
def test_common_chunks_at_the_same_place_are_equal_bytes(
    one: list[ChunkRun], other: list[ChunkRun], expected: list[tuple[int, int]]
) -> None:
    assert gaps(one, other, 100) == expected
    assert gaps(other, one, 100) == expected


def test_of_random_files_no_byte_that_differs_is_proved() -> None:
    """Files are drawn chunk by chunk from two containers; bytes are the names of their chunks."""
    draw = random.Random(0)
    sizes = {(xorb, number): draw.randint(1, 4) for xorb in (X, Y) for number in range(6)}
    proved = 0
    for _ in range(5000):
        kept = [draw.choice([*sizes]) for _ in range(6)]
        files = [
            [draw.choice([*sizes]) if draw.random() < 0.3 else chunk for chunk in kept] for _ in range(2)
        ]
        with_sizes = [draw.random() < 0.5 for _ in files]
        content = [[(chunk, at) for chunk in file for at in range(sizes[chunk])] for file in files]
        size = min(map(len, content))
        runs = [_runs(file, sizes, stated) for file, stated in zip(files, with_sizes, strict=True)]
        left = {at for gap in unproved(runs[0], runs[1], size) for at in range(gap.start, gap.stop)}
        differing = {at for at in range(size) if content[0][at] != content[1][at]}
        assert differing <= left
        proved += size - len(left)
    assert proved > 10_000


def _runs(file: list[tuple[str, int]], sizes: dict[tuple[str, int], int], stated: bool) -> list[ChunkRun]:
    runs: list[ChunkRun] = []
    at = 0
    for xorb, number in file:
        size = sizes[xorb, number]
        if runs and runs[-1].xorb == xorb and runs[-1].stop == number:
            last = runs.pop()
            runs.append(ChunkRun(xorb, last.first, number + 1, last.start, last.size + size, (*last.offsets, last.size) if stated else ()))  # fmt: skip
        else:
            runs.append(ChunkRun(xorb, number, number + 1, at, size, (0,) if stated else ()))
        at += size
    return runs


TERM = {"hash": X, "unpacked_length": 110, "range": {"start": 2, "end": 4}, "chunk_byte_sizes": [60, 50]}
ANSWER: dict[str, Any] = {"offset_into_first_range": 7, "terms": [TERM], "fetch_info": {}}


def test_terms_are_counted_from_the_beginning_of_the_range() -> None:
    assert runs_of(ANSWER, 100, "here") == (ChunkRun(X, 2, 4, -7, 110, (0, 60)),)


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {},
        {**ANSWER, "terms": {}},
        {**ANSWER, "terms": []},
        {**ANSWER, "terms": [7]},
        {**ANSWER, "terms": [TERM, TERM]},
        {**ANSWER, "offset_into_first_range": -1},
        {**ANSWER, "offset_into_first_range": 11},
        {**ANSWER, "offset_into_first_range": 110},
        {**ANSWER, "offset_into_first_range": True},
        {**ANSWER, "offset_into_first_range": "7"},
        *(
            {**ANSWER, "terms": [TERM | change]}
            for change in (
                {"hash": X[1:]},
                {"hash": X.upper()},
                {"hash": None},
                {"unpacked_length": 0},
                {"unpacked_length": 106},
                {"unpacked_length": 1e3},
                {"range": {"start": 4, "end": 4}},
                {"range": {"start": -1, "end": 1}},
                {"range": [2, 4]},
                {"chunk_byte_sizes": [110]},
                {"chunk_byte_sizes": [60, 51]},
                {"chunk_byte_sizes": [120, -10]},
                {"chunk_byte_sizes": [60.0, 50]},
                {"chunk_byte_sizes": "ab"},
            )
        ),
    ],
    ids=str,
)
def test_terms_of_another_range_are_refused(answer: Any) -> None:
    with pytest.raises(NotTheHubs):
        runs_of(answer, 100, "here")


def test_a_gap_is_of_the_range() -> None:
    assert unproved([], [], 5) == [ByteRange(0, 5)]


def test_a_hundred_thousand_terms_are_compared_in_time() -> None:
    runs = [ChunkRun(X, number % 7, number % 7 + 1, number, 1) for number in range(100_000)]
    start = time.process_time()
    assert unproved(runs, runs, 100_000) == []
    assert time.process_time() - start < 5
