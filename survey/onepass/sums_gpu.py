"""The sums of a slab by torch's elementwise operations, whose bits do not depend on the device.

Meant for CUDA: a slab is copied from pinned memory by a stream of its own while the one before is
computed, and nothing waits until `finish` reads a slab's results.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from survey.numerics.dtypes import FloatFormat
from survey.onepass.geometry import DIRECTION_DIMS, GPU_BUFFERS, LANE_DIMS, PROJECTION_DIMS
from survey.onepass.projection import fine_directions, projected_directions, signs
from survey.onepass.sums import SlabSums, rows_by_band
from survey.records.blocks import Block

WORDS = 1 << 15  # the upper 16 bits of an element, its sign left out


@dataclass
class SlabBuffers:
    """The buffers of one slab in flight; allocated once, used again and again.

    staged [R · D] on the host; stored [R, D], values and squares [R, padded D], lanes [R, 256] and
    words [R · D] on the device; results on the host.
    """

    staged: torch.Tensor
    stored: torch.Tensor
    values: torch.Tensor
    squares: torch.Tensor
    lanes: torch.Tensor
    words: torch.Tensor
    results: tuple[torch.Tensor, ...]
    rows: int = field(default=0)
    done: torch.cuda.Event | None = field(default=None)


class TorchSums:
    """Sums of slabs of at most `rows_per_slab` rows, at most GPU_BUFFERS of them in flight."""

    def __init__(self, float_format: FloatFormat, dims: int, rows_per_slab: int, device: str) -> None:
        self._float_format, self._dims = float_format, dims
        self._device = torch.device(device)
        padded = -(-dims // LANE_DIMS) * LANE_DIMS
        self._signs = torch.zeros(padded, dtype=torch.float64, device=self._device)
        self._signs[:dims] = torch.from_numpy(signs(dims)).to(self._device)
        self._copies = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None
        self._free = [self._new_buffers(rows_per_slab) for _ in range(GPU_BUFFERS)]

    def begin(self, slab: Block) -> SlabBuffers:
        """Start on one slab of whole rows; `finish` it before GPU_BUFFERS more are begun."""
        buffers = self._free.pop()
        bits = torch.frombuffer(slab, dtype=buffers.staged.dtype)
        buffers.rows = len(bits) // self._dims
        buffers.staged[: len(bits)] = bits
        with nullcontext() if self._copies is None else torch.cuda.stream(self._copies):
            flat = buffers.stored.view(-1)[: len(bits)]
            flat.copy_(buffers.staged[: len(bits)].view(flat.dtype), non_blocking=True)
        if self._copies is not None:
            torch.cuda.current_stream(self._device).wait_stream(self._copies)
        self._widen(buffers)
        squared, scale, projected, fine = self._squared_norms(buffers)
        results = (
            squared,
            scale,
            projected,
            fine,
            self._exponents(buffers),
            self._added_pairwise(buffers.values),
        )
        for result, on_host in zip(results, buffers.results, strict=True):
            on_host[: len(result)].copy_(result, non_blocking=True)
        if self._copies is not None:
            buffers.done = torch.cuda.Event()
            buffers.done.record(torch.cuda.current_stream(self._device))
        return buffers

    def finish(self, buffers: SlabBuffers) -> SlabSums:
        """Wait for a slab's sums and free its buffers."""
        if buffers.done is not None:
            buffers.done.synchronize()
        squared, scale, projected, lanes, exponents, columns = (
            result.numpy().copy() for result in buffers.results
        )
        # Not torch's root: on a CPU it is MKL's, which may be off by one in the last place.
        squared, scale = squared[: buffers.rows], scale[: buffers.rows]
        with np.errstate(over="ignore"):
            norms, finite = np.sqrt(squared) * scale, np.isfinite(squared)
        directions = projected_directions(projected[: buffers.rows], squared)
        fine = fine_directions(lanes[: buffers.rows])
        bands = rows_by_band(norms)
        if len(bands) == 1 and finite.all():
            by_band = dict.fromkeys(bands, columns)
        else:
            by_band = {band: self._columns(buffers, rows) for band, rows in bands.items()}
        self._free.append(buffers)
        return SlabSums(norms, finite, by_band, exponents, directions, fine)

    def _new_buffers(self, rows: int) -> SlabBuffers:
        def zeros(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
            return torch.zeros(*shape, dtype=dtype, device=self._device)

        def on_host(*shape: int, dtype: torch.dtype) -> torch.Tensor:
            return torch.zeros(*shape, dtype=dtype, pin_memory=self._device.type == "cuda")

        dims, padded = self._dims, -(-self._dims // LANE_DIMS) * LANE_DIMS
        float_type = getattr(torch, self._float_format.torch_name)
        whole = {8: torch.uint8, 16: torch.int16, 32: torch.int32, 64: torch.int64}[self._float_format.bits]
        return SlabBuffers(
            staged=on_host(rows * dims, dtype=whole),
            stored=zeros(rows, dims, dtype=float_type),
            values=zeros(rows, padded),  # columns past D stay zero
            squares=zeros(rows, padded),
            lanes=zeros(rows, LANE_DIMS),
            words=zeros(rows * dims, dtype=torch.int32),
            results=(
                on_host(rows, dtype=torch.float64),
                on_host(rows, dtype=torch.float64),
                on_host(rows, PROJECTION_DIMS, dtype=torch.float64),
                on_host(rows, DIRECTION_DIMS, dtype=torch.float64),
                on_host(self._float_format.exponent_values, dtype=torch.int64),
                on_host(dims, dtype=torch.float64),
            ),
        )

    def _widen(self, buffers: SlabBuffers) -> None:
        buffers.values[: buffers.rows, : self._dims] = buffers.stored[: buffers.rows]
        buffers.values[buffers.rows :] = 0.0

    def _squared_norms(self, buffers: SlabBuffers) -> tuple[torch.Tensor, ...]:
        """Σ_d w², [R], the power of two to multiply its root by, [R], projections, [R, 32] and [R, 128]."""
        values = buffers.values[: buffers.rows]
        scale = torch.ones_like(values[:, 0])
        if self._float_format.bits == 64:
            # As `scaled` in sums_cpu.py; the power of two is put together from its bits.
            _, exponent = torch.frexp(values.abs().amax(dim=1))
            scale = ((exponent.clamp(-1000, 1000).to(torch.int64) + 1023) << 52).view(torch.float64)
            values = values / scale[:, None]
        squares = torch.mul(values, values, out=buffers.squares[: buffers.rows])
        squared = self._folded(squares, buffers.lanes, 1)[:, 0].clone()
        signed = torch.mul(values, self._signs, out=squares)
        fine = self._folded(signed, buffers.lanes, DIRECTION_DIMS).clone()
        projected = _halved(buffers.lanes[: buffers.rows], DIRECTION_DIMS, PROJECTION_DIMS)
        return squared, scale, projected, fine

    def _folded(self, values: torch.Tensor, lanes: torch.Tensor, width: int) -> torch.Tensor:
        """Add [R, padded D] to lanes, then the lanes in halves until `width` are left, [R, width]."""
        lanes = lanes[: len(values)]
        lanes.copy_(values[:, :LANE_DIMS])
        for start in range(LANE_DIMS, values.shape[1], LANE_DIMS):
            lanes += values[:, start : start + LANE_DIMS]
        return _halved(lanes, LANE_DIMS, width)

    def _exponents(self, buffers: SlabBuffers) -> torch.Tensor:
        """Elements by biased exponent. They are counted by their upper 15 bits, which torch does fastest."""
        stored = buffers.stored[: buffers.rows]
        if self._float_format.bits < 16:
            upper = stored.view(torch.uint8)
            words, kinds = buffers.words[: upper.numel()], 1 << (self._float_format.bits - 1)
        else:
            halves = self._float_format.bits // 16
            upper = stored.view(torch.int16)[:, halves - 1 :: halves]  # little endian: highest last
            words, kinds = buffers.words[: upper.numel()], WORDS
        words.view(upper.shape).copy_(upper)
        words &= kinds - 1
        counts = torch.bincount(words, minlength=kinds)
        return counts.view(self._float_format.exponent_values, -1).sum(dim=1)

    def _columns(self, buffers: SlabBuffers, summed: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Sum of the `summed` rows [R] alone, [D]."""
        self._widen(buffers)
        left_out = torch.from_numpy(~summed).to(self._device)
        buffers.values[: buffers.rows].masked_fill_(left_out[:, None], 0.0)
        added: NDArray[np.float64] = self._added_pairwise(buffers.values).cpu().numpy().copy()
        return added

    def _added_pairwise(self, values: torch.Tensor) -> torch.Tensor:
        """Pairwise sum of [2^n, padded D] over the first axis, [D]; overwrites its argument."""
        step = 1
        while step < len(values):
            values[0 :: 2 * step] += values[step :: 2 * step]
            step *= 2
        return values[0, : self._dims]


def _halved(lanes: torch.Tensor, lanes_left: int, width: int) -> torch.Tensor:
    """Add lanes [R, 256], of which some are left, in halves, in place, until `width` are left, [R, width]."""
    while lanes_left > width:
        lanes_left //= 2
        lanes[:, :lanes_left] += lanes[:, lanes_left : 2 * lanes_left]
    return lanes[:, :width]
