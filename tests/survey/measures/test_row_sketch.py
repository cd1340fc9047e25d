"""The sketch of a matrix's rows: its smallest row hashes, of rows that say something about kinship."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from support.matrices import folded

from survey.measures import measure_result
from survey.measures.row_sketch import SKETCH_ROWS, row_sketch
from survey.onepass.result import PassResult
from survey.records.measured_columns import Tokens

Rows = Sequence[tuple[float, float]]
NAN = float("nan")


def measured_tokens(result: PassResult) -> Tokens:
    tokens = measure_result(result).tokens
    assert tokens is not None
    return tokens


@pytest.mark.parametrize(
    ("rows", "informative"),
    [
        pytest.param([(1, 0), (2, 0), (3, 0)], 3, id="rows of their own"),
        pytest.param([(1, 0), (0, 0)], 1, id="a zero row is left out"),
        pytest.param([(1, 0), (2, 0), (2, 0)], 1, id="a black hole is left out"),
        pytest.param([(1, 0), (NAN, 0)], 1, id="a row with a NaN is left out"),
    ],
)
def test_informative_rows_are_sketched(rows: Rows, informative: int) -> None:
    with folded(rows) as result:
        sketch = row_sketch(measured_tokens(result))
    assert (sketch.informative_rows, len(sketch.row_sketch)) == (informative, informative)


def test_a_sketch_holds_the_smallest_hashes_in_order() -> None:
    rows = [(float(number), 1.0) for number in range(1, SKETCH_ROWS + 100)]
    with folded(rows) as result:
        tokens = measured_tokens(result)
    assert list(row_sketch(tokens).row_sketch) == sorted(tokens.row_hash.tolist())[:SKETCH_ROWS]


def test_the_hash_of_the_matrix_tells_the_order_of_rows() -> None:
    hashes = []
    for rows in ([(1.0, 0.0), (2.0, 0.0)], [(2.0, 0.0), (1.0, 0.0)], [(1.0, 0.0), (2.0, 0.0)]):
        with folded(rows) as result:
            hashes.append(row_sketch(measured_tokens(result)).rows_hash)
    assert hashes[0] == hashes[2] != hashes[1]
    assert np.unique(hashes).size == 2
