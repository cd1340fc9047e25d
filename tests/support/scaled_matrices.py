"""Matrices in 8 bits with scales, and what is located and measured in their files."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from support.checkpoints import Stored
from support.matrices import cloud, repeat

import survey
from survey.checkpoints.folder import FolderCheckpoint
from survey.records.target import Target
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate

ROWS, DIMS = 300, 72
HOLES = ([2, 5, 299], [130, 131], [0, 260])  # within tiles of 128 rows, and over them
EIGHT_BITS = {"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}


def in_8_bits(code: str, rows: int, dims: int, *holes: list[int]) -> NDArray[np.uint8]:
    """Bytes of a cloud of rows of length about 1, [V, D]."""
    tensor = repeat(cloud("F32", rows, dims) * 20, *holes).to(EIGHT_BITS[code])
    words: NDArray[np.uint8] = tensor.view(torch.uint8).numpy()
    return words


def matrix(code: str, words: NDArray[np.uint8]) -> Stored:
    """The tensor with these bytes, [V, D]."""
    rows, dims = words.shape
    return Stored(code, (rows, dims), words.tobytes())


def factors(*shape: int, seed: int = 1) -> tuple[NDArray[np.float64], Stored]:
    """Scales around 0.01, as float64 and as a file holds them."""
    made = np.random.default_rng(seed).uniform(0.005, 0.02, shape).astype("<f4")
    return made.astype(np.float64), Stored("F32", shape, made.tobytes())


def located(folder: Path) -> Target:
    """The unembedding that is located in a folder."""
    checkpoint = FolderCheckpoint(folder)
    return locate(lay_out(checkpoint), "output")


def measured(folder: Path) -> survey.Measurement:
    """All columns of the unembedding in a folder."""
    with survey.open_matrix(folder) as opened:
        return survey.measure(opened)
