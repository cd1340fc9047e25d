"""A recorded training run: the rows of the vocabulary matrix, step by step, in a safetensors file.

`recorded_steps` [N] and `dead_token_ids` [K] are integers; `deltas` [N, V, D] holds the rows' moves since
the record before. `initial_W` [V, D], if present, holds the rows before the first step. A history of the
matrix itself is one tensor `W` or `weights` [N, V, D] instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from survey.dynamics.gaps import gaps
from survey.errors import UsageError
from survey.formats.safetensors_file import UNFINISHED, TensorReader
from survey.numerics.dtypes import FLOATS
from survey.numerics.row_decoder import RowDecoder
from survey.onepass.geometry import row_runs
from survey.records.tensors import ByteRange, TensorSpec

Holds = Literal["deltas", "weights"]
INITIAL = "initial_W"
TENSORS: dict[Holds, tuple[str, ...]] = {"deltas": ("deltas",), "weights": ("W", "weights")}
GAP_BYTES = 64 << 10  # between two rows: reading so many bytes costs less than a seek
HISTORY_READ_BYTES = 32 << 20
_STRANGE = "a NaN, an infinity or a number beyond 1e30"
# Beyond them a file is no recorded run, and its figures would leave their types.
MOST_NUMBERS = 10_000_000  # of steps, and of dead rows
LARGEST_STEP = 1 << 53
LARGEST_VALUE = 1e30  # ten million moves of it, and their lengths, are within float32


class History:
    """The dead rows of a recorded run, read one step at a time.

    steps: [N], ascending. dead: [K] row numbers. holds: `deltas` (moves) or `weights` (the rows themselves).
    """

    def __init__(self, path: Path, *, tensor: str | None = None, holds: Holds | None = None) -> None:
        """tensor, holds: needed if the names do not tell. Raises UsageError or BrokenFile naming the file."""
        self._reader = TensorReader(path)
        try:
            self.path = path
            if path.suffix == UNFINISHED:
                self._refuse("is a history that is still written; the same `survey train` finishes it")
            self._spec, self.holds = self._find(tensor, holds)
            self.steps = self._steps()
            self.dead = self._dead()
            self._reads = _planned_reads(self.dead, self._spec.row_bytes // self._spec.shape[1])
            self.gaps = gaps(self.steps)
        except BaseException:
            self._reader.__exit__()
            raise

    def __enter__(self) -> History:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.__exit__()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, V, D)."""
        count, rows, dims = self._spec.shape
        return count, rows, dims

    def start(self) -> NDArray[np.float64] | None:
        """The dead rows before the first step, [K, D]; None if the file does not hold them.

        Raises UsageError if they have another shape, or are not finite.
        """
        spec = self._reader.header.tensors.get(INITIAL)
        if spec is None or self.holds == "weights":
            return None
        if spec.shape != self.shape[1:]:
            self._refuse(f"{INITIAL} has shape {list(spec.shape)}, expected {list(self.shape[1:])}")
        self._reader.check_floats(spec)
        rows = self._rows(spec, spec.bytes.start)
        if not _are_of_a_run(rows):
            self._refuse(f"{INITIAL} holds {_STRANGE} in a dead row")
        return rows

    def records(self) -> Iterator[NDArray[np.float64]]:
        """The record of the dead rows at each step, [K, D] in float64, exactly.

        Raises UsageError if a value is not finite, or beyond LARGEST_VALUE.
        """
        for index, step in enumerate(self.steps.tolist()):
            rows = self._rows(self._spec, self._spec.bytes.start + index * self._spec.row_bytes)
            if not _are_of_a_run(rows):
                problem = f"{self._spec.name} holds {_STRANGE} in a dead row at step {step}"
                self._refuse(f"{problem}: the run diverged; record a shorter one")
            yield rows

    def loss(self) -> NDArray[np.float64] | None:
        """The loss at each step, [N]; None if the file does not hold it.

        From `loss` [N], or the column of `scalars` [N, M] that the file's metadata calls `loss`.
        """
        names = self._reader.header.metadata.get("scalars", "loss").split(",")
        for name, column in (("loss", None), ("scalars", names.index("loss") if "loss" in names else None)):
            spec = self._reader.header.tensors.get(name)
            if spec is None or spec.dtype not in FLOATS or spec.shape[:1] != self.steps.shape:
                continue
            if len(spec.shape) == 1:
                return self._reader.floats(name)[:]
            if len(spec.shape) == 2 and column is not None and spec.shape[1] == len(names):
                return self._reader.floats(name)[:, column]
        return None

    # ------------------------------------------------------------------------------- pieces

    def _find(self, tensor: str | None, holds: Holds | None) -> tuple[TensorSpec, Holds]:
        tensors = self._reader.header.tensors
        kinds: dict[str, Holds] = {name: kind for kind, names in TENSORS.items() for name in names}
        if tensor is None:
            tensor = next((name for name in kinds if name in tensors and holds in (None, kinds[name])), None)
        if tensor is None or tensor not in tensors:
            expected = tensor or " or ".join(TENSORS[holds] if holds else kinds)
            self._refuse(f"holds {', '.join(sorted(tensors)[:8]) or 'no tensor'}; expected {expected}")
        if (kind := holds or kinds.get(tensor)) is None:
            self._refuse(f"say what {tensor} holds: --holds deltas or --holds weights")
        spec = tensors[tensor]
        self._reader.check_floats(spec)
        if len(spec.shape) != 3 or 0 in spec.shape:
            self._refuse(f"{tensor} has shape {list(spec.shape)}, expected [steps, tokens, dimensions]")
        return spec, kind

    def _steps(self) -> NDArray[np.int64]:
        steps = self._integers("recorded_steps")
        count = self._spec.shape[0]
        if len(steps) != count:
            self._refuse(f"recorded_steps has {len(steps)} entries, {self._spec.name} has {count} records")
        if (strange := steps[(steps > LARGEST_STEP) | (steps < -LARGEST_STEP)]).size:
            self._refuse(f"recorded_steps holds {strange[0]}, which is no step")
        if (np.diff(steps) <= 0).any():
            index = int(np.argmax(np.diff(steps) <= 0))
            self._refuse(
                f"recorded_steps must rise: {steps[index + 1]} follows {steps[index]}; "
                "was the run recorded twice?"
            )
        return steps

    def _dead(self) -> NDArray[np.int64]:
        dead, rows = self._integers("dead_token_ids"), self._spec.shape[1]
        if not len(dead):
            self._refuse("dead_token_ids is empty: there is no cloud of dead rows to follow")
        if dead.min() < 0 or dead.max() >= rows:
            self._refuse(
                f"dead_token_ids runs from {dead.min()} to {dead.max()}, "
                f"{self._spec.name} has rows 0 to {rows - 1}"
            )
        if len(np.unique(dead)) != len(dead):
            self._refuse("dead_token_ids names a row twice")
        return dead

    def _integers(self, name: str) -> NDArray[np.int64]:
        spec = self._reader.header.tensors.get(name)
        if spec is None:
            self._refuse(f"has no {name}; it holds {', '.join(sorted(self._reader.header.tensors)[:8])}")
        if len(spec.shape) != 1 or spec.shape[0] > MOST_NUMBERS:
            expected = f"one dimension of {MOST_NUMBERS:,} or fewer"
            self._refuse(f"{name} has shape {list(spec.shape)}, expected {expected}")
        return self._reader.integers(name)

    def _rows(self, spec: TensorSpec, matrix_start: int) -> NDArray[np.float64]:
        """The dead rows of one recorded matrix, [K, D]. matrix_start: its first byte in the file."""
        decoder = RowDecoder(FLOATS[spec.dtype], spec.shape[-1])
        rows = np.empty((len(self.dead), decoder.dims))
        for read in self._reads:
            start = matrix_start + read.first_row * decoder.row_bytes
            stop = matrix_start + read.stop_row * decoder.row_bytes
            stored = self._reader.bytes(ByteRange(start, stop))
            rows[read.dead_indexes] = decoder.stored_values(stored)[read.row_offsets]
        return rows

    def _refuse(self, problem: str) -> NoReturn:
        raise UsageError(f"{self.path}: {problem}")


def _are_of_a_run(rows: NDArray[np.float64]) -> bool:
    return bool((np.abs(rows) <= LARGEST_VALUE).all())  # False for a NaN


@dataclass(frozen=True, slots=True)
class _Read:
    """A read of rows [first_row, stop_row): the dead rows in it, as indexes of `dead`, and as offsets."""

    first_row: int
    stop_row: int
    dead_indexes: NDArray[np.int64]
    row_offsets: NDArray[np.int64]


def _planned_reads(dead: NDArray[np.int64], row_bytes: int) -> list[_Read]:
    """The reads of a matrix that bring these rows [K]: few, and each of limited size."""
    order = np.argsort(dead, kind="stable")
    reads: list[_Read] = []
    end = 0
    for run in row_runs(dead[order].tolist(), row_bytes, gap_bytes=GAP_BYTES, most_bytes=HISTORY_READ_BYTES):
        begin, end = end, end + len(run)
        reads.append(_Read(run[0], run[-1] + 1, order[begin:end], np.array(run) - run[0]))
    return reads
