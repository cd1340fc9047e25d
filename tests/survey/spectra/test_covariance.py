"""The covariance, against float64 on rows that are held."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from support.matrices import TORCH, plant, raw

from survey.numerics.dtypes import FLOATS
from survey.numerics.row_decoder import RowDecoder
from survey.spectra.covariance import Covariance, CovarianceSum, rows_per_slab


def rows(code: str, count: int, dims: int, offset: float = 0.3, scale: float = 1.0) -> torch.Tensor:
    """A cloud around `offset` whose variance falls from dimension to dimension."""
    chance = torch.Generator().manual_seed(count + dims)
    spread = torch.randn(count, dims, generator=chance, dtype=torch.float64)
    return (scale * (offset + spread / torch.arange(1, dims + 1) ** 0.5)).to(TORCH[code])


def folded(tensor: torch.Tensor, code: str, cuts: int = 300, device: str = "cpu") -> Covariance:
    dims = tensor.shape[1]
    summed, form = CovarianceSum(dims, device), RowDecoder(FLOATS[code], dims)
    stored, step = raw(tensor), cuts * form.row_bytes
    for start in range(0, len(stored), step):
        summed.add(form.values(stored[start : start + step], 0))
    return summed.covariance()


def expected(tensor: torch.Tensor) -> np.ndarray:
    wide = tensor.double().numpy()
    return np.cov(wide[np.isfinite(wide).all(axis=1)].T, bias=True)


def apart(result: Covariance, exact: np.ndarray) -> float:
    """Largest difference, as a share of the largest eigenvalue."""
    return float(np.abs(result.matrix - exact).max() / np.linalg.eigvalsh(exact)[-1])


@pytest.mark.parametrize("code", TORCH)
@pytest.mark.parametrize("cuts", [7, 300, 2000])
def test_every_format_and_any_cut(code: str, cuts: int) -> None:
    tensor = rows(code, 1000, 24)
    result = folded(tensor, code, cuts)
    assert apart(result, expected(tensor)) < 1e-6
    assert result.total == pytest.approx(np.trace(expected(tensor)), rel=1e-6)


def test_a_cloud_far_from_the_origin_keeps_its_spread() -> None:
    tensor = rows("F32", 2000, 16, offset=10_000.0)
    assert apart(folded(tensor, "F32"), expected(tensor)) < 1e-9


def outlier_dimensions(draw: np.random.Generator) -> np.ndarray:
    made: np.ndarray = draw.normal(size=(5_000, 64)) * 0.02
    made[:, :4] = made[:, :4] * (50, 30, 20, 10) + (5, -3, 2, 1)
    return made


def first_rows_elsewhere(draw: np.random.Generator) -> np.ndarray:
    """The shift is taken from the first rows, and one component has 10,000 times the variance of the others."""
    made: np.ndarray = draw.normal(size=(5_000, 64)) * 0.02 * np.arange(1, 65) ** -0.1
    made[:600] += 1.0
    return made


@pytest.mark.parametrize(
    "make",
    [
        outlier_dimensions,
        first_rows_elsewhere,
        lambda draw: 0.02 * draw.normal(size=(5_000, 64)) + 0.6 * draw.normal(size=64),
        lambda draw: (
            (0.02 * draw.normal(size=(5_000, 64)) + 0.05 * draw.normal(size=64))
            * np.exp(0.8 * draw.normal(size=(5_000, 1)))
        ),
    ],
    ids=["outlier dimensions", "first rows elsewhere", "a mean of 30 deviations", "lengths with a long tail"],
)
def test_every_component_is_right_to_a_millionth_of_itself(
    make: Callable[[np.random.Generator], np.ndarray],
) -> None:
    """The first three also in direction, on which every latitude depends: to a hundred-thousandth of a degree."""
    tensor = torch.from_numpy(make(np.random.default_rng(4))).to(torch.float16)
    values, vectors = np.linalg.eigh(folded(tensor, "F16", cuts=1000).matrix)
    exact_values, exact_vectors = np.linalg.eigh(expected(tensor))
    np.testing.assert_allclose(values, exact_values, rtol=1e-6)
    first, exact_first = vectors[:, -3:], exact_vectors[:, -3:]
    apart_rad = np.linalg.norm(first * np.sign((first * exact_first).sum(axis=0)) - exact_first, axis=0)
    assert np.degrees(apart_rad).max() < 1e-5


@pytest.mark.parametrize(
    ("code", "scale"), [("F32", 1e25), ("F32", 1e-30), ("BF16", 1e30), ("F64", 1e120), ("F64", 1e-120)]
)
def test_values_whose_squares_leave_float32(code: str, scale: float) -> None:
    tensor = rows(code, 500, 8, scale=scale)
    assert apart(folded(tensor, code), expected(tensor)) < 1e-6


def test_rows_that_are_not_finite_are_left_out() -> None:
    tensor = rows("BF16", 700, 8)
    tensor[3, 2], tensor[699] = torch.inf, -torch.inf
    plant(tensor, 350, "nan")
    result = folded(tensor, "BF16")
    assert np.flatnonzero(~result.finite).tolist() == [3, 350, 699]
    assert apart(result, expected(tensor)) < 1e-6


def test_first_slab_without_a_finite_row() -> None:
    tensor = rows("F16", 40, 4)
    tensor[:20] = torch.nan
    assert apart(folded(tensor, "F16", cuts=10), expected(tensor)) < 1e-6


def test_no_finite_row_at_all() -> None:
    result = folded(torch.full((5, 3), torch.nan), "F32")
    assert not result.matrix.any()
    assert not result.finite.any()


def test_the_way_of_gpus_gives_the_same() -> None:
    """`meta` aside, torch's own matmul is what runs off the CPU; here on the CPU under another name."""
    tensor = rows("BF16", 900, 32)
    assert apart(folded(tensor, "BF16", device="cpu:0"), folded(tensor, "BF16").matrix) < 1e-6


def test_a_slab_stays_small() -> None:
    assert rows_per_slab(2560) == 4096
    assert rows_per_slab(16384) * 16384 * 4 <= 40 << 20
