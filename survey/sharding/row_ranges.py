"""A few stored rows of a matrix, read by byte ranges that include small gaps between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from survey.checkpoints.checkpoint import Checkpoint
from survey.onepass.geometry import row_runs
from survey.records.tensors import ByteRange, TensorSpec
from survey.sharding.pieces import stream_rows

# A gap between two rows is read, too, if that costs less than a further request.
READ_THROUGH_BYTES = 32 << 10
MAX_RANGE_BYTES = 4 << 20  # of a request


def picked_rows(
    checkpoint: Checkpoint,
    spec: TensorSpec,
    rows: Sequence[int],
    on_bytes: Callable[[int], None] = lambda count: None,
) -> list[bytes]:
    """The stored bytes of these rows, in their order. rows: ascending numbers below V.

    Raises SurveyError if they cannot be read.
    """
    runs = row_runs(rows, spec.row_bytes, gap_bytes=READ_THROUGH_BYTES, most_bytes=MAX_RANGE_BYTES)
    start = spec.bytes.start
    ranges = [
        ByteRange(start + run[0] * spec.row_bytes, start + (run[-1] + 1) * spec.row_bytes) for run in runs
    ]
    stored: list[bytes] = []
    for run, block in zip(runs, stream_rows(checkpoint, spec, ranges, on_bytes), strict=True):
        for row in run:
            at = (row - run[0]) * spec.row_bytes
            stored.append(bytes(block[at : at + spec.row_bytes]))
    return stored
