"""Black holes of a trained row and its copies are told from those of dead rows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import survey

V, D = 2_000, 64
Rows = NDArray[np.float32]


def live(seed: int = 1) -> Rows:
    draw = np.random.default_rng(seed)
    return (draw.normal(size=(V, D)) / np.sqrt(D)).astype(np.float32)


def near(count: int, spread: float = 0.02) -> Rows:
    draw = np.random.default_rng(2)
    centre = 0.4 * draw.normal(size=D) / np.sqrt(D)
    return (centre + spread * draw.normal(size=(count, D)) / np.sqrt(D)).astype(np.float32)


@pytest.mark.parametrize("copies", [2, 3, 4])
def test_a_trained_row_and_its_copies_are_counted(copies: int) -> None:
    """`pad` set to the row of `eos`."""
    rows = live()
    rows[:copies] = rows[700]
    rows[700] = live(3)[0]
    result = survey.measure(rows)
    assert (result.dead_count, result.copied_rows) == (copies, copies)


def test_black_holes_that_lie_together_are_none() -> None:
    rows = live()
    rows[:20] = np.repeat(near(10), 2, axis=0)
    result = survey.measure(rows)
    assert (result.black_hole_count, result.copied_rows) == (10, 0)


@pytest.mark.parametrize(
    ("change", "copied"),
    [
        pytest.param("many equal rows", 0, id="more rows than somebody copies"),
        pytest.param("short", 0, id="shorter than trained rows are"),
        pytest.param("long", 0, id="longer than trained rows are"),
        pytest.param("zero", 0, id="zeros"),
        pytest.param("nan", 0, id="not finite"),
        pytest.param("dead and copied", 2, id="a copy beside dead rows"),
    ],
)
def test_what_no_one_copied_is_not_counted(change: str, copied: int) -> None:
    rows = live()
    row = rows[900].copy()
    if change == "many equal rows":
        rows[:5] = row
    elif change == "dead and copied":
        rows[:2], rows[900] = row, live(3)[0]
        rows[100:200] = near(1)[0]
    else:
        scale = {"short": 0.1, "long": 10.0, "zero": 0.0, "nan": np.nan}[change]
        rows[:2] = np.float32(scale) * row
    assert survey.measure(rows).copied_rows == copied


def test_of_a_few_rows_nothing_can_be_told() -> None:
    assert survey.measure(np.repeat(live()[:10], 2, axis=0)).copied_rows is None


def test_a_matrix_of_nothing_but_pairs_has_no_live_rows_to_compare_them_with() -> None:
    assert survey.measure(np.repeat(live(), 2, axis=0)).copied_rows is None


@pytest.mark.parametrize(
    ("copied", "counted"),
    [
        pytest.param(1_500, 3_000, id="some, one beside the other"),
        pytest.param(4_500, None, id="more than are compared"),
    ],
)
def test_of_many_copies_none_is_passed_over_in_silence(copied: int, counted: int | None) -> None:
    draw = np.random.default_rng(4)
    rows = (draw.normal(size=(10_000, D)) / np.sqrt(D)).astype(np.float32)
    by_length = np.argsort(np.linalg.norm(rows, axis=1))
    rows[by_length[5_000 - copied : 5_000]] = rows[by_length[5_000 : 5_000 + copied]]
    result = survey.measure(rows)
    assert (result.black_hole_count, result.copied_rows) == (copied, counted)
