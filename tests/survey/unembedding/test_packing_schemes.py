"""Quantised heads that lie in several tensors: read with the values that their tools give, or refused by name."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from support.in_memory_checkpoint import HeldCheckpoint
from support.packed_heads import DIMS, HEAD, HEADS, NF4_STATE, ROWS, PackedHead, as_tensor, cloud, compressed

import survey
from survey.errors import SurveyError
from survey.numerics.row_decoder import RowDecoder
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate

CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": ROWS,
    "hidden_size": DIMS,
}


def written(
    folder: Path, tensors: dict[str, torch.Tensor], config: dict[str, Any], *, tied: bool = False
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    beside = {} if tied else {"model.embed_tokens.weight": torch.zeros(ROWS, DIMS).bfloat16()}
    save_file(
        {name: tensor.contiguous() for name, tensor in {**beside, **tensors}.items()},
        folder / "model.safetensors",
    )
    (folder / "config.json").write_text(json.dumps(CONFIG | {"tie_word_embeddings": tied} | config))
    return folder


def values_of(folder: Path) -> tuple[np.ndarray, survey.Matrix]:
    opened = survey.open_matrix(folder)
    stored = b"".join(bytes(block) for block in opened.blocks())
    return RowDecoder(opened.row_format, DIMS, opened.scale()).exact(stored, 0), opened


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_packed_head_has_the_values_of_its_tool(head: PackedHead, tmp_path: Path) -> None:
    values, opened = values_of(written(tmp_path, head.tensors, {"quantization_config": head.quantization}))
    assert np.allclose(values, head.truth, rtol=1e-6, atol=0)
    identity = opened.target.identity
    assert (identity.stored_as, identity.quantised, identity.scale) == (head.stored_as, True, head.scale)
    figures = survey.measure(opened)
    assert [hole.token_ids for hole in figures.black_holes] == [(3, 7, 8)]
    assert figures.centroid_l2 == pytest.approx(np.linalg.norm(head.truth.mean(0)), rel=1e-6)


mlx = pytest.importorskip("mlx.core", reason="MLX is not installed: its formats are not compared with itself")


def as_torch(array: Any) -> torch.Tensor:
    kinds = {mlx.uint32: np.uint32, mlx.uint8: np.uint8, mlx.float16: np.float16, mlx.float32: np.float32}
    if array.dtype == mlx.bfloat16:
        return torch.from_numpy(np.array(array.view(mlx.uint16))).view(torch.bfloat16)
    return torch.from_numpy(np.array(array).astype(kinds[array.dtype]))


def of_mlx(stem: str, dtype: Any, **settings: Any) -> tuple[dict[str, torch.Tensor], np.ndarray]:
    """The tensors of a module as MLX quantises it, and its values as MLX decodes them, in float32."""
    parts = mlx.quantize(mlx.array(cloud()).astype(dtype), **settings)
    wide = [
        part.astype(mlx.float32) if part.dtype in (mlx.bfloat16, mlx.float16) else part for part in parts[1:]
    ]
    decoded = np.array(mlx.dequantize(parts[0], *wide, **settings, dtype=mlx.float32))
    names = ("weight", "scales", "biases")
    return {f"{stem}.{name}": as_torch(part) for name, part in zip(names, parts, strict=False)}, decoded


AFFINE = [(bits, group) for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)]


@pytest.mark.parametrize(("bits", "group"), AFFINE)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_mlx_is_read_as_mlx_reads_it(dtype: str, bits: int, group: int, tmp_path: Path) -> None:
    settings = {"group_size": group, "bits": bits}
    tensors, decoded = of_mlx("lm_head", getattr(mlx, dtype), **settings)
    values, opened = values_of(written(tmp_path, tensors, {"quantization": settings}))
    assert np.array_equal(values, decoded.astype(np.float64))
    assert opened.target.identity.stored_as == f"mlx-{bits}bit-g{group}"


@pytest.mark.parametrize("mode", ["mxfp4", "mxfp8", "nvfp4"])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_the_float_modes_of_mlx_are_read(mode: str, tied: bool, tmp_path: Path) -> None:
    settings = {
        "mode": mode,
        "bits": 8 if mode == "mxfp8" else 4,
        "group_size": 16 if mode == "nvfp4" else 32,
    }
    tensors, decoded = of_mlx("model.embed_tokens" if tied else "lm_head", mlx.bfloat16, mode=mode)
    values, opened = values_of(written(tmp_path, tensors, {"quantization": settings}, tied=tied))
    assert np.array_equal(values, decoded.astype(np.float64))
    assert (opened.target.identity.stored_as, opened.target.identity.tied) == (mode, tied)


MODES = [{"bits": bits, "group_size": 64} for bits in (2, 3, 4, 5, 6, 8)]
MODES += [{"mode": mode} for mode in ("mxfp4", "mxfp8", "nvfp4")]


@pytest.mark.parametrize("settings", MODES, ids=str)
def test_a_planted_head_of_mlx_has_its_group_and_the_lengths_of_the_truth(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    """The group exactly; lengths but for the rounding that relatives expects of the type."""
    stated = {"mode": "affine", "bits": 4, "group_size": 32} | settings
    stated |= {"mxfp8": {"bits": 8}, "nvfp4": {"group_size": 16}}.get(stated["mode"], {})
    opened = survey.open_matrix(
        written(tmp_path, of_mlx("lm_head", mlx.bfloat16, **settings)[0], {"quantization": stated})
    )
    figures, truth = survey.measure(opened), np.linalg.norm(cloud().astype(np.float64), axis=1)
    assert [hole.token_ids for hole in figures.black_holes] == [(3, 7, 8)]
    assert (figures.dead_count, figures.unique_rows) == (3, ROWS - 2)
    assert figures.token_norm_mean == pytest.approx(truth.mean(), rel=opened.row_format.half_step)


def test_a_module_may_have_settings_of_its_own(tmp_path: Path) -> None:
    own = {"group_size": 32, "bits": 8}
    tensors, decoded = of_mlx("lm_head", mlx.bfloat16, **own)
    config = {"quantization": {"group_size": 64, "bits": 4, "lm_head": own, "model.embed_tokens": False}}
    values, opened = values_of(written(tmp_path, tensors, config))
    assert np.array_equal(values, decoded.astype(np.float64))
    assert opened.target.identity.stored_as == "mlx-8bit-g32"


@pytest.mark.parametrize(
    ("whole", "own"),
    [
        pytest.param({"mode": "mxfp4", "group_size": 32, "bits": 4}, {"group_size": 64, "bits": 8}, id="affine in MXFP4"),
        pytest.param({"mode": "affine", "group_size": 32, "bits": 8}, {"bits": 4}, id="groups as MLX makes them"),
        pytest.param({"group_size": 64, "bits": 4}, {"mode": "mxfp8", "group_size": 32, "bits": 8}, id="MXFP8 in affine"),
    ],
)  # fmt: skip
def test_settings_of_its_own_stand_for_themselves(
    whole: dict[str, Any], own: dict[str, Any], tmp_path: Path
) -> None:
    """As in mlx-community's gpt-oss, whose layers are in MXFP4 and whose matrices are affine."""
    tensors, decoded = of_mlx("language_model.lm_head", mlx.bfloat16, **own)
    table = {"language_model.model.embed_tokens.weight": torch.zeros(ROWS, DIMS).bfloat16()}
    config = {
        "quantization": {**whole, "language_model.lm_head": own, "lm_head": {"group_size": 128, "bits": 2}}
    }
    values, opened = values_of(written(tmp_path, {**tensors, **table}, config, tied=True))
    assert np.array_equal(values, decoded.astype(np.float64))
    assert opened.target.identity.tensor.startswith("language_model.lm_head.weight")


def test_the_tensors_of_a_head_may_lie_in_several_shards(tmp_path: Path) -> None:
    settings = {"group_size": 32, "bits": 6}
    tensors, decoded = of_mlx("lm_head", mlx.float16, **settings)
    tensors["model.embed_tokens.weight"] = torch.zeros(ROWS, DIMS).half()
    shard_of = {name: f"model-0000{1 + (name.endswith('s'))}-of-00002.safetensors" for name in tensors}
    for shard in set(shard_of.values()):
        save_file({name: tensors[name] for name in tensors if shard_of[name] == shard}, tmp_path / shard)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shard_of}))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"quantization": settings}))
    values, opened = values_of(tmp_path)
    assert np.array_equal(values, decoded.astype(np.float64))
    assert opened.target.identity.file == " + ".join(sorted(set(shard_of.values())))


def test_a_head_that_mlx_left_whole_is_a_plain_one(tmp_path: Path) -> None:
    tensors = {"lm_head.weight": torch.from_numpy(cloud()).bfloat16()}
    _, opened = values_of(written(tmp_path, tensors, {"quantization": {"group_size": 64, "bits": 4}}))
    assert (opened.target.identity.stored_as, opened.target.identity.quantised) == ("BF16", False)


MLX_4 = of_mlx("lm_head", mlx.bfloat16, group_size=64, bits=4)[0]
PACKED = HEADS["compressed-tensors, 4 bits in groups"]
PACKED_ROWS, BY_TABLE = HEADS["compressed-tensors, 4 bits by row"], HEADS["bitsandbytes, NF4"]
ZEROS = torch.zeros(1)
REFUSED: dict[str, tuple[dict[str, torch.Tensor], dict[str, Any], str]] = {
    "MLX whose config says nothing": (MLX_4, {}, "quantised by MLX"),
    "MLX of other bits": (MLX_4, {"quantization": {"group_size": 64, "bits": 8}}, "need other shapes"),
    "MLX of other groups": (MLX_4, {"quantization": {"group_size": 32, "bits": 4}}, "need other shapes"),
    "MLX of no bits": (MLX_4, {"quantization": {"group_size": 64, "bits": None}}, "states None bits"),
    "MLX in a mode that nobody knows": (
        {name: MLX_4[name].view(torch.uint8) if "scales" in name else MLX_4[name] for name in list(MLX_4)[:2]},
        {"quantization": {"group_size": 32, "bits": 4, "mode": "fp5"}},
        "rows of fp5 are not read",
    ),
    "MLX without biases": (
        {name: MLX_4[name] for name in list(MLX_4)[:2]},
        {"quantization": {"group_size": 64, "bits": 4}},
        "expected biases",
    ),
    "MLX that is stated not to be": (
        MLX_4,
        {"quantization": {"group_size": 64, "bits": 4, "lm_head": False}},
        "the config states that lm_head is not quantised",
    ),
    "zero points that no file holds": (
        PACKED.tensors,
        {"quantization_config": compressed("pack-quantized", num_bits=4, group_size=128, symmetric=False)},
        "no group of the config fits",
    ),
    "zero points that lie across rows": (
        {**PACKED.tensors, f"{HEAD}_zero_point": torch.zeros(5, 2, dtype=torch.int32)},
        {"quantization_config": PACKED.quantization},
        "weight_zero_point lies across rows",
    ),
    "columns in another order": (
        {**PACKED.tensors, f"{HEAD}_g_idx": torch.zeros(DIMS, dtype=torch.int32)},
        {"quantization_config": PACKED.quantization},
        "weight_g_idx lies across rows",
    ),
    "groups that the config does not state": (
        PACKED.tensors,
        {"quantization_config": {"quant_method": "compressed-tensors", "config_groups": {}}},
        "no group of the config fits",
    ),
    "factors of factors": (
        {**HEADS["bitsandbytes, NF4"].tensors, f"{HEAD}.nested_absmax": ZEROS},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
        "nested_absmax lies across rows",
    ),
    "rows in the order of an old GPU's kernel": (
        {**HEADS["bitsandbytes, bytes"].tensors, "lm_head.weight_format": torch.tensor(2, dtype=torch.uint8)},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
        r"weight_format is \[2\], expected one byte, 0",
    ),
    "GPTQ": ({"lm_head.qweight": ZEROS, "lm_head.scales": ZEROS.clone()}, {"quantization_config": {"quant_method": "gptq"}}, "gptq"),
    **{
        f"MLX whose module states {own!r}": (
            MLX_4,
            {"quantization": {"group_size": 64, "bits": 4, "lm_head": own}},
            problem,
        )
        for own, problem in [
            (None, "the config states that lm_head is not quantised"),
            ("4bit", "the config states 4bit for lm_head"),
        ]
    },
    **{
        f"integers in {what}": (
            PACKED.tensors,
            {"quantization_config": compressed("pack-quantized", num_bits=4, group_size=128) | change},
            "no group of the config fits",
        )
        for what, change in {
            "the format of a kernel": {"format": "marlin-24"},
            "a format that nobody knows": {"format": "pack-rotated"},
            "rows without every other pair": {"sparsity_config": {"format": "sparse-24-bitmask"}},
        }.items()
    },
    **{
        f"integers that state {stated}": (
            PACKED.tensors,
            {"quantization_config": compressed("pack-quantized", num_bits=4, group_size=128, **stated)},
            "no group of the config fits",
        )
        for stated in ({"actorder": "group"}, {"actorder": True}, {"strategy": "block"})
    },
    "rows that are filled up": (
        {name: part for name, part in PACKED_ROWS.tensors.items() if not name.endswith("_shape")},
        {"quantization_config": PACKED_ROWS.quantization, "hidden_size": DIMS - 4},
        "rows of 252 elements are filled up to 256",
    ),
    "a shape of other rows": (
        {**PACKED_ROWS.tensors, f"{HEAD}_shape": torch.tensor([ROWS, DIMS - 4])},
        {"quantization_config": PACKED_ROWS.quantization},
        r"weight_shape states the shape \[40, 252\], expected \[40, 256\]",
    ),
    "levels of another table": (
        {**BY_TABLE.tensors, f"{HEAD}.quant_map": torch.linspace(-1, 1, 16)},
        {"quantization_config": BY_TABLE.quantization},
        "quant_map states other levels than those of nf4-g64",
    ),
    **{
        f"a description of {stated}": (
            {**BY_TABLE.tensors, f"{HEAD}.quant_state.bitsandbytes__nf4": as_tensor(NF4_STATE | stated)},
            {"quantization_config": BY_TABLE.quantization},
            problem,
        )
        for stated, problem in [
            ({"quant_type": "fp4"}, "states quant_type fp4, expected nf4"),
            ({"blocksize": 128}, "states blocksize 128, expected 64"),
            ({"shape": [DIMS, ROWS]}, "states shape"),
            ({"nested_offset": 0.1}, "factors of factors are not read"),
        ]
    },
    "a description that is none": (
        {**BY_TABLE.tensors, f"{HEAD}.quant_state.bitsandbytes__nf4": torch.zeros(80, dtype=torch.uint8)},
        {"quantization_config": BY_TABLE.quantization},
        "nf4 is no JSON",
    ),
    "two factors for the whole": (
        {**HEADS["ModelOpt, NVFP4"].tensors, f"{HEAD}_scale_2": torch.zeros(2)},
        {"quantization_config": {"quant_method": "modelopt"}},
        "expected one factor",
    ),
}  # fmt: skip


# Names of other tools' formats, and bits and groups with which a row takes the bytes of that format.
OTHER_FORMATS = [
    ("Q8_0", 8, 16), ("Q4_0", 4, 16), ("Q5_0", 5, 16), ("IQ4_NL", 4, 16), ("F8_E4M3", 7, 8), ("MXFP4", 4, 32),
    ("int8-g16/F16", 8, 8), ("nf4-g64/F32", 4, 16), ("bnb-int8-g64/F32", 8, 16),
]  # fmt: skip
REFUSED |= {
    f"MLX in the mode {mode!s:.20}": (
        {"lm_head.weight": torch.zeros(ROWS, DIMS * bits // 32, dtype=torch.uint32),
         "lm_head.scales": torch.zeros(ROWS, DIMS // group, dtype=torch.uint8)},
        {"quantization": {"mode": mode, "bits": bits, "group_size": group}},
        "rows of .* are not read",
    )
    for mode, bits, group in (*OTHER_FORMATS, ([], 4, 32), ({}, 4, 32), (1.5, 4, 32))
}  # fmt: skip
REFUSED["levels of no byte"] = (
    {**HEADS["bitsandbytes, NF4"].tensors, HEAD: torch.zeros(0, 1, dtype=torch.uint8)},
    {"quantization_config": {"quant_method": "bitsandbytes"}},
    "expected levels in U8",
)


@pytest.mark.parametrize(("tensors", "config", "problem"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_by_the_name_of_its_scheme(
    tensors: dict[str, torch.Tensor], config: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(SurveyError, match=problem) as caught:
        survey.open_matrix(written(tmp_path, tensors, config))
    assert caught.value.reason == "quantised-head"


CHANGE_VALUES = (
    "weight_scale_inv", "weight.scale", "scale", "pre_quant_scale", "_weight_act_pre_scale", "g_idx", "zeros",
    "smoothing_factor", "rotation", "weight_multiplier", "weight.absmax2", "of_nobody_knows_what",
)  # fmt: skip
LEAVE_VALUES = ("bias", "input_scale", "input_global_scale", "input_zero_point", "output_scale", "k_scale")


def is_read(head: PackedHead, beside: str) -> bool:
    table = {"model.embed_tokens.weight": torch.zeros(ROWS, DIMS).bfloat16()}
    content = save({**table, **head.tensors, f"lm_head.{beside}": torch.full((1,), 2.0)})
    config = json.dumps(CONFIG | {"quantization_config": head.quantization}).encode()
    try:
        locate(lay_out(HeldCheckpoint({"model.safetensors": content, "config.json": config})), "output")
    except SurveyError as error:
        return (error.reason, f"lm_head.{beside}" in str(error)) != ("quantised-head", True)
    return True


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_what_may_change_the_values_of_a_packed_head_is_refused(head: PackedHead) -> None:
    """A factor that nobody applied would give other lengths than the model's."""
    assert [name for name in CHANGE_VALUES if is_read(head, name)] == []
    assert [name for name in LEAVE_VALUES if not is_read(head, name)] == []


STRANGE = (
    None,
    True,
    0,
    -1,
    3,
    7,
    16,
    63,
    1 << 63,
    10**400,
    1.5,
    float("nan"),
    "4",
    "mxfp4",
    "x" * 5_000,
    [],
    {},
    [4],
    {"bits": 4},
)


def mutated(config: Any, dice: random.Random) -> Any:
    """The same JSON with one value replaced by another, or left out."""
    inner = [key for key, value in config.items() if isinstance(value, dict) and value]
    if inner and dice.random() < 0.8:
        key = dice.choice(inner)
        return config | {key: mutated(config[key], dice)}
    key = dice.choice([*config, "bits", "mode", "lm_head", "symmetric"])
    kept = {name: value for name, value in config.items() if name != key}
    return kept if dice.random() < 0.2 else kept | {key: dice.choice(STRANGE)}


def test_hundreds_of_mutated_configs_are_read_or_refused() -> None:
    """What is read has the shape of the matrix that was written."""
    dice, outcomes = random.Random(9), {"read": 0, "refused": 0}
    heads = [
        (MLX_4, {"quantization": {"group_size": 64, "bits": 4, "lm_head": {"group_size": 64, "bits": 4}}})
    ]
    heads += [(head.tensors, {"quantization_config": head.quantization}) for head in HEADS.values()]
    table = {"model.embed_tokens.weight": torch.zeros(ROWS, DIMS).bfloat16()}
    stored = [(save({**table, **tensors}), CONFIG | config) for tensors, config in heads]
    for _ in range(400):
        content, config = dice.choice(stored)
        files = {"model.safetensors": content, "config.json": json.dumps(mutated(config, dice)).encode()}
        try:
            spec = locate(lay_out(HeldCheckpoint(files)), "output").spec
            assert (spec.shape, spec.name.partition(".")[0]) == ((ROWS, DIMS), "lm_head")
            outcomes["read"] += 1
        except SurveyError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 60
