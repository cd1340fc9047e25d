"""Where two populations that overlap are divided."""

from __future__ import annotations

import numpy as np
import pytest

from survey.populations.overlap import unbiased_cut
from survey.populations.valley import valley_or_void


@pytest.mark.parametrize("few", [400, 1_000, 5_000])
def test_as_many_rows_of_each_lie_beyond_the_cut(few: int) -> None:
    draw = np.random.default_rng(few)
    near = 0.4 * np.exp(0.1 * draw.normal(size=few))
    far = np.exp(0.3 * draw.normal(size=5_000))
    distances = np.concatenate([near, far]).astype(np.float32)
    divided = valley_or_void(distances)
    assert divided is not None
    cut = unbiased_cut(distances, divided[0], 50)
    assert int((distances < cut).sum()) == pytest.approx(few, rel=0.05, abs=15)


def test_of_populations_that_lie_apart_none_loses_a_row() -> None:
    draw = np.random.default_rng(1)
    distances = np.concatenate([0.1 + 0.01 * draw.random(200), 1.0 + 0.2 * draw.random(3_000)])
    cut = unbiased_cut(distances.astype(np.float32), 0.4, 50)
    assert 0.11 < cut < 1.0


@pytest.mark.parametrize("dims", [4, 50, 4096])
@pytest.mark.parametrize(
    ("near", "far"), [(3.645633e14, 5.46845e14), (3.645633e14, 6.388506e19), (1.0, 1e30)]
)
def test_where_all_rows_lie_at_two_distances_there_is_a_cut_as_well(
    near: float, far: float, dims: int
) -> None:
    distances = np.repeat(np.array([near, far], dtype=np.float32), 88)
    divided = valley_or_void(distances)
    assert divided is not None
    assert np.isfinite(unbiased_cut(distances, divided[0], dims))
