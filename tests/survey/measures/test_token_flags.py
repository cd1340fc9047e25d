"""Flags of rows that their stored table decides by itself."""

from __future__ import annotations

import pytest
from support.matrices import folded

from survey.measures import measure_result
from survey.measures.token_flags import token_flags
from survey.onepass.result import PassResult
from survey.records.measured_columns import Tokens

ONE, OTHER, THIRD = (0.6, 0.8), (0.8, 0.6), (1.0, 0.0)


def measured_tokens(result: PassResult) -> Tokens:
    tokens = measure_result(result).tokens
    assert tokens is not None
    return tokens


@pytest.mark.parametrize(
    ("name", "row", "flagged"),
    [
        ("zero", (0.0, 0.0), True),
        ("zero", (0.0, 1e-9), False),
        ("near_zero", (0.0, 1e-9), True),
        ("near_zero", (0.0, 0.5), False),
        ("nonfinite", (float("nan"), 0.0), True),
        ("nonfinite", (1e30, 0.0), False),
        ("identical", ONE, True),
        ("identical", (0.6, 0.9), False),
    ],
)
def test_a_row_has_the_flags_of_its_values(name: str, row: tuple[float, float], flagged: bool) -> None:
    with folded([ONE, OTHER, THIRD, row]) as result:
        flags = token_flags(measured_tokens(result))
    assert bool(flags[name][3]) is flagged


def test_searches_that_were_not_made_flag_nothing() -> None:
    with folded([ONE, OTHER, THIRD]) as result:
        assert set(token_flags(measured_tokens(result))) >= {"identical", "zero", "near_zero", "nonfinite"}
