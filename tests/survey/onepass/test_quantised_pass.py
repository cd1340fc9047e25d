"""A pass over quantised rows: sums of decoded values, identity of stored bytes, and no exponents."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from support.ggml_codebooks import CODEBOOK_QUANTISERS
from support.ggml_quantisers import quantised

from survey.measures import measure_result
from survey.numerics.block_formats import BlockFormat
from survey.numerics.dtypes import FLOATS
from survey.numerics.ggml_types import block_format
from survey.numerics.row_formats import RowFormat, row_format_of
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


def sums_of(form: RowFormat, stored: np.ndarray, dims: int, threads: int) -> list[bytes]:
    """Every sum of a pass but the exponents, bit by bit."""
    with fold([memoryview(stored.tobytes())], form, (len(stored), dims), "cpu", threads=threads) as result:
        sums = [result.norms, result.finite, result.directions, result.fine_directions]
        return [part.tobytes() for part in (*sums, *result.totals.values())]


@pytest.mark.parametrize("rows", [1, 31, 70, 2061], ids=lambda rows: f"{rows} rows")
@pytest.mark.parametrize("lengths", ["of one length", "of very different lengths", "some without length"])
@pytest.mark.parametrize("code", ["Q8_0", "Q4_0", "Q5_1", "Q6_K", "mlx-6bit-g64/BF16", "nvfp4", "mxfp8"])
def test_sums_are_those_of_the_values_in_float32(code: str, lengths: str, rows: int) -> None:
    dims, form = 768, row_format_of(code, code)
    assert isinstance(form, BlockFormat)
    stored = np.random.default_rng(rows).integers(0, 256, (rows, form.row_bytes(dims)), dtype=np.uint8)
    stored &= 0x3F  # finite
    if lengths == "of very different lengths":
        stored[::3] &= 0x07
    elif lengths == "some without length":
        stored[::7], stored[5::11] = 0, 0xFF  # zeros, and infinite or no numbers in most formats
    values = form.values(stored.tobytes(), dims)
    assert sums_of(form, stored, dims, 2) == sums_of(FLOATS["F32"], values.view(np.uint8), dims, 1)


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


HOLES = [(5, 9, 11, 100, 299), (40, 41), (60, 200)]
TYPES = sorted(kind.name for kind in gguf.GGMLQuantizationType if block_format(kind.name))


def planted_head(name: str) -> np.ndarray:
    """Rows [300, D] off-centre, with three groups of equal ones; of three values if a type has no others."""
    dice = np.random.default_rng(11)
    values = dice.normal(0.01, 0.02, (300, DIMS)).astype(np.float32)
    if name.startswith("TQ"):
        values = np.where(
            values > 0.02, np.float32(0.03), np.where(values < 0, np.float32(-0.03), np.float32(0))
        )
    for first, *others in HOLES:
        values[others] = values[first]
    return values


@pytest.mark.parametrize("name", TYPES)
def test_a_planted_head_of_every_type_has_its_groups_and_the_lengths_of_the_truth(name: str) -> None:
    """Groups exactly; lengths as another decoder gives them, and as they were but for the type's rounding."""
    truth = planted_head(name)
    codes = quantised(truth, name)
    figures = measured(name, codes)
    assert sorted(hole.token_ids for hole in figures.black_holes) == sorted(HOLES)
    assert (figures.dead_count, figures.unique_rows) == (9, 294)
    lengths = np.linalg.norm(
        gguf.dequantize(codes, gguf.GGMLQuantizationType[name]).astype(np.float64), axis=1
    )
    stored = [figures.token_norm_min, figures.token_norm_mean, figures.token_norm_max]
    assert stored == pytest.approx([lengths.min(), lengths.mean(), lengths.max()], rel=1e-9)
    form = block_format(name)
    assert form is not None
    whole = np.linalg.norm(truth.astype(np.float64), axis=1)
    # Eight elements that one entry of a table stands for are shorter than those that were rounded to it.
    assert np.abs(lengths / whole - 1).mean() < form.half_step * (1.3 if name in CODEBOOK_QUANTISERS else 1)
