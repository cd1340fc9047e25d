"""Loops over many rows in parts, each in a thread: a row's numbers are its own, so the bits are the same."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

LEAST_ROWS = 8192  # of a part: fewer take less time than handing them over


@dataclass(frozen=True, slots=True)
class RowThreads:
    """pool: threads for `parts` parts at once; None works in the calling thread alone."""

    pool: Executor | None = None
    parts: int = 1

    def each(self, rows: int, work: Callable[[int, int], None], least: int | None = None) -> None:
        """Call work(start, stop) for parts that make up [0, rows), `least` rows each or more (LEAST_ROWS)."""
        parts = max(1, min(self.parts, rows // (least or LEAST_ROWS)))
        if self.pool is None or parts == 1:
            work(0, rows)
            return
        edges = [part * rows // parts for part in range(parts + 1)]
        begun = [self.pool.submit(work, *edges[part : part + 2]) for part in range(parts - 1)]
        work(*edges[-2:])
        for part in begun:
            part.result()


IN_THIS_THREAD = RowThreads()
