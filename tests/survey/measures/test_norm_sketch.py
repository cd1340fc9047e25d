"""Lengths at ids that all matrices are sampled at, so that two of them are compared id by id."""

from __future__ import annotations

import numpy as np
import pytest

from survey.measures.norm_sketch import norm_sketch, sampled_ids
from survey.records.measured_columns import Tokens


def tokens(norm: list[float], black_hole: list[int] | None = None) -> Tokens:
    rank = np.zeros(len(norm), np.int32) if black_hole is None else np.array(black_hole, np.int32)
    return Tokens(norm=np.array(norm), row_hash=np.zeros(len(norm), np.uint64), black_hole=rank)


def test_a_smaller_vocabulary_is_sampled_at_the_first_of_the_same_ids() -> None:
    whole = sampled_ids(300_000)
    for rows in (0, 1, 127, 128, 129, 1_000, 151_936, 299_999):
        assert np.array_equal(sampled_ids(rows), whole[whole < rows])


def test_ids_are_few_and_reach_the_end() -> None:
    ids = sampled_ids(262_144)
    assert (len(ids), ids[-1]) == (128 + 64 * 11, 262_144 - 2_048)
    assert np.array_equal(ids[:128], np.arange(128))
    assert (np.diff(ids) > 0).all()


@pytest.mark.parametrize(
    ("norm", "rank", "sketched"),
    [
        pytest.param(2.5, 0, 2.5, id="a live row"),
        pytest.param(0.0, 0, None, id="a zero row"),
        pytest.param(float("nan"), 0, None, id="a row that is not finite"),
        pytest.param(2.5, 1, None, id="a row of a black hole"),
        pytest.param(1e300, 0, None, id="a length beyond float32"),
        pytest.param(1e-300, 0, None, id="a length below float32"),
    ],
)
def test_only_informative_rows_have_a_length(norm: float, rank: int, sketched: float | None) -> None:
    assert norm_sketch(tokens([1.0, norm], [0, rank])).norm_sketch == (1.0, sketched)
