"""Small checkpoints with planted black holes: the figures of real models, in miniature."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

# Qwen3-4B-Instruct-2507 has 13 black holes of 814, 704, 306, 228, 11, 10, 6, 5, 4, 4, 3, 3 and 2
# of 151,936 rows; here the four large ones are a tenth as large, as the vocabulary is.
QWEN3_HOLES = (81, 70, 31, 23, 11, 10, 6, 5, 4, 4, 3, 3, 2)
FILE_TIME = 1_600_000_000  # seconds: a demo has the same commits every time


@dataclass(frozen=True, slots=True)
class Cloud:
    """A cloud of rows: the length of its centroid, the norm of its rows, its identical rows.

    holes: populations of the planted black holes. dead_l2, angle_deg: length of the dead
    centroid and its angle to the live one. tiny_rows: rows of norm 2e-21, all different.
    """

    rows: int
    dims: int
    centre_l2: float
    row_norm: float
    dtype: torch.dtype = torch.bfloat16
    holes: Sequence[int] = ()
    dead_l2: float = 0.0
    angle_deg: float = 0.0
    zero_rows: int = 0
    tiny_rows: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class DemoModel:
    """A repository of the demo: its config and its unembedding.

    embedding: name of a separate input embedding; None if the two are tied. shards: files.
    layers: matrices of 4 MB that a survey does not read; most of a test's time goes into writing them.
    """

    repo: str
    config: Mapping[str, Any]
    tensor: str
    cloud: Cloud
    embedding: str | None = None
    shards: int = 1
    layers: int = 4
    base_model: str | None = None


def _config(model_type: str, architecture: str, tied: bool) -> dict[str, Any]:
    return {
        "model_type": model_type,
        "architectures": [architecture],
        "tie_word_embeddings": tied,
    }


MODELS: tuple[DemoModel, ...] = (
    DemoModel(
        "demo/Qwen3-mini-Instruct",
        _config("qwen3", "Qwen3ForCausalLM", True),
        "model.embed_tokens.weight",
        Cloud(15_194, 256, 0.304392, 1.087, holes=QWEN3_HOLES, dead_l2=0.370917, angle_deg=26.6, seed=1),
        base_model="demo/Qwen3-mini-Base",
    ),
    DemoModel(
        "demo/Qwen3-mini-Base",
        _config("qwen3", "Qwen3ForCausalLM", True),
        "model.embed_tokens.weight",
        Cloud(15_194, 256, 0.303, 1.085, holes=(60, 41) + (2,) * 60, dead_l2=0.369, angle_deg=27.1, seed=2),
        shards=2,
    ),
    DemoModel(
        "demo/Qwen2.5-mini-Instruct",
        _config("qwen2", "Qwen2ForCausalLM", True),
        "model.embed_tokens.weight",
        Cloud(15_194, 192, 0.298, 1.089, holes=(90, 14) + (2,) * 58, dead_l2=0.4049, angle_deg=24.5, seed=3),
    ),
    DemoModel(
        "demo/Llama-3-mini",
        _config("llama", "LlamaForCausalLM", False),
        "lm_head.weight",
        Cloud(12_826, 256, 0.416207, 1.086, tiny_rows=21, seed=4),
        embedding="model.embed_tokens.weight",
        shards=3,
    ),
    DemoModel(
        "demo/Gemma-3-mini-it",
        {
            "model_type": "gemma3",
            "architectures": ["Gemma3ForConditionalGeneration"],
            "text_config": {"model_type": "gemma3_text", "tie_word_embeddings": True},
        },
        "language_model.model.embed_tokens.weight",
        Cloud(26_214, 128, 0.11, 1.02, holes=(6,), dead_l2=0.2, angle_deg=71.0, zero_rows=1, seed=5),
    ),
    DemoModel(
        "demo/Mistral-mini",
        _config("mistral", "MistralForCausalLM", False),
        "lm_head.weight",
        Cloud(3_277, 256, 0.021, 0.31, dtype=torch.float16, seed=6),
        embedding="model.embed_tokens.weight",
    ),
    DemoModel(
        "demo/gpt2-mini",
        _config("gpt2", "GPT2LMHeadModel", True),
        "transformer.wte.weight",
        Cloud(5_026, 192, 2.1, 3.96, dtype=torch.float32, seed=7),
    ),
)  # fmt: skip


def planted(cloud: Cloud) -> torch.Tensor:
    """The rows of a cloud, [V, D] in its dtype; the same bits for the same seed."""
    draw = torch.Generator().manual_seed(cloud.seed)
    axes, _ = torch.linalg.qr(torch.randn(cloud.dims, 2, generator=draw, dtype=torch.float64))
    along, across = axes[:, 0], axes[:, 1]
    spread = math.sqrt(max(cloud.row_norm**2 - cloud.centre_l2**2, 0.0) / cloud.dims)
    rows = torch.randn(cloud.rows, cloud.dims, generator=draw, dtype=torch.float64) * spread
    shuffled = torch.randperm(cloud.rows, generator=draw)
    dead = sum(cloud.holes)
    live = shuffled[dead:]
    rows[live] += cloud.centre_l2 * along - rows[live].mean(dim=0)
    stored = rows.to(cloud.dtype)
    angle = math.radians(cloud.angle_deg)
    frozen = cloud.dead_l2 * (math.cos(angle) * along + math.sin(angle) * across)
    start = 0
    for number, population in enumerate(cloud.holes):
        stored[shuffled[start : start + population]] = _jittered(frozen.to(cloud.dtype), number)
        start += population
    stored[live[: cloud.zero_rows]] = 0.0
    for number in range(cloud.tiny_rows):
        stored[live[cloud.zero_rows + number]] *= 2e-21 * (1 + number / 64)
    return stored


def write(model: DemoModel, folder: Path) -> None:
    """Write a model's files into a folder, as its authors would have exported them."""
    folder.mkdir(parents=True)
    matrix = planted(model.cloud)
    tensors = {"model.norm.weight": torch.ones(model.cloud.dims, dtype=matrix.dtype)}
    for layer in range(model.layers):
        tensors[f"model.layers.{layer}.mlp.up_proj.weight"] = torch.zeros(8_000, 256, dtype=matrix.dtype)
    tensors[model.tensor] = matrix
    if model.embedding is not None:
        tensors[model.embedding] = planted(_separate(model.cloud))
    _write_shards(tensors, model.shards, folder)
    (folder / "config.json").write_text(json.dumps(dict(model.config), indent=2))
    for path in folder.iterdir():
        os.utime(path, (FILE_TIME, FILE_TIME))


def _separate(cloud: Cloud) -> Cloud:
    return Cloud(cloud.rows, cloud.dims, 0.01, cloud.row_norm, cloud.dtype, seed=cloud.seed + 100)


def _jittered(vector: torch.Tensor, number: int) -> torch.Tensor:
    """The vector with some of its last mantissa bits flipped: other bytes, the same exponents."""
    bits = vector.clone().view(torch.int16)
    for index in range(10):
        if number >> index & 1:
            bits[index] ^= 1
    return bits.view(vector.dtype)


def _write_shards(tensors: dict[str, torch.Tensor], shards: int, folder: Path) -> None:
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    weight_map: dict[str, str] = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = {name: tensors[name] for name in names[number::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
