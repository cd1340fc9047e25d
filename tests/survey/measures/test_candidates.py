"""Which populations count, from their descriptions alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from survey.measures.candidates import CLUSTERS, LOOSE, UNDECIDED, judged, remark, undecided_note
from survey.records.measured_columns import UndertrainedPopulation

DRIFTED = UndertrainedPopulation(
    rows=300,
    norm_mean=0.4,
    relative_norm=0.4,
    contrast=20.0,
    centre_distance=0.4,
    density=16.0,
    shape="centre",
    compared_share=0.05,
    reserved_share=None,
    candidate=None,
)
BYTES = replace(DRIFTED, relative_norm=0.75, contrast=3.0, centre_distance=0.8, density=2.2)
NUMBERS = replace(DRIFTED, relative_norm=1.0, contrast=6.0, centre_distance=1.1, density=3.7)
SCALE = replace(DRIFTED, relative_norm=0.3, contrast=3.8, centre_distance=0.03, density=7.2, shape="origin")


@pytest.mark.parametrize(
    ("population", "candidate"),
    [
        pytest.param(DRIFTED, True, id="dense around a centre of its own"),
        pytest.param(replace(DRIFTED, density=None), True, id="infinitely dense"),
        pytest.param(replace(DRIFTED, density=2.6), None, id="rarer words around a centre of their own"),
        pytest.param(BYTES, None, id="bytes nearer to the middle"),
        pytest.param(replace(BYTES, density=7.0), None, id="a denser block, as long as words"),
        pytest.param(replace(BYTES, density=9.0), True, id="denser than any block of words"),
        pytest.param(NUMBERS, False, id="outside and no shorter"),
        pytest.param(replace(NUMBERS, rows=5_000, compared_share=0.4), True, id="too large for a block"),
        pytest.param(
            replace(NUMBERS, rows=5_000, compared_share=0.4, density=2.0), None, id="a large language"
        ),
        pytest.param(replace(NUMBERS, density=20.0), False, id="outside, no shorter, and dense"),
        pytest.param(replace(NUMBERS, density=30.0), True, id="denser than words ever are, wherever it lies"),
        pytest.param(replace(DRIFTED, compared_share=0.99), None, id="all rows but a few long ones"),
        pytest.param(replace(DRIFTED, compared_share=0.99, density=30.0), True, id="nearly all, and dense"),
        pytest.param(SCALE, None, id="a scale of the others' cloud"),
        pytest.param(replace(SCALE, density=40.0), True, id="near zero"),
        pytest.param(replace(SCALE, shape="initial values", density=1.6), True, id="initial values"),
        pytest.param(replace(SCALE, shape="middle", density=1.6), True, id="initial values moved with all"),
        pytest.param(replace(DRIFTED, shape="scale", density=5.0), None, id="words that are shorter"),
        pytest.param(replace(DRIFTED, shape="scale", density=40.0), True, id="fifty times shorter"),
        pytest.param(
            replace(DRIFTED, shape="most", compared_share=0.9, density=30.0),
            None,
            id="a few words are longer",
        ),
        pytest.param(replace(BYTES, relative_norm=1.0, shape="cone", density=1.3), True, id="a cone"),
        pytest.param(replace(BYTES, reserved_share=0.5), True, id="half of it no words"),
        pytest.param(replace(BYTES, reserved_share=0.4), None, id="words for the most part"),
        pytest.param(replace(DRIFTED, contrast=2.0, compared_share=0.9), None, id="a loose majority"),
    ],
)
def test_one_population_is_judged_by_its_shape_and_its_names(
    population: UndertrainedPopulation, candidate: bool | None
) -> None:
    (result,) = judged([population])
    assert result == replace(population, candidate=candidate)


@pytest.mark.parametrize(
    ("populations", "note"),
    [
        pytest.param([DRIFTED], None, id="nothing is undecided"),
        pytest.param([BYTES], f"300 {LOOSE}", id="one that is loose"),
        pytest.param([DRIFTED, BYTES], None, id="a dense one beside it"),
        pytest.param(
            [replace(SCALE, shape="initial values", density=1.6), BYTES],
            f"300 {LOOSE}",
            id="not dense enough",
        ),
        pytest.param([replace(NUMBERS, compared_share=0.3, rows=900)] * 2, CLUSTERS, id="several far out"),
        pytest.param([replace(DRIFTED, contrast=2.0, compared_share=0.9)], UNDECIDED, id="most rows"),
        pytest.param([replace(DRIFTED, compared_share=0.99)], UNDECIDED, id="nearly all rows"),
        pytest.param(
            [replace(DRIFTED, compared_share=0.99), replace(SCALE, shape="initial values", density=1.6)],
            None,
            id="nearly all rows, and some that kept their initial values",
        ),
        pytest.param(
            [replace(NUMBERS, compared_share=0.3, rows=900, density=40.0)] * 2, None, id="several, very dense"
        ),
    ],
)
def test_why_it_is_not_known_which_rows_count(
    populations: list[UndertrainedPopulation], note: str | None
) -> None:
    assert undecided_note(judged(populations)) == note


def test_of_several_scales_around_one_centre_none_counts() -> None:
    middle, scale = replace(SCALE, shape="middle"), replace(SCALE, shape="scale", density=2.0)
    assert [item.candidate for item in judged([middle])] == [True]
    assert [item.candidate for item in judged([middle, scale])] == [None, None]


def test_of_several_cones_none_counts() -> None:
    cone = replace(BYTES, relative_norm=1.0, shape="cone", density=1.3)
    assert [item.candidate for item in judged([cone, cone])] == [None, None]


def test_rows_that_do_not_count_are_remarked() -> None:
    assert remark(judged([DRIFTED])) is None
    left_out = str(remark(judged([DRIFTED, NUMBERS, BYTES])))
    assert left_out.startswith("300 rows lie close together, but outside")
    assert left_out.endswith(f"300 {LOOSE}, and they are not counted")
