"""What kernels leave of a batch of rows: a buffer on the GPU, copied at once to pinned memory of the host."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from survey.onepass.geometry import CHUNK_ROWS, DIRECTION_DIMS, PROJECTION_DIMS

ALIGNED_BYTES = 256

# Any: an array of any of these.
_NUMPY: Mapping[torch.dtype, Any] = {
    torch.float64: np.float64,
    torch.float32: np.float32,
    torch.int16: np.uint16,
    torch.int64: np.int64,
}


class Results:
    """Results of at most `chunks` chunks of rows, by name.

    squared, scales: [R]. projected: [R, 32]. fine: [R, 128]. digests: [R, 2]. columns, squares, units:
    sums of each chunk, [chunks, D]. counts: of exponents, [bins].
    """

    def __init__(self, chunks: int, dims: int, bins: int, device: torch.device) -> None:
        rows = chunks * CHUNK_ROWS
        fields: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {
            "squared": (torch.float64, (rows,)),
            "scales": (torch.float64, (rows,)),
            "projected": (torch.float32, (rows, PROJECTION_DIMS)),
            "fine": (torch.int16, (rows, DIRECTION_DIMS)),
            "digests": (torch.int64, (rows, 2)),
            "columns": (torch.float64, (chunks, dims)),
            "squares": (torch.float64, (chunks, dims)),
            "units": (torch.float64, (chunks, dims)),
            "counts": (torch.int64, (bins,)),
        }
        starts, total = {}, 0
        for name, (dtype, shape) in fields.items():
            starts[name] = total
            total += -(-math.prod(shape) * dtype.itemsize // ALIGNED_BYTES) * ALIGNED_BYTES
        self._device_bytes = torch.empty(total, dtype=torch.uint8, device=device)
        self._host_bytes = torch.empty(total, dtype=torch.uint8, pin_memory=device.type == "cuda")
        self.on_device: dict[str, torch.Tensor] = {}
        self.on_host: dict[str, NDArray[Any]] = {}
        host = self._host_bytes.numpy()
        for name, (dtype, shape) in fields.items():
            part = slice(starts[name], starts[name] + math.prod(shape) * dtype.itemsize)
            self.on_device[name] = self._device_bytes[part].view(dtype).view(shape)
            self.on_host[name] = host[part].view(_NUMPY[dtype]).reshape(shape)

    def copy_to_host(self) -> None:
        """Begin the copy; it has ended when the GPU has done what it was given until now."""
        self._host_bytes.copy_(self._device_bytes, non_blocking=True)
