"""The matrix itself: its dtype and its shape."""

from __future__ import annotations

import pytest
from support.matrices import folded

from survey.measures.shape import shape
from survey.records.measured_columns import Shape


@pytest.mark.parametrize("code", ["F64", "F32", "F16", "BF16"])
def test_dtype_rows_and_dimensions_are_those_of_the_matrix(code: str) -> None:
    with folded([(1, 2), (3, 4), (5, 6)], code) as three_rows:
        assert shape(three_rows) == Shape(dtype=code, vocab_rows=3, hidden_dim=2)


def test_one_row_of_one_element_has_a_shape() -> None:
    with folded([(7,)]) as one_element:
        assert shape(one_element) == Shape(dtype="F64", vocab_rows=1, hidden_dim=1)
