"""Quantised heads as the tools write them, and the values that they stand for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from survey.numerics.level_formats import E2M1, NF4

ROWS, DIMS = 40, 256
HEAD = "lm_head.weight"
Values = NDArray[np.float64]


@dataclass(frozen=True)
class PackedHead:
    """tensors: as in the file. truth: decoded in numpy, [V, D]. stored_as: what the catalog says."""

    tensors: dict[str, torch.Tensor]
    truth: Values
    stored_as: str
    quantization: dict[str, Any] = field(default_factory=dict)
    scale: str | None = None


def cloud() -> NDArray[np.float32]:
    """Rows off-centre, of which 3, 7 and 8 are equal."""
    values = np.random.default_rng(3).normal(0.01, 0.02, (ROWS, DIMS)).astype(np.float32)
    values[[7, 8]] = values[3]
    return values


def compressed(kind: str, **weights: Any) -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": {"type": "int", "symmetric": True, **weights}}
    return {"quant_method": "compressed-tensors", "format": kind, "config_groups": {"group_0": group}}


def packed_integers(bits: int, group: int | None) -> PackedHead:
    """compressed-tensors: levels from the lowest on, in words of 32 bits."""
    values, half = cloud().reshape(ROWS, -1, group or DIMS), 1 << (bits - 1)
    factors = torch.from_numpy(np.abs(values).max(2) / (half - 1)).half()
    factor = factors.numpy().astype(np.float32)[:, :, None]
    levels = np.clip(np.round(values / factor), -half, half - 1)
    stored = (levels + half).astype(np.uint32).reshape(ROWS, -1, 32 // bits)
    words = np.bitwise_or.reduce(stored << (bits * np.arange(32 // bits, dtype=np.uint32)), axis=2)
    tensors = {f"{HEAD}_packed": torch.from_numpy(words.view(np.int32)), f"{HEAD}_scale": factors,
               f"{HEAD}_shape": torch.tensor([ROWS, DIMS])}  # fmt: skip
    config = compressed(
        "pack-quantized", num_bits=bits, group_size=group, strategy="group" if group else "channel"
    )
    truth = (levels * factor).reshape(ROWS, DIMS).astype(np.float64)
    return PackedHead(tensors, truth, f"int{bits}-g{group}" if group else f"int{bits}-row", config)


def _four_bit_floats(whole: float) -> tuple[torch.Tensor, torch.Tensor, Values]:
    """E2M1 with a factor in E4M3 for 16 elements: packed, factors, values."""
    values = cloud().reshape(ROWS, -1, 16).astype(np.float64)
    factors = torch.from_numpy(np.abs(values).max(2) / 6 * whole).to(torch.float8_e4m3fn)
    factor = factors.double().numpy()[:, :, None] / whole
    levels = np.abs((values / factor)[..., None] - E2M1).argmin(-1)
    truth = (E2M1.astype(np.float64)[levels] * factor).reshape(ROWS, DIMS)
    pairs = levels.astype(np.uint8).reshape(ROWS, -1, 2)
    return torch.from_numpy(pairs[:, :, 0] | (pairs[:, :, 1] << 4)), factors, truth


def nvfp4(by: str) -> PackedHead:
    whole = float(np.float32(448 * 6 / np.abs(cloud()).max()))
    if by == "modelopt":  # multiplies
        factor = torch.tensor(1 / whole, dtype=torch.float32)
        packed, factors, truth = _four_bit_floats(1 / float(factor))
        tensors = {HEAD: packed, f"{HEAD}_scale": factors, f"{HEAD}_scale_2": factor,
                   "lm_head.input_scale": torch.tensor(1.0)}  # fmt: skip
        return PackedHead(tensors, truth, "nvfp4", {"quant_method": "modelopt", "quant_algo": "NVFP4"},
                          f"{HEAD}_scale_2 per tensor")  # fmt: skip
    packed, factors, truth = _four_bit_floats(whole)
    tensors = {f"{HEAD}_packed": packed, f"{HEAD}_scale": factors,
               f"{HEAD}_global_scale": torch.tensor([whole], dtype=torch.float32)}  # fmt: skip
    config = compressed("nvfp4-pack-quantized", num_bits=4, type="float", group_size=16)
    return PackedHead(tensors, truth, "nvfp4", config, f"{HEAD}_global_scale per tensor")


def mxfp8() -> PackedHead:
    values = cloud().reshape(ROWS, -1, 32)
    exponents = np.ceil(np.log2(np.abs(values).max(2) / 448)).astype(np.int64)
    levels = torch.from_numpy(values / np.exp2(exponents)[:, :, None].astype(np.float32)).to(
        torch.float8_e4m3fn
    )
    truth = (levels.double().numpy() * np.exp2(exponents)[:, :, None]).reshape(ROWS, DIMS)
    tensors = {
        HEAD: levels.reshape(ROWS, DIMS),
        f"{HEAD}_scale": torch.from_numpy((exponents + 127).astype(np.uint8)),
    }
    return PackedHead(
        tensors, truth, "mxfp8", compressed("mxfp8-quantized", num_bits=8, type="float", group_size=32)
    )


def signed_rows(by: str) -> PackedHead:
    """Bytes with a factor for each row."""
    values = cloud()
    factors = (np.abs(values).max(1) / (1 if by == "bitsandbytes" else 127)).astype(np.float32)
    share = factors / np.float32(127) if by == "bitsandbytes" else factors
    levels = np.round(values / share[:, None]).astype(np.int8)
    truth = (levels * share[:, None]).astype(np.float64)
    stored, kept = torch.from_numpy(levels), torch.from_numpy(factors)
    if by == "bitsandbytes":
        tensors = {
            HEAD: stored,
            "lm_head.SCB": kept,
            "lm_head.weight_format": torch.tensor(0, dtype=torch.uint8),
        }
        return PackedHead(
            tensors, truth, "bnb-int8-row", {"quant_method": "bitsandbytes", "load_in_8bit": True}
        )
    if by == "torchao":
        tensors = {"lm_head._weight_qdata": stored, "lm_head._weight_scale": kept}
        return PackedHead(tensors, truth, "int8-row", {"quant_method": "torchao"})
    tensors = {HEAD: stored, f"{HEAD}_scale": kept[:, None]}
    return PackedHead(tensors, truth, "int8-row", compressed("int-quantized", num_bits=8, strategy="channel"))


NF4_STATE = {"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [ROWS, DIMS]}


def as_tensor(state: Any) -> torch.Tensor:
    """JSON as bitsandbytes stores it."""
    return torch.frombuffer(bytearray(json.dumps(state).encode()), dtype=torch.uint8)


def nf4() -> PackedHead:
    """bitsandbytes: all elements in one column, the first of two in the upper half of a byte."""
    values = cloud().reshape(-1, 64)
    factors = np.abs(values).max(1).astype(np.float32)
    levels = np.abs((values / factors[:, None])[..., None] - NF4).argmin(-1).astype(np.uint8)
    truth = (NF4[levels] * factors[:, None]).reshape(ROWS, DIMS).astype(np.float64)
    pairs = levels.reshape(-1, 2)
    tensors = {
        HEAD: torch.from_numpy((pairs[:, 0] << 4) | pairs[:, 1])[:, None],
        f"{HEAD}.absmax": torch.from_numpy(factors),
        f"{HEAD}.quant_map": torch.from_numpy(NF4),
        f"{HEAD}.quant_state.bitsandbytes__nf4": as_tensor(NF4_STATE),
    }
    return PackedHead(tensors, truth, "nf4-g64", {"quant_method": "bitsandbytes", "load_in_4bit": True})


HEADS = {
    "compressed-tensors, 4 bits in groups": packed_integers(4, 128),
    "compressed-tensors, 8 bits in groups": packed_integers(8, 64),
    "compressed-tensors, 4 bits by row": packed_integers(4, None),
    "compressed-tensors, NVFP4": nvfp4("compressed-tensors"),
    "compressed-tensors, MXFP8": mxfp8(),
    "compressed-tensors, bytes": signed_rows("compressed-tensors"),
    "ModelOpt, NVFP4": nvfp4("modelopt"),
    "bitsandbytes, bytes": signed_rows("bitsandbytes"),
    "bitsandbytes, NF4": nf4(),
    "torchao, bytes": signed_rows("torchao"),
}
