"""Black holes: two or more rows whose stored bytes are identical."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
import xxhash
from support.matrices import WORDS, folded, plant, raw

from survey.measures.identical_rows import identical_rows
from survey.numerics.dtypes import FLOATS
from survey.onepass.fold import fold

NAN, INF = float("nan"), float("inf")
A, B, C, D = (3, 4), (0, 5), (1, 0), (-1, 1)


def test_columns_of_two_black_holes_among_seven_rows() -> None:
    with folded([A, B, A, C, B, A, D]) as rows:
        result = identical_rows(rows)
    assert result.unique_rows == 4
    assert (result.black_hole_count, result.black_hole_sizes) == (2, (3, 2))
    assert (result.dead_count, result.live_count, result.dead_fraction) == (5, 2, 5 / 7)
    first, second = result.black_holes
    assert (first.rank, first.population, first.token_ids, first.norm) == (1, 3, (0, 2, 5), 5.0)
    assert (second.rank, second.population, second.token_ids, second.norm) == (2, 2, (1, 4), 5.0)
    # The live centroid is (0, ½): along B, and atan2(3, 4) = 36.87° from A.
    assert first.angle_to_live_deg == pytest.approx(36.86989764584402, abs=1e-12)
    assert second.angle_to_live_deg == pytest.approx(0.0, abs=1e-12)


def test_population_less_surplus_is_the_number_of_black_holes() -> None:
    with folded([A, B, A, C, B, A, D]) as rows:
        result = identical_rows(rows)
    surplus = 7 - result.unique_rows
    assert result.dead_count - surplus == result.black_hole_count


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([A, B, A, B], [(0, 2), (1, 3)], id="smallest token id first"),
        pytest.param([A, B, B, A], [(0, 3), (1, 2)], id="whichever repeats first"),
        pytest.param([A, B, B, A, B], [(1, 2, 4), (0, 3)], id="population before token id"),
        pytest.param([A, A, A], [(0, 1, 2)], id="all rows"),
        pytest.param([(0, 0), A, (0, 0)], [(0, 2)], id="zero rows"),
        pytest.param([(NAN, 1), A, (NAN, 1)], [(0, 2)], id="rows with the same NaN"),
        pytest.param([(INF, 1), A, (INF, 1)], [(0, 2)], id="rows with an infinity"),
    ],
)
def test_black_holes_are_ranked_by_population_then_token_id(
    rows: Sequence[tuple[float, float]], expected: list[tuple[int, ...]]
) -> None:
    with folded(rows) as some:
        result = identical_rows(some)
    assert [hole.token_ids for hole in result.black_holes] == expected
    assert [hole.rank for hole in result.black_holes] == list(range(1, len(expected) + 1))


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([A], id="one row"),
        pytest.param([A, (4, 3)], id="the same numbers in another order"),
        pytest.param([(0.0, 1), (-0.0, 1)], id="a zero of the other sign"),
        pytest.param([(1, 1), (1 + 2**-52, 1)], id="one bit of difference"),
        pytest.param([(NAN, 1), (NAN, 2)], id="NaNs beside different numbers"),
        pytest.param([(INF, 1), (-INF, 1)], id="infinities of different sign"),
    ],
)
def test_rows_that_differ_in_a_bit_make_no_black_hole(rows: Sequence[tuple[float, float]]) -> None:
    with folded(rows) as some:
        result = identical_rows(some)
    assert (result.unique_rows, result.black_hole_count, result.black_holes) == (len(rows), 0, ())
    assert (result.dead_count, result.live_count, result.dead_fraction) == (0, len(rows), 0.0)


@pytest.mark.parametrize("code", WORDS)
def test_nans_of_different_payload_make_no_black_hole(code: str) -> None:
    tensor = torch.zeros(3, 2, dtype=getattr(torch, FLOATS[code].torch_name))
    plant(tensor, 0, "nan")
    plant(tensor, 1, "nan, another payload")
    plant(tensor, 2, "nan")
    with fold([raw(tensor)], FLOATS[code], (3, 2), "cpu") as some:
        assert [hole.token_ids for hole in identical_rows(some).black_holes] == [(0, 2)]


@pytest.mark.parametrize(
    ("hole", "live", "norm"),
    [
        pytest.param((NAN, 1), (1, 1), None, id="a black hole that is not finite"),
        pytest.param((0, 0), (1, 1), 0.0, id="a black hole of zeros has no direction"),
        pytest.param((3, 4), (0, 0), 5.0, id="live rows that are zero have no direction"),
        pytest.param((3, 4), (NAN, 1), 5.0, id="live rows that are not finite"),
        pytest.param((3, 4), (3, 4), 5.0, id="no live rows"),
    ],
)
def test_angle_is_null_without_a_direction(
    hole: tuple[float, float], live: tuple[float, float], norm: float | None
) -> None:
    with folded([hole, live, hole]) as some:
        (result,) = identical_rows(some).black_holes
    assert (result.norm, result.angle_to_live_deg) == (norm, None)


def test_hash_of_a_black_hole_is_the_low_half_of_xxh3_128_of_its_row() -> None:
    with folded([A, B, A], "F32") as rows:
        (result,) = identical_rows(rows).black_holes
    three_four = b"\x00\x00\x40\x40\x00\x00\x80\x40"
    assert result.row_hash == xxhash.xxh3_128_intdigest(three_four) & 0xFFFF_FFFF_FFFF_FFFF
