"""The scale of a matrix that is stored in 8 bits: the model's values are the stored ones times it.

Known under four names beside `X.weight`, all of them factors, also the one that is called inverse:
`weight_scale_inv` (DeepSeek, transformers' fine-grained FP8), `weight_scale` (compressed-tensors,
FBGEMM, ModelOpt), `weight.scale` and `scale_weight`. One factor serves the whole tensor, a row, or a
tile of rows × dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from survey.dtypes import FLOATS
from survey.errors import NotThere
from survey.floats import widen
from survey.target import ScaleSpec, TensorSpec

SUFFIXES = (".weight_scale_inv", ".weight_scale", ".weight.scale", ".scale_weight")
FACTORS_CAP = 4 << 20  # held as float64: 32 MB; MX formats, with one for 32 elements, have more
_DTYPES = ("F32", "BF16", "F16", "F8_E8M0")


@dataclass(frozen=True, slots=True)
class Scale:
    """factors: [P, Q], one for each tile of `rows` × `dims` elements; the last tiles may be cut."""

    factors: NDArray[np.float64]
    rows: int
    dims: int

    def times(self, values: NDArray[np.float64], row_ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Stored values of these rows, [R, D], as the model has them; exact for 8-bit values."""
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is counted, not hidden
            scaled: NDArray[np.float64] = values * self._of(row_ids, values.shape[1])
        return scaled

    def summed(self, row_ids: NDArray[np.int64], dims: int) -> NDArray[np.float64]:
        """Σ of the factors of these rows, [D]."""
        with np.errstate(invalid="ignore", over="ignore"):
            factors: NDArray[np.float64] = np.add.reduce(self._of(row_ids, dims), axis=0)
        return factors

    def _of(self, row_ids: NDArray[np.int64], dims: int) -> NDArray[np.float64]:
        """[R, D]."""
        by_tile = self.factors[row_ids // self.rows]  # [R, Q]
        return np.repeat(by_tile, self.dims, axis=1)[:, :dims]


def scale_name(names: Mapping[str, Any], tensor: str) -> str | None:
    """The name of the scale that belongs to a tensor, among `names`."""
    stem = tensor.removesuffix(".weight")
    return next((stem + suffix for suffix in SUFFIXES if stem + suffix in names), None)


def scale_spec(
    matrix: TensorSpec, scale: TensorSpec, file_bytes: int, config: Mapping[str, Any], where: str
) -> ScaleSpec:
    """How a scale lies over a matrix [V, D].

    Raises NotThere (`quantised-head`) where its dtype or its shape fits no tiles.
    """
    rows, dims = matrix.shape
    factors = math.prod(scale.shape)
    if scale.dtype not in _DTYPES or factors > FACTORS_CAP:
        problem = (
            f"{scale.name} is {scale.dtype} {list(scale.shape)}, expected factors in {', '.join(_DTYPES)}"
        )
        raise NotThere("quantised-head", where, problem)
    if factors == 1:
        return ScaleSpec(scale, file_bytes, (1, 1), (rows, dims), "tensor")
    if scale.shape in ((rows,), (rows, 1)):
        return ScaleSpec(scale, file_bytes, (rows, 1), (1, dims), "row")
    if len(scale.shape) == 2:
        tiles: tuple[int, int] = scale.shape[0], scale.shape[1]
        for tile in (_stated_tile(config, rows, dims), (_tile(rows, tiles[0]), _tile(dims, tiles[1]))):
            if tile and all(tile) and (-(-rows // tile[0]), -(-dims // tile[1])) == tiles:
                return ScaleSpec(scale, file_bytes, tiles, tile, f"{tile[0]}×{tile[1]}")
    problem = f"{scale.name} of shape {list(scale.shape)} fits no tiles of {matrix.name} {[rows, dims]}"
    raise NotThere("quantised-head", where, problem)


def scale_of(spec: ScaleSpec, stored: bytes) -> Scale:
    """The scale from its bytes as the file has them."""
    if spec.tensor.dtype == "F8_E8M0":  # an exponent alone, 255 stands for NaN (OCP MX, section 5.4.1)
        exponents = np.frombuffer(stored, dtype=np.uint8).astype(np.int64)
        factors = np.where(exponents == 255, np.nan, np.ldexp(1.0, exponents - 127))
    else:
        factors = widen(stored, FLOATS[spec.tensor.dtype], 1)
    return Scale(factors.reshape(spec.tiles), *spec.tile)


def _tile(length: int, tiles: int) -> int:
    """The power of two that cuts a length into so many tiles; there is at most one, but for one tile."""
    if tiles == 1:
        return length
    size = 1
    while size < length and -(-length // size) > tiles:
        size *= 2
    return size


def _stated_tile(config: Mapping[str, Any], rows: int, dims: int) -> tuple[int, int] | None:
    """`weight_block_size` of the quantisation, as transformers and DeepSeek write it."""
    quantisation = config.get("quantization_config")
    stated = quantisation.get("weight_block_size") if isinstance(quantisation, Mapping) else None
    if (
        isinstance(stated, list)
        and len(stated) == 2
        and all(type(size) is int and size > 0 for size in stated)
    ):
        return min(stated[0], rows), min(stated[1], dims)  # one tile is no larger than the matrix
    return None
