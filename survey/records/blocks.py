"""Blocks of stored bytes, as they travel from a file or the Hub to the pass."""

from __future__ import annotations

import numpy as np

Block = bytearray | memoryview


def new_buffer(count: int) -> memoryview:
    """So many bytes to be written over: nobody has cleared them, which for a whole matrix takes a while."""
    return np.empty(count, dtype=np.uint8).data
