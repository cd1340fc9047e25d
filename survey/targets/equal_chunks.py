"""Which bytes of two ranges are the same chunks of the storage, and so equal without being read.

A file in a content-addressed storage is a sequence of chunks, each in a container (`xorb`) that is named by a
hash of its chunks. Chunks of one number in one container are the same bytes. Where a tensor begins and ends,
chunks also hold bytes of its neighbours, and differ if those do. Unequal chunks prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from survey.records.tensors import ByteRange, ChunkRun


def unproved(one: Sequence[ChunkRun], other: Sequence[ChunkRun], size: int) -> list[ByteRange]:
    """The bytes [0, size) of two ranges that no common chunks prove to be equal. Runs: of each, in order."""
    equal = [
        common
        for run, candidate in _overlapping(one, other)
        if run.xorb == candidate.xorb and (common := _common(run, candidate)) is not None
    ]
    gaps, at = [], 0
    for common in equal:
        if common.start > at:
            gaps.append(ByteRange(at, min(common.start, size)))
        at = max(at, common.stop)
        if at >= size:
            return gaps
    return [*gaps, ByteRange(at, size)]


def _overlapping(one: Sequence[ChunkRun], other: Sequence[ChunkRun]) -> Iterator[tuple[ChunkRun, ChunkRun]]:
    """The pairs of runs that have a byte's position in common, in order: no more than there are runs."""
    first = second = 0
    while first < len(one) and second < len(other):
        run, candidate = one[first], other[second]
        if run.start < candidate.end and candidate.start < run.end:
            yield run, candidate
        first += run.end <= candidate.end
        second += candidate.end <= run.end


def _common(one: ChunkRun, other: ChunkRun) -> ByteRange | None:
    """Where the chunks of both lie, if that is known and the same place in both ranges."""
    first, stop = max(one.first, other.first), min(one.stop, other.stop)
    if first >= stop:
        return None
    starts = {place for run in (one, other) if (place := run.start_of(first)) is not None}
    stops = {place for run in (one, other) if (place := run.start_of(stop)) is not None}
    # Equal chunks are equally long, so one known start in both, or one known end in both, aligns them.
    is_aligned = any(
        one.start_of(chunk) is not None and one.start_of(chunk) == other.start_of(chunk)
        for chunk in (first, stop)
    )
    if not is_aligned or len(starts) != 1 or len(stops) != 1:
        return None
    (start,), (end,) = starts, stops
    return ByteRange(start, end) if start < end else None
