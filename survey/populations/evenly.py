"""Some of many rows, the same ones in every run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def evenly(items: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most `count` of these items [N], evenly spaced."""
    if len(items) <= count:
        return items
    return items[np.arange(count) * len(items) // count]
