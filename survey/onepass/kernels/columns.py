"""Sums over the rows of a group, column by column: of values, of their squares, and of rows at length 1.

Each is added pairwise: neighbouring rows, then neighbouring pairs, and so on. A sweep takes 32 columns of all
rows at a time, four rows by four: a cache line of bfloat16 is read once, however many rows lie at addresses
that the cache takes for the same one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from survey.onepass.geometry import GROUP_ROWS
from survey.onepass.kernels.float_vectors import (
    add_floats,
    add_product,
    add_weighted,
    load_bfloat16,
    load_float16,
    load_floats,
    multiply,
    no_floats,
    store_floats,
    weighted,
)
from survey.onepass.kernels.jit import njit
from survey.onepass.kernels.vectors import FLOATS

SUMS = 3  # of values, of squares, of rows at length 1
SWEEP_DIMS = 4 * FLOATS


@njit(forceinline=True)
def _added(a: Any, b: Any) -> Any:
    return add_floats(a[0], b[0]), add_floats(a[1], b[1]), add_floats(a[2], b[2])


@njit(forceinline=True)
def _all_added(a: Any, b: Any) -> Any:
    return _added(a[0], b[0]), _added(a[1], b[1]), _added(a[2], b[2]), _added(a[3], b[3])


@njit(forceinline=True)
def _nothing() -> Any:
    zeros = (no_floats(), no_floats(), no_floats())
    return zeros, zeros, zeros, zeros


def _sweeping(load: Callable[..., Any]) -> Callable[..., Any]:
    """The sums of 32 columns of a group of rows, which `load` brings, from a column on."""

    @njit(forceinline=True)
    def add_quad(stored: Any, r: int, at: int, weights: Any) -> Any:
        a, b = load(stored[r], at), load(stored[r + 1], at)
        c, d = load(stored[r + 2], at), load(stored[r + 3], at)
        squares = add_floats(add_product(multiply(a, a), b, b), add_product(multiply(c, c), d, d))
        first = add_weighted(weighted(a, weights[r]), b, weights[r + 1])
        second = add_weighted(weighted(c, weights[r + 2]), d, weights[r + 3])
        return add_floats(add_floats(a, b), add_floats(c, d)), squares, add_floats(first, second)

    @njit(forceinline=True)
    def add_quads(stored: Any, r: int, at: int, weights: Any) -> Any:
        return (
            add_quad(stored, r, at, weights),
            add_quad(stored, r, at + FLOATS, weights),
            add_quad(stored, r, at + 2 * FLOATS, weights),
            add_quad(stored, r, at + 3 * FLOATS, weights),
        )

    @njit(forceinline=True)
    def add_rows(stored: Any, at: int, weights: Any) -> Any:
        total = _nothing()
        for r in range(0, GROUP_ROWS, 16):
            first = _all_added(add_quads(stored, r, at, weights), add_quads(stored, r + 4, at, weights))
            second = _all_added(add_quads(stored, r + 8, at, weights), add_quads(stored, r + 12, at, weights))
            half = _all_added(first, second)
            total = half if r == 0 else _all_added(total, half)
        return total

    return add_rows


_add_floats, _add_bfloat16 = _sweeping(load_floats), _sweeping(load_bfloat16)
_add_float16 = _sweeping(load_float16)


@njit(forceinline=True)
def _add_any(bfloat16: bool | None, float16: bool | None, stored: Any, at: int, weights: Any) -> Any:
    if bfloat16 is not None:
        return _add_bfloat16(stored, at, weights)
    if float16 is not None:
        return _add_float16(stored, at, weights)
    return _add_floats(stored, at, weights)


@njit(forceinline=True)
def _store_sums(added: NDArray[np.float64], at: int, sums: Any) -> None:
    store_floats(added[0], at, sums[0])
    store_floats(added[1], at, sums[1])
    store_floats(added[2], at, sums[2])


@njit(forceinline=True)
def add_columns(
    stored: NDArray[Any],
    bfloat16: bool | None,
    float16: bool | None,
    weights: NDArray[np.float64],
    ends: NDArray[Any],
    added: NDArray[np.float64],
) -> None:
    """Set added [SUMS, padded D] to the sums of a group of rows [GROUP_ROWS, D].

    weights: of the rows, which give them length 1, [GROUP_ROWS]. ends: a buffer [GROUP_ROWS, SWEEP_DIMS] that
    holds zeros behind the last columns.
    """
    dims = stored.shape[1]
    whole = dims // SWEEP_DIMS * SWEEP_DIMS
    for at in range(0, whole, SWEEP_DIMS):
        sums = _add_any(bfloat16, float16, stored, at, weights)
        _store_sums(added, at, sums[0])
        _store_sums(added, at + FLOATS, sums[1])
        _store_sums(added, at + 2 * FLOATS, sums[2])
        _store_sums(added, at + 3 * FLOATS, sums[3])
    if whole < dims:
        for r in range(GROUP_ROWS):
            for d in range(dims - whole):
                ends[r, d] = stored[r, whole + d]
        sums = _add_any(bfloat16, float16, ends, 0, weights)
        _store_sums(added, whole, sums[0])
        _store_sums(added, whole + FLOATS, sums[1])
        _store_sums(added, whole + 2 * FLOATS, sums[2])
        _store_sums(added, whole + 3 * FLOATS, sums[3])


@njit()
def padded_to_sweeps(dims: int) -> int:
    return -(-dims // SWEEP_DIMS) * SWEEP_DIMS


@njit()
def _add_before(sums: NDArray[np.float64], added: NDArray[np.float64]) -> None:
    for d in range(len(added)):
        added[d] = sums[d] + added[d]


@njit()
def add_pairwise(added: NDArray[np.float64], sums: NDArray[np.float64], count: int) -> None:
    """Add the sums of one more group, [N], to those of `count` groups before it.

    Neighbours are added, then neighbouring pairs, and so on: in row k of sums [n + 1, N] that of 2^k groups
    waits for the one of the next 2^k, so that few sums are in the cache.
    """
    level = 0
    while count >> level & 1:
        level += 1
    for d in range(len(added)):
        sums[level, d] = added[d]
    for waiting in range(level):
        _add_before(sums[waiting], sums[level])


@njit()
def close_pairwise(sums: NDArray[np.float64], count: int) -> None:
    """Set the last row of sums [n + 1, N] to the pairwise sum of 2^n groups; those behind `count` are 0."""
    whole = sums[len(sums) - 1]
    if count >> (len(sums) - 1):
        return
    whole[:] = 0.0
    for level in range(len(sums) - 1):
        if count >> level & 1:
            _add_before(sums[level], whole)
        else:
            whole += 0.0  # as those behind the last group are: -0.0 becomes 0.0
