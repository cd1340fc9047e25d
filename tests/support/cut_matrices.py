"""Matrices whose rows partly agree, cut into parts by rows or columns, as tensors and files."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from support.checkpoints import CONFIG, EMBED, HEAD, Stored, safetensors

from survey.opening import Matrix

V, D = 1200, 24
Floats = NDArray[np.float32]
Files = dict[str, bytes]


def values(seed: int) -> Floats:
    """Rows of which some are identical, within a part and across the borders of any."""
    table = np.random.default_rng(seed).normal(size=(V, D)).astype("<f4")
    table[[3, 299, 300, 599, 600, 1199]] = table[0]
    table[[7, 8]] = table[9]
    return table


WHOLE, TABLE = values(1), values(2)


def tensor(part: Floats) -> Stored:
    return Stored("F32", part.shape, np.ascontiguousarray(part).tobytes())


def config(**stated: Any) -> dict[str, Any]:  # Any: JSON
    return CONFIG | {"vocab_size": V, "hidden_size": D, "tie_word_embeddings": False} | stated


def described(**stated: Any) -> Files:
    return {"config.json": json.dumps(config(**stated)).encode()}


def rows(count: int, whole: Floats = WHOLE) -> list[Floats]:
    return np.array_split(whole, count)


def columns(count: int, whole: Floats = WHOLE) -> list[Floats]:
    return np.array_split(whole, count, axis=1)


def of_devices(parts: list[Floats], name: str = "m-00006-TP-{:03}.safetensors", **stated: Any) -> Files:
    """A file for each device, and one for what they share."""
    files = {name.format(rank): safetensors({HEAD: tensor(part)}) for rank, part in enumerate(parts)}
    shared = {"m-00000-TP-common.safetensors": safetensors({EMBED: tensor(TABLE)})}
    return described(**stated) | files | shared


def read(matrix: Matrix) -> bytes:
    return b"".join(map(bytes, matrix.blocks()))


def without(files: Files, *names: str) -> Files:
    return {name: content for name, content in files.items() if name not in names}
