"""Quantised twins of the demo's models, as people publish them: one for llama.cpp, one for MLX."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors.torch import save_file

from jobs.demo.checkpoints import FILE_TIME, MODELS, DemoModel, planted

MLX_GROUP, MLX_BITS = 64, 4
_SMALLEST_STEP = np.float32(1e-7)


@dataclass(frozen=True, slots=True)
class Twin:
    """A repository of a quantised model. card: what the Hub states of it; write: makes its files."""

    repo: str
    original: DemoModel
    card: Mapping[str, Any]
    write: Callable[[DemoModel, Path], None]


def write_twin(twin: Twin, folder: Path) -> None:
    """Write a twin's files into a folder; the same bytes and times every time."""
    folder.mkdir(parents=True)
    twin.write(twin.original, folder)
    for path in folder.iterdir():
        os.utime(path, (FILE_TIME, FILE_TIME))


def write_gguf(model: DemoModel, folder: Path) -> None:
    """A file of llama.cpp with the tied embedding in Q8_0."""
    codes = gguf.quantize(planted(model.cloud).float().numpy(), gguf.GGMLQuantizationType.Q8_0)
    name = model.repo.rpartition("/")[2]
    writer = gguf.GGUFWriter(folder / f"{name}-Q8_0.gguf", str(model.config["model_type"]))
    writer.add_name(name)
    writer.add_vocab_size(model.cloud.rows)
    writer.add_embedding_length(model.cloud.dims)
    writer.add_tensor("token_embd.weight", codes, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    for layer in range(model.layers):  # which a survey does not read
        writer.add_tensor(f"blk.{layer}.ffn_up.weight", np.zeros((8_000, 256), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_mlx(model: DemoModel, folder: Path) -> None:
    """A folder of MLX: levels of 4 bits, and a scale and a bias for 64 of them."""
    levels, scales, biases = mlx_affine(planted(model.cloud))
    stem = model.tensor.removesuffix(".weight")
    tensors = {f"{stem}.weight": levels, f"{stem}.scales": scales, f"{stem}.biases": biases}
    for layer in range(model.layers):
        tensors[f"model.layers.{layer}.input_layernorm.weight"] = torch.zeros(8_000, 256).bfloat16()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "mlx"})
    stated = {"group_size": MLX_GROUP, "bits": MLX_BITS, "mode": "affine"}
    config = {**model.config, "quantization": stated, "quantization_config": stated}
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def mlx_affine(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """MLX's levels, packed in uint32 [V, D / 8], scales and biases [V, D / 64] of a matrix [V, D].

    The end of each group that is farther from zero is a level, and so is zero.
    """
    groups = weight.float().numpy().reshape(len(weight), -1, MLX_GROUP)  # [V, D / 64, 64]
    low, high = groups.min(axis=2), groups.max(axis=2)
    most = np.float32((1 << MLX_BITS) - 1)
    step = np.maximum((high - low) / most, _SMALLEST_STEP)
    from_low = np.abs(low) > np.abs(high)
    step, edge = np.where(from_low, step, -step), np.where(from_low, low, high)
    steps_to_edge = np.round(edge / step)
    step = np.where(steps_to_edge != 0, edge / np.where(steps_to_edge != 0, steps_to_edge, 1), step)
    bias = np.where(steps_to_edge != 0, edge, np.float32(0))
    levels = np.clip(np.round((groups - bias[..., None]) / step[..., None]), 0, most).astype(np.uint32)
    words = levels.reshape(len(weight), -1, 32 // MLX_BITS) << np.arange(0, 32, MLX_BITS, dtype=np.uint32)
    packed = torch.from_numpy(np.bitwise_or.reduce(words, axis=2))
    return packed, torch.from_numpy(step).to(weight.dtype), torch.from_numpy(bias).to(weight.dtype)


TWINS = (
    Twin(
        "demo/Qwen3-mini-Instruct-GGUF",
        MODELS[0],
        {"library_name": "gguf", "model_tags": ("gguf", "demo")},
        write_gguf,
    ),
    Twin(
        "demo/Qwen3-mini-Instruct-MLX-4bit",
        MODELS[0],
        {
            "library_name": "mlx",
            "model_tags": ("mlx", "safetensors", "demo"),
            "pipeline_tag": "text-generation",
        },
        write_mlx,
    ),
)
