"""Blocks of stored bytes, as they travel from a file or the Hub to the pass."""

from __future__ import annotations

import numpy as np

Block = bytearray | memoryview


def new_buffer(count: int) -> memoryview:
    """An uninitialised buffer of `count` bytes (zeroing one for every block is measurable)."""
    return np.empty(count, dtype=np.uint8).data
