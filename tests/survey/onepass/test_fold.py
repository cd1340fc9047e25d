"""One pass gives the same bits for any division of the stream, in constant memory."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np
import pytest
import torch
import xxhash
from numpy.typing import NDArray
from support.matrices import CODES, TORCH, cloud, plant, raw, repeat

from survey.api import measure, open_matrix
from survey.errors import SurveyError
from survey.measures import measure_result
from survey.numerics.decoding import widen
from survey.numerics.dtypes import FLOATS
from survey.onepass import fold as one_pass
from survey.onepass import row_identity, row_threads
from survey.onepass.fold import fold
from survey.onepass.geometry import slab_rows
from survey.onepass.projection import signs
from survey.onepass.sums import RowSums
from survey.onepass.sums_cpu import CompiledSums
from survey.records.blocks import Block


def bits(value: Any) -> Any:  # Any: whatever a column may hold
    """The value as something that is equal only if every bit is."""
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, tuple):
        return tuple(map(bits, value))
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        return {field.name: bits(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value


def measured_bits(
    blocks: Iterable[Block], tensor: torch.Tensor, threads: int | None = None
) -> dict[str, Any]:
    """Every column and the per-token table, bit by bit."""
    form, (rows, dims) = FLOATS[CODES[tensor.dtype]], tensor.shape
    with fold(blocks, form, (rows, dims), "cpu", threads=threads) as folded:
        result: dict[str, Any] = bits(measure_result(folded, threads=threads or 1))
        return result


def matrix(code: str, rows: int = 2 * 1024 + 7, dims: int = 5) -> torch.Tensor:
    """Black holes in and across chunks, zero rows, a row that is not finite."""
    tensor = repeat(cloud(code, rows, dims), [3, 1023, 1024], [9, rows - 1], [100, 101, 102])
    tensor[[200, 1040]], tensor[600] = 0.0, torch.inf
    plant(tensor, 700, "nan")
    return tensor


def cut(stored: bytearray, block_bytes: int) -> Iterator[bytearray]:
    for start in range(0, len(stored), block_bytes):
        yield stored[start : start + block_bytes]


# ---- the same bits


def test_bits_tell_apart_what_equality_does_not() -> None:
    assert bits(0.0) != bits(-0.0)
    assert bits(np.zeros(1)) != bits(-np.zeros(1))
    assert bits((math.nan,)) == bits((math.nan,))


@pytest.mark.parametrize("code", TORCH)
@pytest.mark.parametrize(
    "block_bytes",
    [
        pytest.param(7, id="blocks within a row"),
        pytest.param(1009, id="cuts within rows and within elements"),
        pytest.param(1 << 14, id="blocks shorter than a chunk"),
        pytest.param(40_001, id="blocks longer than a chunk"),
    ],
)
def test_same_bits_whatever_the_blocks(block_bytes: int, code: str) -> None:
    tensor = matrix(code)
    whole = measured_bits([raw(tensor)], tensor)
    assert measured_bits(cut(raw(tensor), block_bytes), tensor) == whole


def test_same_bits_from_blocks_of_one_byte() -> None:
    tensor = matrix("F32", rows=1200)
    assert measured_bits(cut(raw(tensor), 1), tensor) == measured_bits([raw(tensor)], tensor)


def test_same_bits_from_views_of_one_buffer() -> None:
    tensor = matrix("BF16")
    view = memoryview(raw(tensor))
    views = [view[start : start + 3333] for start in range(0, len(view), 3333)]
    assert measured_bits(views, tensor) == measured_bits([raw(tensor)], tensor)


@pytest.mark.parametrize("code", TORCH)
@pytest.mark.parametrize("rows_per_slab", [32, 64, 256, 512])
def test_same_bits_whatever_the_rows_of_a_slab(
    rows_per_slab: int, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensor = matrix(code)
    whole = measured_bits([raw(tensor)], tensor)
    assert slab_rows(5 * tensor.itemsize) == 1024
    monkeypatch.setattr(one_pass, "slab_rows", lambda row_bytes: rows_per_slab)
    assert measured_bits([raw(tensor)], tensor) == whole


@pytest.mark.parametrize("code", TORCH)
def test_same_bits_whatever_the_number_of_threads(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = matrix(code, rows=1500, dims=300)
    monkeypatch.setattr(one_pass, "slab_rows", lambda row_bytes: 32)  # 47 slabs to share out
    monkeypatch.setattr(row_threads, "LEAST_ROWS", 70)
    result = [measured_bits([raw(tensor)], tensor, threads) for threads in (1, 2, 3, 8, 16)]
    assert all(other == result[0] for other in result)


@pytest.mark.parametrize("code", FLOATS)
def test_every_word_of_a_format_is_widened_exactly(code: str) -> None:
    """One element a row: its column sum is its value, and its norm the value without sign."""
    form = FLOATS[code]
    made = np.random.default_rng(0)
    words = np.arange(65536) if form.bits <= 16 else made.integers(0, 1 << form.bits, 65536, dtype=np.uint64)
    stored = words.astype(f"<u{form.item_bytes}").tobytes()  # of 8 bits, over and over
    with np.errstate(invalid="ignore"):
        values = widen(stored, form, 1).reshape(-1)
    sums = CompiledSums(form, 1, 32)
    for start in range(0, 65536, 4096):  # some rows from every part
        row = sums.of(stored[start * form.item_bytes : (start + 1) * form.item_bytes], RowSums.empty(1))
        if np.isfinite(values[start]) and values[start]:
            ((_, column),) = row.columns.items()
            assert column[0] == values[start]
    whole = RowSums.empty(65536)
    CompiledSums(form, 1, 65536).of(stored, whole)
    assert np.array_equal(whole.finite, np.isfinite(values))
    assert np.array_equal(whole.norms[whole.finite], np.abs(values[whole.finite]))


# ---- the order of summation, as it is written at the top of survey/onepass/sums.py


def folded_in_halves(lanes: NDArray[np.float64]) -> NDArray[np.float64]:
    while len(lanes) > 1:
        lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
    return lanes[0]


def test_columns_are_summed_pairwise_within_a_chunk_and_chunk_by_chunk() -> None:
    tensor = cloud("F64", 1024 + 77, 5)
    total = np.zeros(5)
    for start in (0, 1024):
        sums = np.zeros((1024, 5))
        rows = tensor[start : start + 1024].numpy()
        sums[: len(rows)] = rows
        while len(sums) > 1:
            sums = np.array([sums[pair] + sums[pair + 1] for pair in range(0, len(sums), 2)])
        total += sums[0]
    with fold([raw(tensor)], FLOATS["F64"], (1024 + 77, 5), "cpu") as folded:
        assert folded.total.tobytes() == total.tobytes()


def test_squares_are_summed_in_256_lanes_of_dimensions() -> None:
    tensor = cloud("F32", 4, 600)
    norms = []
    for row in tensor.numpy().astype(np.float64):
        lanes = np.zeros(256)
        for dim, value in enumerate(row):
            lanes[dim % 256] += value * value
        norms.append(np.sqrt(folded_in_halves(lanes)))
    with fold([raw(tensor)], FLOATS["F32"], (4, 600), "cpu") as folded:
        assert folded.norms.tobytes() == np.array(norms).tobytes()


def test_rows_are_sketched_in_256_lanes_of_signed_dimensions() -> None:
    tensor = cloud("F32", 4, 600)
    expected = []
    for row in tensor.numpy().astype(np.float64):
        lanes = np.zeros(256)
        for dim, value in enumerate(row):
            odd = xxhash.xxh3_64_intdigest(dim.to_bytes(8, "little")) % 2
            lanes[dim % 256] += -value if odd else value
        while len(lanes) > 32:
            lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
        expected.append(lanes)
    with fold([raw(tensor)], FLOATS["F32"], (4, 600), "cpu") as folded:
        directions = np.array(expected) / folded.norms[:, None]
        assert folded.directions.tobytes() == directions.astype(np.float32).tobytes()


def test_directions_in_128_lanes_have_length_1_and_are_rounded_to_bfloat16() -> None:
    tensor = cloud("F32", 40, 600)
    tensor[3], tensor[5, 7], tensor[6] = 0.0, torch.nan, 1e-30
    expected = []
    for row in tensor.numpy().astype(np.float64):
        lanes = np.zeros(256)
        for dim, value in enumerate(row * signs(600)):
            lanes[dim % 256] += value
        lanes = lanes[:128] + lanes[128:]
        squared = folded_in_halves(lanes * lanes)
        usable = 0.0 < squared < np.inf
        expected.append(lanes * (1.0 / np.sqrt(squared)) if usable else np.zeros(128))
    with fold([raw(tensor)], FLOATS["F32"], (40, 600), "cpu") as folded:
        rounded = torch.tensor(np.array(expected).astype(np.float32)).bfloat16().view(torch.int16)
        assert folded.fine_directions.tobytes() == rounded.numpy().tobytes()


def test_sketched_distances_are_unbiased() -> None:
    made = np.random.default_rng(1)
    pairs = made.normal(size=(400, 2, 900)).astype(np.float32)
    with fold([bytearray(pairs.tobytes())], FLOATS["F32"], (800, 900), "cpu") as folded:
        rows = (folded.directions * folded.norms[:, None]).reshape(400, 2, 32)
    estimated = ((rows[:, 0] - rows[:, 1]) ** 2).sum(axis=1)
    ratio = estimated / ((pairs[:, 0] - pairs[:, 1]).astype(np.float64) ** 2).sum(axis=1)
    assert abs(ratio.mean() - 1) < 4 * 0.25 / np.sqrt(400)  # four standard errors
    assert 0.2 < ratio.std() < 0.3


# ---- constant memory


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[IO[bytes]]:
    """The temporary files that were really opened."""
    tensor = repeat(cloud("F32", 200, 4), *PAIRS)
    measured_bits([raw(tensor)], tensor)  # loading the compiler opens some, too
    files: list[IO[bytes]] = []
    original = tempfile.TemporaryFile

    def recording(*arguments: Any, **options: Any) -> IO[bytes]:
        files.append(original(*arguments, **options))
        return files[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", recording)
    return files


PAIRS = [(row, row + 1) for row in range(0, 200, 2)]


def test_vectors_of_black_holes_go_to_a_file_past_the_limit(
    opened: list[IO[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    tensor = repeat(cloud("F32", 200, 4), *PAIRS)  # 100 vectors of 16 bytes
    in_memory = measured_bits([raw(tensor)], tensor)
    assert opened == []
    monkeypatch.setattr(row_identity, "SPOOL_BYTES", 160)
    assert measured_bits([raw(tensor)], tensor) == in_memory
    (file,) = opened
    assert file.closed


def test_vectors_of_black_holes_stay_in_memory_up_to_the_limit(
    opened: list[IO[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_identity, "SPOOL_BYTES", 1600)
    tensor = repeat(cloud("F32", 200, 4), *PAIRS)
    measured_bits([raw(tensor)], tensor)
    assert opened == []


def test_the_file_is_closed_when_the_stream_breaks(
    opened: list[IO[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_identity, "SPOOL_BYTES", 16)
    tensor = repeat(cloud("F32", 1024, 4), *PAIRS)

    def breaking() -> Iterator[bytearray]:
        yield raw(tensor)
        raise OSError("the stream broke")

    with pytest.raises(OSError, match="the stream broke"):
        measured_bits(breaking(), tensor, threads=1)
    (file,) = opened
    assert file.closed


def test_a_black_hole_keeps_one_vector_however_many_rows_it_has() -> None:
    tensor = repeat(cloud("F32", 50, 4), range(40), [45, 46])
    with fold([raw(tensor)], FLOATS["F32"], (50, 4), "cpu") as folded:
        kept = b"".join(folded.identity.vectors(rows_at_once=1))
    assert kept == bytes(raw(tensor[[0, 45]]))


# ---- row hashes


def test_row_hash_is_the_low_half_of_xxh3_128_of_the_row() -> None:
    """Of eight zero bytes it is 2c0a8a99dc147d54 45c3b49d035665b2."""
    tensor = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    with fold([raw(tensor)], FLOATS["F64"], (2, 1), "cpu") as folded:
        hashes = folded.identity.row_hashes()
    assert hashes.dtype == np.uint64
    assert hashes[0] == 0x45C3B49D035665B2
    assert hashes[1] == xxhash.xxh3_128_intdigest(b"\0\0\0\0\0\0\xf0\x3f") & (2**64 - 1)


def test_hashes_are_of_the_rows_bytes_wherever_the_stream_was_cut() -> None:
    tensor = matrix("F16")
    stored = raw(tensor)
    expected = [xxhash.xxh3_128_intdigest(stored[at : at + 10]) % 2**64 for at in range(0, len(stored), 10)]
    with fold(cut(stored, 4097), FLOATS["F16"], (2055, 5), "cpu") as folded:
        assert folded.identity.row_hashes().tolist() == expected


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([[1.0, 2.0]], "is a list, expected a torch tensor, a numpy array, or a model's matrix"),
        (
            "org/model",
            "is a str, expected a torch tensor, a numpy array, or a model's matrix from survey.open_matrix",
        ),
        (np.ones((2, 2), dtype=np.int32), "dtype is torch.int32, expected one of .*: convert it first"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused_by_its_kind(given: object, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        measure(given)  # type: ignore[arg-type]


def test_a_tensor_without_memory_of_its_own_is_measured_or_refused() -> None:
    negative = torch._neg_view(torch.ones(40, 8))  # type: ignore[attr-defined]
    assert measure(negative).centroid_l2 == measure(-torch.ones(40, 8)).centroid_l2
    with pytest.raises(ValueError, match="cannot be laid out in memory"):
        measure(torch.zeros(1).expand(1 << 40, 64))  # 256 TiB


@pytest.mark.parametrize("name", ["a" * 5000, "a/b\0c"])
def test_a_name_that_no_file_system_takes_is_no_model(name: str) -> None:
    with pytest.raises(SurveyError):
        open_matrix(name)
