"""Planted matrices as quantised checkpoints, made by gguf's quantizers and by the demo's of MLX."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from support.checkpoints import Stored, single
from support.gguf_models import coded, decoded, gguf_file

from jobs.demo.twins import MLX_BITS, MLX_GROUP, mlx_affine

Rows = NDArray[np.float64]
Files = dict[str, bytes]
CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False}
STEM = "lm_head"
GGUF_TYPES = ("Q8_0", "Q5_0", "Q5_1", "Q4_0", "Q4_1", "MXFP4")


def as_bf16(rows: Rows) -> Files:
    """[V, D] as it is before."""
    stored = torch.from_numpy(rows).bfloat16().view(torch.uint8).numpy().tobytes()
    return single({f"{STEM}.weight": Stored("BF16", rows.shape, stored)}, CONFIG)


def as_gguf(rows: Rows, kind: str) -> Files:
    """[V, D] as a file of llama.cpp, made from BF16 as most are."""
    whole = torch.from_numpy(rows).bfloat16().float().numpy()
    return {f"model-{kind}.gguf": gguf_file({"output.weight": coded(whole, kind)})}


def as_mlx(rows: Rows) -> Files:
    """[V, D] as a folder of MLX, 4 bits."""
    parts = zip(("weight", "scales", "biases"), mlx_affine(torch.from_numpy(rows).bfloat16()), strict=True)
    settings = {"group_size": MLX_GROUP, "bits": MLX_BITS, "mode": "affine"}
    config = {**CONFIG, "quantization": settings}
    tensors = save({f"{STEM}.{name}": part for name, part in parts})
    return {"config.json": json.dumps(config).encode(), "model.safetensors": tensors}


def as_fp8(rows: Rows) -> Files:
    """[V, D] in floats of 8 bits without a scale."""
    stored = torch.from_numpy(rows).to(torch.float8_e4m3fn).view(torch.uint8).numpy().tobytes()
    return single({f"{STEM}.weight": Stored("F8_E4M3", rows.shape, stored)}, CONFIG)


QUANTISATIONS: Mapping[str, Callable[[Rows], Files]] = {
    **{kind: partial(as_gguf, kind=kind) for kind in GGUF_TYPES},
    "mlx-4bit-g64": as_mlx,
    "F8_E4M3": as_fp8,
}


def values_of_gguf(rows: Rows, kind: str) -> Rows:
    """[V, D] after quantisation."""
    return decoded(coded(rows.astype(np.float32), kind))


def values_of_mlx(rows: Rows) -> Rows:
    """[V, D] after quantisation."""
    levels, scales, biases = (part.float().numpy() for part in _unpacked(rows))
    groups = levels.reshape(len(rows), -1, MLX_GROUP)
    return (groups * scales[..., None] + biases[..., None]).reshape(rows.shape).astype(np.float64)


def _unpacked(rows: Rows) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Levels [V, D], scales and biases [V, D / 64]."""
    packed, scales, biases = mlx_affine(torch.from_numpy(rows).bfloat16())
    words = packed.numpy()[..., None] >> np.arange(0, 32, MLX_BITS, dtype=np.uint32)
    levels = (words & np.uint32((1 << MLX_BITS) - 1)).reshape(rows.shape)
    return torch.from_numpy(levels.astype(np.int32)), scales, biases
