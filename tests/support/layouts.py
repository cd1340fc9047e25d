"""Tiny checkpoints by names and shapes, and the matrix that is chosen in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.checkpoints import EMBED, INDEX, Stored, safetensors, single, stored, with_length
from support.in_memory_checkpoint import HeldCheckpoint

from survey.errors import SurveyError
from survey.records.target import MatrixName, Target
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate

V, D = 96, 8
FULL, SQUARE, VECTOR = (V, D), (D, D), (D,)
LLAMA = {"model_type": "llama", "vocab_size": V, "hidden_size": D}
LLAMA_TIED, LLAMA_UNTIED = LLAMA | {"tie_word_embeddings": True}, LLAMA | {"tie_word_embeddings": False}
LAYERS = {"model.layers.0.self_attn.q_proj.weight": SQUARE}
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
TABLE, OUTPUT, NORM = stored(*FULL), stored(*FULL, seed=1), stored(D, seed=2)


@dataclass(frozen=True)
class Layout:
    """Names and shapes of a checkpoint, its config, and the tensors that are right.

    tied: of the output. integers: names that hold codes.
    """

    tensors: Mapping[str, tuple[int, ...]]
    config: Mapping[str, Any]
    output: str
    input: str = EMBED
    tied: bool = False
    integers: tuple[str, ...] = field(default=())

    def files(self) -> dict[str, bytes]:
        tensors = {
            name: stored(*shape, seed=seed, dtype="I8" if name in self.integers else "F32")
            for seed, (name, shape) in enumerate(self.tensors.items())
        }
        return single(tensors, self.config)


def chosen(files: Mapping[str, bytes], matrix: MatrixName = "output") -> Target:
    """The target that is located in a checkpoint of these files."""
    checkpoint = HeldCheckpoint(files)
    return locate(lay_out(checkpoint), matrix)


def refused(files: Mapping[str, bytes], matrix: MatrixName = "output") -> SurveyError:
    """The error with which locating the matrix is refused."""
    with pytest.raises(SurveyError) as caught:
        chosen(files, matrix)
    return caught.value


def shards(
    claimed: Mapping[str, str], config: Mapping[str, Any], **tensors: Mapping[str, Stored]
) -> dict[str, bytes]:
    """A checkpoint of two shards (first, second) with an index that claims where each tensor is."""
    files = {FIRST: safetensors(tensors["first"]), SECOND: safetensors(tensors["second"])}
    files["config.json"] = json.dumps(config).encode()
    return {**files, INDEX: json.dumps({"weight_map": dict(claimed)}).encode()}


def with_metadata(
    tensors: Mapping[str, Stored], metadata: Mapping[str, str], config: Mapping[str, Any]
) -> dict[str, bytes]:
    """A checkpoint of one file whose header has this metadata."""
    plain = safetensors(tensors)
    length = int.from_bytes(plain[:8], "little")
    entries = {"__metadata__": dict(metadata), **json.loads(plain[8 : 8 + length])}
    content = with_length(json.dumps(entries).encode()) + plain[8 + length :]
    return {"config.json": json.dumps(config).encode(), "model.safetensors": content}
