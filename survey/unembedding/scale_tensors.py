"""The scale of a matrix that is stored in 8 bits: the model's values are the stored ones times it.

Known under six names beside `X.weight`, all of them factors, also the one that is called inverse:
`weight_scale_inv` (DeepSeek, transformers' fine-grained FP8), `weight_scale` (compressed-tensors,
FBGEMM, ModelOpt), `weights_scaling_factor` (TensorRT-LLM), `scale` (DeepSeek's own files), `weight.scale`
and `scale_weight`. One factor serves the whole tensor, a row, or a tile of rows × dimensions. Whatever else
sounds like a scale there is none that we know to apply, so the matrix is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from survey.errors import NotThere
from survey.records.target import ByteRange, Piece, ScaleSpec, TensorSpec
from survey.unembedding.model_parts import beyond, of_another_part
from survey.unembedding.quantisation import of_activations

SUFFIXES = (
    ".weight_scale_inv",
    ".weight_scale",
    ".weight.scale",
    ".scale_weight",
    ".weights_scaling_factor",
    ".scale",
)
# Beside a matrix in 8 bits all else may be the scale, or change it.
_LEAVES_VALUES = re.compile(r"\.(?:weight|bias|original_module\.\w+)")
_SOUNDS_LIKE_A_SCALE = re.compile(r"(?i)scal|(?:^|[._])inv(?:[._]|$)|amax|quant|factor")
_LAYER = re.compile(r"\.[0-9]+\.")
FACTORS_CAP = 4 << 20  # held as float64: 32 MB; MX formats, with one for 32 elements, have more
_MOST_NAMED = 3  # of scales in parts
_DTYPES = ("F32", "BF16", "F16", "F8_E8M0")


def scale_name(names: Collection[str], tensor: str, where: str) -> str | None:
    """The name of the scale that belongs to a tensor, among `names`; None where there is none.

    Raises NotThere (`quantised-head`) where something beside it sounds like another.
    """
    stem = tensor.removesuffix(".weight")
    known = [stem + suffix for suffix in SUFFIXES if stem + suffix in names]
    if others := sorted(
        name for name in _beside(names, stem, bool(known)) if name not in (tensor, *known[:1])
    ):
        problem = f"{tensor} is stored in 8 bits beside {others[0]}, which no rule applies to it"
        raise NotThere("quantised-head", where, problem)
    return known[0] if known else None


def _beside(names: Collection[str], stem: str, known: bool) -> Iterator[str]:
    """What may change the values of a matrix: in its module whatever is not known to leave them alone,
    elsewhere what sounds like its scale.

    known: whether its scale is; a scale of activations alone leaves open what became of the matrix's own.
    """
    own = stem.rpartition(".")[2]
    for name in names:
        if own not in name:
            continue
        rest = name[len(stem) :] if name.startswith(stem) else ""
        if rest[:1] in (".", ":"):
            if not (_LEAVES_VALUES.fullmatch(rest) or (known and of_activations(rest))):
                yield name
        elif (
            _SOUNDS_LIKE_A_SCALE.search(name)
            and "norm" not in name
            and _belongs(name, stem)
            and not (known and of_activations(rest))
        ):
            yield name


def _belongs(name: str, stem: str) -> bool:
    """Whether a name outside the layers and the other parts speaks of a module."""
    spoken = re.search(rf"(?:^|[._]){re.escape(stem.rpartition('.')[2])}(?:[._:]|$)", name)
    elsewhere = of_another_part(name) and of_another_part(beyond(name, stem))
    return spoken is not None and not elsewhere and _LAYER.search(name) is None


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
        for tile in (*_stated_tiles(config, rows, dims), (_tile(rows, tiles[0]), _tile(dims, tiles[1]))):
            if all(tile) and (-(-rows // tile[0]), -(-dims // tile[1])) == tiles:
                return ScaleSpec(scale, file_bytes, tiles, tile, f"{tile[0]}×{tile[1]}")
    problem = f"{scale.name} of shape {list(scale.shape)} fits no tiles of {matrix.name} {[rows, dims]}"
    raise NotThere("quantised-head", where, problem)


def scale_of_parts(
    matrix: TensorSpec, scales: Sequence[TensorSpec], config: Mapping[str, Any], where: str
) -> ScaleSpec:
    """How the scales of a matrix's parts, one for each in their order, lie over the whole.

    Raises NotThere (`quantised-head`) where one does not fit its part, or their tiles make up no whole.
    """
    parts = [
        (piece, scale_spec(piece.tensor, scale, 0, config, where))
        for piece, scale in zip(matrix.pieces, scales, strict=True)
    ]
    rows, dims = parts[0][1].tile
    pieces, held = [], 0
    for piece, spec in parts:
        ends = piece.row + piece.tensor.shape[0] == matrix.shape[0] and spec.per == "tensor"
        same = spec.tile == (rows, dims) or (ends and spec.tile[0] <= rows and spec.tile[1] == dims)
        if not same or piece.row % rows or piece.column % dims or spec.tensor.dtype != scales[0].dtype:
            problem = f"{spec.tensor.name} scales {spec.per}, and continues no tiles of {rows} × {dims}"
            raise NotThere("quantised-head", where, problem)
        pieces.append(Piece(replace(spec.tensor, shape=spec.tiles), piece.row // rows, piece.column // dims))
        held += math.prod(spec.tiles)
    tiles = -(-matrix.shape[0] // rows), -(-matrix.shape[1] // dims)
    if held != math.prod(tiles) or held > FACTORS_CAP:
        problem = f"{len(scales)} scales with {held:,} factors, expected {math.prod(tiles):,}"
        raise NotThere("quantised-head", where, problem)
    whole_bytes = sum(len(scale.bytes) for scale in scales)
    name = " + ".join(dict.fromkeys(scale.name for scale in scales[:_MOST_NAMED]))
    whole = TensorSpec(name, scales[0].file, scales[0].dtype, tiles, ByteRange(0, whole_bytes), tuple(pieces))
    return ScaleSpec(whole, 0, tiles, (rows, dims), f"part, {parts[0][1].per}")


def _tile(length: int, tiles: int) -> int:
    """The power of two that cuts a length into so many tiles, else the even cut; zero where there is neither.

    There is at most one such power, but for one tile.
    """
    if tiles <= 1:
        return length * tiles
    size = 1
    while size < length and -(-length // size) > tiles:
        size *= 2
    return size if -(-length // size) == tiles or length % tiles else length // tiles


def _stated_tiles(config: Mapping[str, Any], rows: int, dims: int) -> Iterator[tuple[int, int]]:
    """Blocks of the quantisation, as transformers and DeepSeek (`weight_block_size`) or others write them."""
    for key, stated in _statements(config.get("quantization_config"), 4):
        if isinstance(stated, str):  # compressed-tensors: "128x128"
            stated = [int(size) for size in re.findall(r"[0-9]{1,9}", stated[:40])]
        if key == "group_size" and type(stated) is int and stated > 0:
            yield 1, min(stated, dims)
        elif (
            isinstance(stated, list)
            and len(stated) == 2
            and all(type(size) is int and size > 0 for size in stated)
        ):
            yield min(stated[0], rows), min(stated[1], dims)  # one tile is no larger than the matrix


def _statements(part: Any, depth: int) -> Iterator[tuple[str, Any]]:  # Any: a value of somebody's JSON
    """The values of a quantisation's keys that speak of blocks, at whatever depth."""
    for key, value in part.items() if isinstance(part, Mapping) else ():
        if key in ("weight_block_size", "block_structure", "block_size", "group_size"):
            yield key, value
        elif depth:
            yield from _statements(value, depth - 1)
