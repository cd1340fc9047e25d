"""A pass over quantised rows: sums of decoded values, identity of stored bytes, and no exponents."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from survey.measures import measure_result
from survey.numerics.ggml_types import block_format
from survey.onepass.fold import fold
from survey.records.measured_columns import Measurement

DIMS = 512


def measured(name: str, codes: np.ndarray, threads: int = 1, blocks: int = 1) -> Measurement:
    form = block_format(name)
    assert form is not None
    stream = [memoryview(part.tobytes()) for part in np.array_split(codes, blocks)]
    with fold(stream, form, (len(codes), DIMS), "cpu", threads=threads) as result:
        return measure_result(result)


def planted(name: str, rows: int = 1300) -> tuple[np.ndarray, np.ndarray]:
    """Rows in a type that the package encodes, five of them equal; and their decoded values in float64."""
    values = np.random.default_rng(7).normal(0.01, 0.02, (rows, DIMS)).astype(np.float32)
    values[[3, 70, 900, 901, 1299]] = values[3]
    kind = gguf.GGMLQuantizationType[name]
    codes = gguf.quantize(values, kind)
    return codes, gguf.dequantize(codes, kind).astype(np.float64)


@pytest.mark.parametrize("name", ["Q8_0", "Q5_1", "Q4_0", "MXFP4"])
def test_norms_and_centroids_are_those_of_the_decoded_values(name: str) -> None:
    codes, values = planted(name)
    figures = measured(name, codes)
    assert figures.centroid_l2 == pytest.approx(np.linalg.norm(values.mean(0)), rel=1e-12)
    assert figures.token_norm_mean == pytest.approx(np.linalg.norm(values, axis=1).mean(), rel=1e-12)
    assert (figures.dtype, figures.vocab_rows, figures.hidden_dim) == (name, 1300, DIMS)


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0"])
def test_rows_are_identical_if_their_stored_bytes_are(name: str) -> None:
    figures = measured(name, planted(name)[0])
    assert [hole.token_ids for hole in figures.black_holes] == [(3, 70, 900, 901, 1299)]
    assert (figures.dead_count, figures.unique_rows) == (5, 1296)


def test_codes_have_no_exponents() -> None:
    figures = measured("Q8_0", planted("Q8_0")[0])
    assert figures.exponent_entropy_bits is None
    assert figures.exponents_all is None
    assert figures.exponents_dead is None
    assert figures.shared_exponent_dims is None


@pytest.mark.parametrize(("threads", "blocks"), [(2, 7), (4, 2)])
def test_neither_threads_nor_blocks_change_a_bit(threads: int, blocks: int) -> None:
    codes, _ = planted("Q5_0")
    assert str(measured("Q5_0", codes, threads, blocks)) == str(measured("Q5_0", codes))
