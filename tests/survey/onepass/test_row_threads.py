"""Many rows are shared out among threads: each once, and what goes wrong in one of them is raised."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from survey.onepass.row_threads import IN_THIS_THREAD, RowThreads


@pytest.mark.parametrize(("rows", "parts", "expected"), [(0, 4, 1), (99, 4, 1), (250, 4, 2), (1003, 4, 4)])
def test_parts_make_up_all_rows(rows: int, parts: int, expected: int) -> None:
    visits, starts = np.zeros(rows, dtype=int), []

    def visit(start: int, stop: int) -> None:
        visits[start:stop] += 1
        starts.append(start)

    with ThreadPoolExecutor(parts) as pool:
        RowThreads(pool, parts).each(rows, visit, least=100)
    assert visits.tolist() == [1] * rows
    assert len(starts) == expected


def test_one_thread_takes_all_rows_at_once() -> None:
    calls: list[tuple[int, int]] = []
    IN_THIS_THREAD.each(1_000_000, lambda start, stop: calls.append((start, stop)))
    assert calls == [(0, 1_000_000)]


def test_what_is_raised_in_a_part_is_raised() -> None:
    def fail_first(start: int, stop: int) -> None:
        if start == 0:
            raise ZeroDivisionError

    with ThreadPoolExecutor(2) as pool, pytest.raises(ZeroDivisionError):
        RowThreads(pool, 2).each(200, fail_first, least=1)
