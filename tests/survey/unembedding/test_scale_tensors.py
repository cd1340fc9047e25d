"""Matrices in 8 bits: their values, and the scale that the files hold beside them."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.checkpoints import CONFIG, TIED, Stored, sharded, single, stored, write
from support.commands import Ran
from support.reference import assert_equal, reference
from support.scaled_matrices import (
    DIMS,
    EIGHT_BITS,
    HOLES,
    ROWS,
    factors,
    in_8_bits,
    located,
    matrix,
    measured,
)

import survey
from jobs.demo.hub.local_hub import LocalHub
from survey.errors import NotThere
from survey.numerics.decoding import biased_exponents, widen
from survey.numerics.dtypes import FLOATS
from survey.unembedding.scale_tensors import SUFFIXES

HEAD = "lm_head.weight"
CODES = pytest.mark.parametrize("code", EIGHT_BITS)


# ---- values


@CODES
def test_all_256_values_are_torchs(code: str) -> None:
    words = torch.arange(256, dtype=torch.uint8)
    expected = words.view(EIGHT_BITS[code]).to(torch.float64).numpy()
    values = widen(bytes(words), FLOATS[code], 256)[0]
    assert np.array_equal(values, expected, equal_nan=True)
    assert np.array_equal(np.signbit(values)[[0, 128]], [False, True])


@pytest.mark.parametrize(
    ("code", "byte", "exponent"),
    [
        ("F8_E4M3", 0b0_0111_000, 7),  # 1.0
        ("F8_E4M3", 0b1_1111_111, 15),  # NaN
        ("F8_E4M3", 0b0_0000_001, 0),
        ("F8_E5M2", 0b0_01111_00, 15),  # 1.0
        ("F8_E5M2", 0b1_11111_00, 31),  # -infinity
        ("F8_E5M2", 0b0_00001_11, 1),
    ],
)
def test_the_exponent_field_is_the_dtypes(code: str, byte: int, exponent: int) -> None:
    assert biased_exponents(bytes([byte]), FLOATS[code], 1).tolist() == [[exponent]]


@CODES
@pytest.mark.parametrize("shape", [(40, 16), (1025, 8), (300, 257)], ids=str)
def test_every_column_agrees_with_the_reference(code: str, shape: tuple[int, int]) -> None:
    words = in_8_bits(code, *shape, [3, 30, 31], [7, 9]).copy()
    words[12], words[13, 2], words[14] = 0, 0x7F, 0x80  # zeros, a NaN, minus zeros
    if code == "F8_E5M2":
        words[15, 0] = 0x7C  # an infinity
    tensor = torch.from_numpy(words).view(EIGHT_BITS[code])
    assert_equal(survey.measure(tensor), reference(words.tobytes(), code, shape))


@CODES
def test_all_bytes_are_measured(code: str) -> None:
    words = np.random.default_rng(3).integers(0, 256, (500, 3), dtype=np.uint8)
    tensor = torch.from_numpy(words).view(EIGHT_BITS[code])
    assert_equal(survey.measure(tensor), reference(words.tobytes(), code, (500, 3)))


# ---- scales


KINDS = {
    "one-number": ((), "tensor", {}),
    "one-number-in-a-list": ((1,), "tensor", {}),
    "rows": ((ROWS,), "row", {}),
    "rows-as-a-column": ((ROWS, 1), "row", {}),
    "tiles": ((3, 1), "128×72", {}),
    "tiles-both-ways": ((3, 3), "128×32", {}),
    "stated-tiles": ((3, 2), "100×48", {"quantization_config": {"weight_block_size": [100, 48]}}),
}


def spread(made: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    """The factor of each element, [V, D]."""
    expanded = np.empty((ROWS, DIMS))
    rows, dims = {"128×72": (128, 72), "128×32": (128, 32), "100×48": (100, 48), "row": (1, DIMS)}.get(
        KINDS[kind][1], (ROWS, DIMS)
    )
    table = made.reshape(-(-ROWS // rows), -(-DIMS // dims))
    for row in range(ROWS):
        for dim in range(DIMS):
            expanded[row, dim] = table[row // rows, dim // dims]
    return expanded


@CODES
@pytest.mark.parametrize("kind", KINDS)
def test_every_column_of_scaled_values_agrees_with_the_reference(
    tmp_path: Path, kind: str, code: str
) -> None:
    shape, per, config = KINDS[kind]
    words = in_8_bits(code, ROWS, DIMS, *HOLES)
    made, scale = factors(*shape)
    name = "lm_head.weight_scale_inv"
    write(tmp_path, single({HEAD: matrix(code, words), name: scale}, CONFIG | config))
    assert located(tmp_path).identity.scale == f"{name} per {per}"
    expected = reference(words.tobytes(), code, (ROWS, DIMS), spread(made, kind))
    measurement = measured(tmp_path)
    assert measurement.black_hole_sizes == (3, 2, 2)  # as stored, also if the scale makes rows differ
    assert_equal(measurement, expected)


def test_rows_of_very_different_scales_are_summed_apart(tmp_path: Path) -> None:
    words = in_8_bits("F8_E4M3", ROWS, DIMS, *HOLES, [10, 11])
    made = np.full((ROWS, 1), 0.01, dtype="<f4")
    made[5], made[10], made[11] = 1e25, 1e-30, np.nan
    made[20] = np.inf
    scale = Stored("F32", (ROWS, 1), made.tobytes())
    write(tmp_path, single({HEAD: matrix("F8_E4M3", words), "lm_head.weight_scale": scale}))
    with np.errstate(invalid="ignore"):
        expected = reference(
            words.tobytes(), "F8_E4M3", (ROWS, DIMS), np.repeat(made.astype(np.float64), DIMS, axis=1)
        )
    assert_equal(measured(tmp_path), expected)


@pytest.mark.parametrize(
    ("dtype", "one_half"),
    [("F32", b"\0\0\0\x3f"), ("BF16", b"\0\x3f"), ("F16", b"\0\x38"), ("F8_E8M0", b"\x7e")],
)
@pytest.mark.parametrize("suffix", ["_scale_inv", "_scale", ".scale"])
def test_a_scale_is_known_by_its_name_in_every_dtype(
    tmp_path: Path, suffix: str, dtype: str, one_half: bytes
) -> None:
    words = in_8_bits("F8_E4M3", 50, 8)
    plain = {HEAD: matrix("F8_E4M3", words)}
    write(tmp_path / "plain", single(plain))
    write(tmp_path / "scaled", single({**plain, HEAD + suffix: Stored(dtype, (1,), one_half)}))
    raw, half = measured(tmp_path / "plain"), measured(tmp_path / "scaled")
    assert raw.centroid_l2 is not None
    assert half.centroid_l2 == raw.centroid_l2 / 2
    assert half.exponents_all == raw.exponents_all
    assert np.array_equal(half.tokens.row_hash, raw.tokens.row_hash)
    assert located(tmp_path / "plain").identity.scale is None


def test_the_scale_of_a_tied_embedding_is_its_own(tmp_path: Path) -> None:
    embed = "model.embed_tokens.weight"
    tensors = {
        embed: matrix("F8_E4M3", in_8_bits("F8_E4M3", 50, 8)),
        "model.embed_tokens.weight_scale": factors(1)[1],
        "model.layers.0.mlp.up_proj.weight_scale": factors(1, seed=2)[1],
    }
    write(tmp_path, single(tensors, CONFIG | TIED | {"quantization_config": {"quant_method": "fp8"}}))
    assert located(tmp_path).identity.scale == "model.embed_tokens.weight_scale per tensor"


@pytest.mark.parametrize("name", ["lm_head.scale", "lm_head.weights_scaling_factor"])
@pytest.mark.parametrize("shape", [(1,), (300,), (300, 1), (3, 1), (6, 9), (1, 72), (300, 9)], ids=str)
def test_a_scale_of_other_writers_is_applied_whatever_its_tiles(
    tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    words = in_8_bits("F8_E4M3", 300, 72)
    made, scale = factors(*shape)
    write(tmp_path, single({HEAD: matrix("F8_E4M3", words), name: scale}))
    table = made.reshape(shape if len(shape) == 2 else (-1, 1))
    rows, dims = (-(-300 // table.shape[0]), -(-72 // table.shape[1]))
    if table.shape[0] == 3:
        rows = 128  # of the sizes that cut 300 rows into three, the power of two
    whole = np.repeat(np.repeat(table, rows, axis=0)[:300], dims, axis=1)[:, :72]
    assert_equal(measured(tmp_path), reference(words.tobytes(), "F8_E4M3", (300, 72), whole))


@pytest.mark.parametrize(
    "beside",
    [
        "lm_head.weight_scale_2",
        "lm_head.scales",
        "lm_head.weight_global_scale",
        "lm_head.weight_zero_point",
        "lm_head.input_scale",
        "lm_head.scale_input",
        "lm_head.scale_inputs_inv",
        "lm_head.scaling",
        "lm_head_scale",
        "lm_head.weight:scale",
    ],
)
def test_what_sounds_like_a_scale_is_never_passed_over(tmp_path: Path, beside: str) -> None:
    tensors = {HEAD: matrix("F8_E4M3", in_8_bits("F8_E4M3", 30, 8)), beside: factors(1)[1]}
    with pytest.raises(NotThere) as caught:
        located(write(tmp_path, single(tensors)))
    assert caught.value.reason == "quantised-head"
    assert beside in caught.value.problem
    assert HEAD in caught.value.problem


@pytest.mark.parametrize(
    "beside",
    [
        "lm_head.input_scale",
        "lm_head.output_scale",
        "lm_head.scale_input",
        "lm_head.bias",
        "lm_head_norm.scale",
        "layers.0.scales",
    ],
)
def test_what_scales_something_else_is_no_matter_beside_the_heads_own(tmp_path: Path, beside: str) -> None:
    tensors = {HEAD: matrix("F8_E4M3", in_8_bits("F8_E4M3", 30, 8)), "lm_head.weight_scale": factors(1)[1]}
    write(tmp_path, single({**tensors, beside: factors(1, seed=3)[1]}))
    assert located(tmp_path).identity.scale == "lm_head.weight_scale per tensor"


def test_two_scales_are_one_too_many(tmp_path: Path) -> None:
    tensors = {HEAD: matrix("F8_E4M3", in_8_bits("F8_E4M3", 30, 8))}
    tensors |= {"lm_head.weight_scale": factors(1)[1], "lm_head.scale": factors(30)[1]}
    with pytest.raises(NotThere, match=r"beside lm_head\.scale, which no rule applies"):
        located(write(tmp_path, single(tensors)))


@pytest.mark.parametrize(
    ("config", "tile"),
    [
        pytest.param({"weight_block_size": [40, 24]}, "40×24", id="transformers"),
        pytest.param(
            {"config_groups": {"group_0": {"weights": {"block_structure": "40x24"}}}},
            "40×24",
            id="compressed-tensors",
        ),
        pytest.param(
            {"config_groups": {"group_0": {"weights": {"block_structure": [40, 24]}}}},
            "40×24",
            id="as-a-list",
        ),
    ],
)
def test_a_tile_of_any_size_is_used_if_the_config_states_it(
    tmp_path: Path, config: dict[str, Any], tile: str
) -> None:
    tensors = {HEAD: matrix("F8_E4M3", in_8_bits("F8_E4M3", 300, 72)), "lm_head.scale": factors(8, 3)[1]}
    write(tmp_path, single(tensors, CONFIG | {"quantization_config": config}))
    assert located(tmp_path).identity.scale == f"lm_head.scale per {tile}"


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize(
    "beside", [*(suffix[1:] for suffix in SUFFIXES), "qweight", "scales", "weight_packed"]
)
def test_a_matrix_in_16_bits_beside_codes_or_a_scale_is_refused(
    tmp_path: Path, dtype: str, beside: str
) -> None:
    write(tmp_path, single({HEAD: stored(50, 8, dtype=dtype), f"lm_head.{beside}": factors(1)[1]}))
    with pytest.raises(NotThere, match=beside) as caught:
        located(tmp_path)
    assert caught.value.reason == "quantised-head"


@pytest.mark.parametrize(
    "name",
    """
    lm_head.weight_s lm_head.s lm_head.amax lm_head._extra_state lm_head.dequant_factor lm_head.gain
    lm_head.weight_exponent lm_head.weight_exp_bias lm_head.weight_norm lm_head.weight.s lm_head_weight_inv
    scales.lm_head.weight weight_scale.lm_head fp8_scales.lm_head lm_head_scales.weight
    """.split(),  # noqa: SIM905 - words
)
@pytest.mark.parametrize("known", [False, True], ids=["alone", "beside-a-known-one"])
def test_whatever_may_scale_a_matrix_in_8_bits_is_refused(tmp_path: Path, name: str, known: bool) -> None:
    tensors = {HEAD: stored(50, 8, dtype="F8_E4M3"), name: factors(1)[1]}
    if known:
        tensors["lm_head.weight_scale"] = factors(1)[1]
    write(tmp_path, single(tensors))
    with pytest.raises(NotThere, match=re.escape(name)) as caught:
        located(tmp_path)
    assert caught.value.reason == "quantised-head"


@pytest.mark.parametrize(
    ("scale", "problem"),
    [
        pytest.param(factors(7)[1], "of shape [7] fits no tiles of lm_head.weight [300, 72]", id="a-list"),
        pytest.param(factors(72)[1], "of shape [72] fits no tiles", id="one-for-each-dimension"),
        pytest.param(factors(7, 5)[1], "of shape [7, 5] fits no tiles", id="a-table"),
        pytest.param(factors(3, 1, 1)[1], "of shape [3, 1, 1] fits no tiles", id="three-dimensions"),
        pytest.param(stored(1, dtype="I32"), "is I32 [1], expected factors in F32", id="integers"),
        pytest.param(Stored("F32", (0, 3), b""), "of shape [0, 3] fits no tiles", id="nothing"),
    ],
)
def test_a_scale_that_does_not_fit_is_refused(tmp_path: Path, scale: Stored, problem: str) -> None:
    words = in_8_bits("F8_E4M3", ROWS, DIMS)
    write(tmp_path, single({HEAD: matrix("F8_E4M3", words), "lm_head.weight_scale": scale}))
    with pytest.raises(NotThere) as caught:
        located(tmp_path)
    assert caught.value.reason == "quantised-head"
    assert problem in caught.value.problem


def test_a_scale_in_another_shard_is_read_from_the_hub_and_reported(hub: LocalHub, survey: Any) -> None:
    words = in_8_bits("F8_E4M3", ROWS, DIMS, *HOLES)
    made, scale = factors(3, 1)
    shards = [{HEAD: matrix("F8_E4M3", words)}, {"lm_head.weight_scale_inv": scale}]
    hub.add_repo("org/fp8", sharded(shards))
    ran: Ran = survey("run", "org/fp8", "--catalog", "c", "--endpoint", hub.endpoint, "--executor", "serial")
    assert ran.code == 0, ran.out + ran.err
    ask: Callable[..., Ran] = survey
    answer = ask("sql", "SELECT dtype, scale, centroid_l2 FROM models", "--catalog", "c", "--format", "json")
    expected = reference(words.tobytes(), "F8_E4M3", (ROWS, DIMS), spread(made, "tiles"))

    (row,) = json.loads(answer.out)
    assert (row["dtype"], row["scale"]) == ("F8_E4M3", "lm_head.weight_scale_inv per 128×72")
    assert row["centroid_l2"] == pytest.approx(expected["centroid_l2"], rel=1e-6)


@pytest.mark.parametrize(
    ("tile", "tiles"), [([128, 10**9], (2, 1)), ([10**30, 64], (1, 2))], ids=["wide", "beyond-64-bits"]
)
def test_a_stated_tile_is_no_larger_than_the_matrix(
    tile: list[int], tiles: tuple[int, int], tmp_path: Path
) -> None:
    words = in_8_bits("F8_E4M3", 256, 128)
    scales, scale = factors(*tiles)
    config = CONFIG | {"quantization_config": {"weight_block_size": tile}}
    tensors = {HEAD: matrix("F8_E4M3", words), "lm_head.weight_scale_inv": scale}
    folder = write(tmp_path, single(tensors, config))
    spec = located(folder).scale
    assert spec is not None
    assert spec.tile == (256 // tiles[0], 128 // tiles[1])
    with survey.open_matrix(folder) as opened:
        scale = opened.scale()
    assert scale is not None
    expected = np.repeat(np.repeat(scales, spec.tile[0], 0), spec.tile[1], 1)
    assert np.array_equal(scale.times(np.ones((256, 128)), np.arange(256)), expected)
