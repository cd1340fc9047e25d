"""A recorded training run: the rows of the vocabulary matrix, step by step, in a safetensors file.

`recorded_steps` [N] and `dead_token_ids` [K] are integers; `deltas` [N, V, D] holds what each record
moved since the one before. `initial_W` [V, D], where it is there, says where they began. A history of
the matrix itself is one tensor `W` or `weights` [N, V, D] instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from survey.errors import UsageError
from survey.formats.safetensors_file import UNFINISHED, TensorReader
from survey.numerics.decoding import widen
from survey.numerics.dtypes import FLOATS
from survey.records.target import ByteRange, TensorSpec

Holds = Literal["deltas", "weights"]
INITIAL = "initial_W"
TENSORS: dict[Holds, tuple[str, ...]] = {"deltas": ("deltas",), "weights": ("W", "weights")}
GAP_BYTES = 64 << 10  # rows that are not wanted are read over where that is cheaper than a seek
HISTORY_READ_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Gap:
    """Records that are missing between two recorded steps, judged by the most common distance."""

    after: int
    before: int
    missing: int


class History:
    """The dead rows of a recorded run, read one step at a time.

    steps: [N], rising. dead: [K] row numbers. holds: what `tensor` is, moves or the rows themselves.
    """

    def __init__(self, path: Path, *, tensor: str | None = None, holds: Holds | None = None) -> None:
        """tensor, holds: where the names do not tell. Raises UsageError or BrokenFile naming the file."""
        self._reader = TensorReader(path)
        try:
            self.path = path
            if path.suffix == UNFINISHED:
                self._refuse("is a history that is still written; the same `survey train` finishes it")
            self._spec, self.holds = self._find(tensor, holds)
            self.steps = self._steps()
            self.dead = self._dead()
            self._runs = _runs(self.dead, self._spec.row_bytes // self._spec.shape[1])
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
        """The dead rows before the first step, [K, D], or None where the file does not hold them."""
        spec = self._reader.header.tensors.get(INITIAL)
        if spec is None or self.holds == "weights":
            return None
        if spec.shape != self.shape[1:]:
            self._refuse(f"{INITIAL} has shape {list(spec.shape)}, expected {list(self.shape[1:])}")
        self._reader.check_floats(spec)
        found = self._rows(spec, spec.bytes.start)
        if not np.isfinite(found).all():
            self._refuse(f"{INITIAL} holds a NaN or an infinity in a dead row")
        return found

    def records(self) -> Iterator[NDArray[np.float64]]:
        """What is held of the dead rows at each step, [K, D] in float64, exactly.

        Raises UsageError where a value is not finite.
        """
        for index, step in enumerate(self.steps.tolist()):
            found = self._rows(self._spec, self._spec.bytes.start + index * self._spec.row_bytes)
            if not np.isfinite(found).all():
                self._refuse(
                    f"{self._spec.name} holds a NaN or an infinity in a dead row at step {step}: "
                    "the run diverged; record a shorter one"
                )
            yield found

    def loss(self) -> NDArray[np.float64] | None:
        """The loss at each step, [N], or None where the file does not tell it.

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
        there = self._reader.header.tensors
        kinds: dict[str, Holds] = {name: kind for kind, names in TENSORS.items() for name in names}
        if tensor is None:
            tensor = next((name for name in kinds if name in there and holds in (None, kinds[name])), None)
        if tensor is None or tensor not in there:
            wanted = tensor or " or ".join(TENSORS[holds] if holds else kinds)
            self._refuse(f"holds {', '.join(sorted(there)[:8]) or 'no tensor'}; expected {wanted}")
        if (known := holds or kinds.get(tensor)) is None:
            self._refuse(f"say what {tensor} holds: --holds deltas or --holds weights")
        spec = there[tensor]
        self._reader.check_floats(spec)
        if len(spec.shape) != 3 or 0 in spec.shape:
            self._refuse(f"{tensor} has shape {list(spec.shape)}, expected [steps, tokens, dimensions]")
        return spec, known

    def _steps(self) -> NDArray[np.int64]:
        found = self._integers("recorded_steps")
        count = self._spec.shape[0]
        if len(found) != count:
            self._refuse(f"recorded_steps has {len(found)} entries, {self._spec.name} has {count} records")
        if (np.diff(found) <= 0).any():
            at = int(np.argmax(np.diff(found) <= 0))
            self._refuse(
                f"recorded_steps must rise: {found[at + 1]} follows {found[at]}; was the run recorded twice?"
            )
        return found

    def _dead(self) -> NDArray[np.int64]:
        found, rows = self._integers("dead_token_ids"), self._spec.shape[1]
        if not len(found):
            self._refuse("dead_token_ids is empty: there is no cloud of dead rows to follow")
        if found.min() < 0 or found.max() >= rows:
            self._refuse(
                f"dead_token_ids runs from {found.min()} to {found.max()}, "
                f"{self._spec.name} has rows 0 to {rows - 1}"
            )
        if len(np.unique(found)) != len(found):
            self._refuse("dead_token_ids names a row twice")
        return found

    def _integers(self, name: str) -> NDArray[np.int64]:
        spec = self._reader.header.tensors.get(name)
        if spec is None:
            self._refuse(f"has no {name}; it holds {', '.join(sorted(self._reader.header.tensors)[:8])}")
        if len(spec.shape) != 1:
            self._refuse(f"{name} has shape {list(spec.shape)}, expected one dimension")
        return self._reader.integers(name)

    def _rows(self, spec: TensorSpec, slab_start: int) -> NDArray[np.float64]:
        dims, form = spec.shape[-1], FLOATS[spec.dtype]
        row_bytes = dims * form.item_bytes
        found = np.empty((len(self.dead), dims))
        for first, stop, places, inside in self._runs:
            wanted = ByteRange(slab_start + first * row_bytes, slab_start + stop * row_bytes)
            found[places] = widen(self._reader.bytes(wanted), form, dims)[inside]
        return found

    def _refuse(self, problem: str) -> NoReturn:
        raise UsageError(f"{self.path}: {problem}")


def gaps(steps: NDArray[np.int64]) -> list[Gap]:
    """Where records are missing: distances larger than the most common one."""
    if len(steps) < 3:
        return []
    distances = np.diff(steps)
    values, counts = np.unique(distances, return_counts=True)
    stride = int(values[counts == counts.max()][-1])  # of equally common ones the largest: no false alarm
    return [
        Gap(int(steps[at]), int(steps[at + 1]), -(-int(distances[at]) // stride) - 1)
        for at in np.flatnonzero(distances > stride)
    ]


Run = tuple[int, int, NDArray[np.int64], NDArray[np.int64]]


def _runs(rows: NDArray[np.int64], row_bytes: int) -> list[Run]:
    """Pieces [first, stop) of a slab that hold these rows; their places in `rows`, and in the piece."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    found: list[Run] = []
    begin = 0
    for at in range(1, len(ordered) + 1):
        if (
            at == len(ordered)
            or (ordered[at] - ordered[at - 1] - 1) * row_bytes > GAP_BYTES
            or (ordered[at] + 1 - ordered[begin]) * row_bytes > HISTORY_READ_BYTES
        ):
            first, stop = int(ordered[begin]), int(ordered[at - 1]) + 1
            found.append((first, stop, order[begin:at], ordered[begin:at] - first))
            begin = at
    return found
