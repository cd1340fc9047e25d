"""The dtype in which a matrix is exact; twins in several dtypes, and what is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.matrices import cloud, raw

from survey.measures.exactness import exactness
from survey.numerics.dtypes import FLOATS
from survey.numerics.row_formats import row_format_of
from survey.numerics.scale import Scale
from survey.onepass.fold import fold
from survey.onepass.result import PassResult

# ---- what matrices are exact in


def measured_exactness(rows: NDArray[np.generic], code: str) -> tuple[str | None, PassResult]:
    stored = np.ascontiguousarray(rows).view(np.uint8).reshape(-1)
    with fold([stored.data], FLOATS[code], rows.shape, "cpu", threads=1) as result:
        return exactness(result).exact_in, result


def values_of(kind: str) -> NDArray[np.float32]:
    """40 rows of 130 values that this dtype holds, and no shorter one."""
    chance = np.random.default_rng(3)
    wide = chance.normal(0, 0.02, (40, 130)).astype(np.float32)
    return {
        "F32": wide,
        "F16": wide.astype(np.float16).astype(np.float32),
        "BF16": (wide.view(np.uint32) & 0xFFFF0000).view(np.float32),
        "F8_E4M3": chance.integers(-15, 16, (40, 130)).astype(np.float32) / 64,
        "F8_E5M2": np.ldexp(chance.integers(4, 8, (40, 130)), chance.integers(-14, 12, (40, 130))).astype(
            np.float32
        ),
        "zeros": np.zeros((40, 130), np.float32),
    }[kind]


STORED = {"F64": np.float64, "F32": np.float32, "F16": np.float16}


@pytest.mark.parametrize(
    ("kind", "stored", "expected"),
    [
        ("F32", "F64", "F32"),
        ("F32", "F32", None),
        ("F16", "F64", "F16"),
        ("F16", "F32", "F16"),
        ("F16", "F16", None),
        ("BF16", "F64", "BF16"),
        ("BF16", "F32", "BF16"),
        ("BF16", "BF16", None),
        ("F8_E4M3", "F64", "F8_E4M3"),
        ("F8_E4M3", "F32", "F8_E4M3"),
        ("F8_E4M3", "F16", "F8_E4M3"),
        ("F8_E4M3", "BF16", "F8_E4M3"),
        ("F8_E5M2", "F32", "F8_E5M2"),
        ("F8_E5M2", "F16", "F8_E5M2"),
        ("F8_E5M2", "BF16", "F8_E5M2"),
        ("zeros", "F32", "F8_E4M3"),
    ],
)
def test_a_matrix_is_exact_in_the_narrowest_dtype_that_holds_it(
    kind: str, stored: str, expected: str | None
) -> None:
    values = values_of(kind)
    rows = as_bfloat16(values) if stored == "BF16" else values.astype(STORED[stored])
    assert measured_exactness(rows, stored)[0] == expected


def as_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    return (values.view(np.uint32) >> 16).astype(np.uint16)


def test_bfloat16_in_float16_is_exact_in_bfloat16() -> None:
    """Both have 16 bits; that bfloat16 stands first tells where the values came from."""
    values = (np.random.default_rng(1).normal(1, 0.2, (40, 130)).astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)  # fmt: skip
    assert measured_exactness(values.astype(np.float16), "F16")[0] == "BF16"


@pytest.mark.parametrize("row", [0, 17, 39])
@pytest.mark.parametrize(
    ("kind", "spoilt", "expected"),
    [
        pytest.param("BF16", 0x3F800001, None, id="one value that is exact in none"),
        pytest.param("BF16", 0x3F802000, None, id="one value that only float16 holds"),
        pytest.param("F16", 0x33000000, None, id="one value below float16, that bfloat16 holds"),
        pytest.param("F16", 0x3F800001, None, id="one value beyond float16"),
        pytest.param("F8_E4M3", 0x43E10000, "BF16", id="one value beyond the largest of 8 bits"),
        pytest.param("F8_E4M3", 0x3A800000, "F8_E5M2", id="one value below the least of F8_E4M3"),
        pytest.param("F8_E4M3", 0x7F800000, "F8_E5M2", id="an infinity, which F8_E4M3 has not"),
        pytest.param("BF16", 0x7FC00001, None, id="a NaN whose payload does not fit"),
        pytest.param("BF16", 0x7FC10000, "BF16", id="a NaN whose payload fits"),
        pytest.param("BF16", 0x80000000, "BF16", id="a negative zero"),
        pytest.param("BF16", 0x00000001, None, id="the smallest of float32"),
        pytest.param("BF16", 0x00010000, "BF16", id="the smallest of bfloat16"),
    ],
)
def test_one_value_decides(kind: str, spoilt: int, expected: str | None, row: int) -> None:
    values = values_of(kind).copy()
    if kind == "F8_E4M3":
        values = np.ldexp(np.sign(values) * 1.0, -3).astype(np.float32)  # which F8_E5M2 holds, too
    values.view(np.uint32)[row, 77] = spoilt
    assert measured_exactness(values, "F32")[0] == expected


@pytest.mark.parametrize("code", ["F8_E4M3", "F8_E5M2"])
def test_formats_of_8_bits_are_the_shortest(code: str) -> None:
    rows = np.random.default_rng(2).integers(0, 256, (40, 130), dtype=np.uint8)
    assert measured_exactness(rows, code)[0] is None


# ---- twins


def hashes_of(values: NDArray[np.float32], code: str) -> tuple[int, ...]:
    rows = as_bfloat16(values) if code == "BF16" else values.astype(STORED[code])
    result = measured_exactness(rows, code)[1]
    return tuple(result.value_hashes.tolist())


@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        ("F32", ("F32", "F64")),
        ("F16", ("F16", "F32", "F64")),
        ("BF16", ("BF16", "F32", "F64")),
        ("F8_E4M3", ("BF16", "F16", "F32", "F64")),
        ("zeros", ("BF16", "F16", "F32", "F64")),
    ],
)
def test_equal_values_have_equal_hashes_in_every_dtype(kind: str, codes: tuple[str, ...]) -> None:
    values = values_of(kind)
    assert len({hashes_of(values, code) for code in codes}) == 1


@pytest.mark.parametrize("code", ["F8_E4M3", "F8_E5M2"])
def test_8_bits_have_the_hashes_of_what_they_are_upcast_to(code: str) -> None:
    rows = np.random.default_rng(2).integers(0, 256, (40, 130), dtype=np.uint8)
    rows[(rows & 127) >= 124] = 5  # no NaN: torch gives all of them one payload
    dtype: torch.dtype = getattr(torch, FLOATS[code].torch_name)
    wide = torch.from_numpy(rows).view(dtype).to(torch.float32).numpy()
    result = measured_exactness(rows, code)[1]
    for other in ("BF16", "F16", "F32"):
        assert tuple(result.value_hashes.tolist()) == hashes_of(wide, other)


def test_a_row_of_bfloat16_has_its_row_hash() -> None:
    rows = cloud("BF16", 40, 130)
    with fold([raw(rows)], FLOATS["BF16"], (40, 130), "cpu") as result:
        assert result.value_hashes.tolist() == result.identity.row_hashes().tolist()


@pytest.mark.parametrize(("one", "other"), [("BF16", "F16"), ("F16", "BF16")])
def test_equal_bytes_of_two_dtypes_are_other_values(one: str, other: str) -> None:
    words = np.random.default_rng(5).integers(0x3C00, 0x3FFF, (40, 130), dtype=np.uint16)
    hashes = [set(measured_exactness(words, code)[1].value_hashes.tolist()) for code in (one, other)]
    assert not hashes[0] & hashes[1]


@pytest.mark.parametrize(
    ("one", "other"),
    [("mlx-4bit-g64/F16", "mlx-4bit-g64/BF16"), ("int8-row64/F32", "int8-row64s/F32"), ("nf4-g64/F32", "bnb-fp4-g64/F32")],
)  # fmt: skip
def test_equal_bytes_of_two_layouts_are_other_values(one: str, other: str) -> None:
    """Two of these pairs have one name in the catalog: their levels or factors are read in another way."""
    hashes = []
    for code in (one, other):
        form = row_format_of(code, code)
        rows = np.random.default_rng(5).integers(1, 60, (40, form.row_bytes(64)), dtype=np.uint8)
        with fold([rows.reshape(-1).data], form, (40, 64), "cpu", threads=1) as result:
            hashes.append(exactness(result).values_hash)
    assert hashes[0] != hashes[1]


SCALES = {
    "none": None,
    "one": Scale(np.ones((1, 1)), 40, 128),
    "a factor": Scale(np.full((1, 1), 0.3), 40, 128),
    "the same for each row": Scale(np.full((40, 1), 0.3), 1, 128),
    "the same for each tile": Scale(np.full((3, 2), 0.3), 16, 64),
    "its negative": Scale(np.full((1, 1), -0.3), 40, 128),
    "tiles": Scale(np.array([[0.3, 0.7]]), 40, 64),
    "tiles, exchanged": Scale(np.array([[0.7, 0.3]]), 40, 64),
}


def test_equal_bytes_with_other_factors_are_other_values() -> None:
    rows = np.random.default_rng(6).integers(40, 80, (40, 128), dtype=np.uint8)
    named: dict[int | None, list[str]] = {}
    for name, scale in SCALES.items():
        with fold([rows.reshape(-1).data], FLOATS["F8_E4M3"], (40, 128), "cpu", scale, threads=1) as result:
            figures = exactness(result)
            assert figures.exact_in is None
            assert len(figures.value_sketch or ()) == 40
            named.setdefault(figures.values_hash, []).append(name)
    assert list(named.values()) == [
        ["none", "one"],
        ["a factor", "the same for each row", "the same for each tile"],
        ["its negative"],
        ["tiles"],
        ["tiles, exchanged"],
    ]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_neither_threads_nor_blocks_change_a_hash(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.concatenate([values_of("F32"), values_of("BF16"), values_of("F16"), values_of("F8_E4M3")])
    values = np.concatenate([values] * 9)
    stored = values.view(np.uint8).reshape(-1)
    monkeypatch.setattr("survey.onepass.fold.slab_rows", lambda row_bytes: 32)
    blocks = [stored[start : start + 1009].data for start in range(0, len(stored), 1009)]
    with fold(blocks, FLOATS["F32"], values.shape, "cpu", threads=threads) as result:
        assert tuple(result.value_hashes.tolist()) == hashes_of(values, "F32")
        assert result.held_by == 0
