"""Checkpoints for tests, written byte by byte: what the project reads is not what wrote them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I8": 1, "U8": 1, "I32": 4, "I64": 8}
ITEM_BYTES |= {"F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1}
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG: dict[str, Any] = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
TIED, UNTIED = {"tie_word_embeddings": True}, {"tie_word_embeddings": False}
SILENT: dict[str, Any] = {}  # of tying
EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
LAYER = "model.layers.0.self_attn.q_proj.weight"  # neither head nor embedding


@dataclass(frozen=True)
class Stored:
    """A tensor as a file holds it."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


def stored(*shape: int, dtype: str = "F32", seed: int = 0) -> Stored:
    """Random small finite numbers, or random bytes if numpy has no such float."""
    source = np.random.default_rng(seed)
    count = int(np.prod(shape))
    if dtype in ("F16", "F32", "F64"):
        return Stored(dtype, shape, source.normal(size=count).astype(f"<f{ITEM_BYTES[dtype]}").tobytes())
    if dtype == "BF16":  # the upper half of a float32
        return Stored(
            dtype, shape, (source.normal(size=count).astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        )
    return Stored(dtype, shape, source.bytes(count * ITEM_BYTES[dtype]))


def with_length(text: bytes) -> bytes:
    """The length field of a safetensors file, and the header that it counts."""
    return len(text).to_bytes(8, "little") + text


def header(layout: Mapping[str, tuple[str, Sequence[int]]]) -> bytes:
    """Length field and JSON of a file that holds these dtypes and shapes one after another."""
    entries, at = {}, 0
    for name, (dtype, shape) in layout.items():
        size = int(np.prod(shape, dtype=object)) * ITEM_BYTES[dtype]
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    return with_length(json.dumps(entries).encode())


def safetensors(tensors: Mapping[str, Stored]) -> bytes:
    """A whole safetensors file."""
    entries, at = {}, 0
    for name, tensor in tensors.items():
        offsets = [at, at + len(tensor.data)]
        entries[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": offsets}
        at = offsets[1]
    return with_length(json.dumps(entries).encode()) + b"".join(tensor.data for tensor in tensors.values())


def sparse_safetensors(path: Path, layout: Mapping[str, tuple[str, Sequence[int]]]) -> None:
    """A valid file whose data, zeros all over, takes no room on the disk."""
    start = header(layout)
    data_bytes = sum(int(np.prod(shape)) * ITEM_BYTES[dtype] for dtype, shape in layout.values())
    path.write_bytes(start)
    os.truncate(path, len(start) + data_bytes)


def single(tensors: Mapping[str, Stored], config: Mapping[str, Any] | None = None) -> dict[str, bytes]:
    """The files of a checkpoint in one piece."""
    return {
        "config.json": json.dumps(CONFIG if config is None else config).encode(),
        SINGLE: safetensors(tensors),
    }


def sharded(
    shards: Sequence[Mapping[str, Stored]], config: Mapping[str, Any] | None = None
) -> dict[str, bytes]:
    """The files of a checkpoint in shards, named as transformers names them, with their index."""
    files = {"config.json": json.dumps(CONFIG if config is None else config).encode()}
    weight_map = {}
    for number, tensors in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        files[file] = safetensors(tensors)
        weight_map.update(dict.fromkeys(tensors, file))
    files[INDEX] = json.dumps({"metadata": {}, "weight_map": weight_map}).encode()
    return files


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Put the files into the folder, which is made if it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder
