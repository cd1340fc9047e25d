"""The published indicators, against a plain computation in float64."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from survey.measures.unused_distances import StoredMatrix, unused_distances
from survey.numerics.dtypes import FLOATS
from survey.numerics.row_decoder import RowDecoder
from survey.records.settings import ReferenceTokens
from survey.vocabulary.unused_tokens import chosen_rows, parse_reference

Rows = NDArray[np.float64]


def stored(rows: Rows, block_rows: int = 700) -> StoredMatrix:
    blocks = [
        bytearray(rows[start : start + block_rows].tobytes()) for start in range(0, len(rows), block_rows)
    ]
    return StoredMatrix(lambda: iter(blocks), rows.shape[0], RowDecoder(FLOATS["F64"], rows.shape[1]))


def expected(rows: Rows, unused: list[int]) -> tuple[Rows, Rows]:
    """As the definitions read: centred SVD for the component, means and cosines written out."""
    _, _, turned = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    first = turned[0]
    without = np.array([row - (row @ first) * first for row in rows])
    mean, mean_without = rows[unused].mean(axis=0), without[unused].mean(axis=0)
    cosines = without @ mean_without / (np.linalg.norm(without, axis=1) * np.linalg.norm(mean_without))
    return 1 - cosines, np.linalg.norm(rows - mean, axis=1)


@pytest.mark.parametrize("offset", [0.0, 3.0], ids=["centred", "off-centre"])
def test_distances_are_those_of_the_definitions(offset: float) -> None:
    made = np.random.default_rng(1)
    rows = made.normal(size=(2500, 40)) * np.linspace(0.5, 2, 40) + offset * made.normal(size=40)
    unused = [3, 1030, 2499]
    result = unused_distances(stored(rows), unused)
    cosine, l2 = expected(rows, unused)
    assert np.allclose(result.cosine, cosine, rtol=0, atol=1e-9)
    assert np.allclose(result.l2, l2, rtol=1e-12)


def test_rows_without_numbers_have_no_distance_and_change_none() -> None:
    made = np.random.default_rng(2)
    rows = made.normal(size=(1500, 12))
    holed = np.insert(rows, [5, 1400], np.nan, axis=0)
    holed[5, 3] = np.inf
    result, whole = unused_distances(stored(holed), [1, 5, 9]), unused_distances(stored(rows), [1, 8])
    assert np.isnan(result.cosine[[5, 1401]]).all()
    assert np.isnan(result.l2[1401])
    kept = np.delete(np.arange(1502), [5, 1401])
    assert np.allclose(result.cosine[kept], whole.cosine, atol=1e-9)
    assert np.allclose(result.l2[kept], whole.l2)


def test_a_row_of_zero_has_no_direction() -> None:
    rows = np.random.default_rng(3).normal(size=(100, 8))
    rows[7] = 0.0
    result = unused_distances(stored(rows), [1, 2])
    assert np.isnan(result.cosine[7])
    assert result.l2[7] == pytest.approx(np.linalg.norm(rows[[1, 2]].mean(axis=0)))


TEXTS = [
    "[unused0]",
    "the",
    "<unused12>",
    "<|reserved_special_token_3|>",
    "<s>",
    "[unused]",
    None,
    "7",
    "<SPECIAL_9>",
]


def test_a_tokenizers_own_unused_names_are_known() -> None:
    assert chosen_rows(ReferenceTokens(), TEXTS, 9) == [0, 2, 3, 8]
    assert chosen_rows(ReferenceTokens(), None, 9) == []
    phantom = np.arange(11) >= 9
    assert chosen_rows(ReferenceTokens(), TEXTS, 11, phantom) == [0, 2, 3, 8, 9, 10]
    assert chosen_rows(ReferenceTokens((4,)), TEXTS, 11, phantom) == [4]


def test_a_list_names_tokens_by_id_or_by_text() -> None:
    reference = parse_reference("# known\n4\nthe\n\n[unused]\n400\n the\n")
    assert reference.entries == (4, "the", "[unused]", 400, " the")
    assert chosen_rows(reference, TEXTS, 9) == [1, 4, 5]
