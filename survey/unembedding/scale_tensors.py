"""The scale of a matrix that is stored in 8 bits: the model's values are the stored values times the scale.

Six names beside `X.weight` are known. All of them hold factors, even the one that is called inverse:
`weight_scale_inv` (DeepSeek, transformers' fine-grained FP8), `weight_scale` (compressed-tensors,
FBGEMM, ModelOpt), `weights_scaling_factor` (TensorRT-LLM), `scale` (DeepSeek's own files), `weight.scale`
and `scale_weight`. A factor applies to the whole tensor, to a row, or to a tile of rows × dimensions. If
another tensor sounds like a scale, no rule says how to apply it, so the matrix is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from survey.errors import NotThere
from survey.records.tensors import ByteRange, Piece, ScaleSpec, TensorSpec
from survey.unembedding.model_parts import of_another_part, without_shared_prefix
from survey.unembedding.quantisation import of_activations

SUFFIXES = (
    ".weight_scale_inv",
    ".weight_scale",
    ".weight.scale",
    ".scale_weight",
    ".weights_scaling_factor",
    ".scale",
)
# In the module of an 8-bit matrix any other tensor may be its scale, or change it.
_LEAVES_VALUES = re.compile(r"\.(?:weight|bias|original_module\.\w+)")
_SOUNDS_LIKE_A_SCALE = re.compile(r"(?i)scal|(?:^|[._])inv(?:[._]|$)|amax|quant|factor")
_LAYER = re.compile(r"\.[0-9]+\.")
FACTORS_CAP = 4 << 20  # 32 MB as float64; MX formats, with a factor for 32 elements, have more
_MAX_NAMED = 3  # scales whose names make up the name of a scale in parts
_DTYPES = ("F32", "BF16", "F16", "F8_E8M0")


def scale_name(names: Collection[str], tensor: str, where: str) -> str | None:
    """The name of the scale that belongs to a tensor, among `names`; None if there is none.

    Raises NotThere (`quantised-head`) if a tensor beside it may be another scale.
    """
    stem = tensor.removesuffix(".weight")
    known = [stem + suffix for suffix in SUFFIXES if stem + suffix in names]
    if others := sorted(
        name for name in _beside(names, stem, bool(known)) if name not in (tensor, *known[:1])
    ):
        problem = f"{tensor} is stored in 8 bits beside {others[0]}, which no rule applies to it"
        raise NotThere("quantised-head", where, problem)
    return known[0] if known else None


def refuse_other_factors(names: Collection[str], tensor: str, known: Collection[str], where: str) -> None:
    """Raise NotThere (`quantised-head`) if a tensor beside a packed matrix may change its values.

    known: the tensors that packings are made of.
    """
    stem = tensor.removesuffix(".weight")
    if others := sorted(name for name in _beside(names, stem, True) if name != tensor and name not in known):
        problem = f"{tensor} is quantised, and stands beside {others[0]}, which no rule applies to it"
        raise NotThere("quantised-head", where, problem)


def _beside(names: Collection[str], stem: str, known: bool) -> Iterator[str]:
    """Tensors that may change the values of a matrix.

    In the matrix's module these are all tensors but those known to leave the values alone; elsewhere, those
    that sound like its scale. known: whether the matrix's own scale is known; only then is a scale of
    activations harmless.
    """
    module = stem.rpartition(".")[2]
    for name in names:
        if module not in name:
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
    """Whether a name contains a module's name, and is neither in a layer nor in another part of the model."""
    match = re.search(rf"(?:^|[._]){re.escape(stem.rpartition('.')[2])}(?:[._:]|$)", name)
    elsewhere = of_another_part(name) and of_another_part(without_shared_prefix(name, stem))
    return match is not None and not elsewhere and _LAYER.search(name) is None


def scale_spec(
    matrix: TensorSpec, scale: TensorSpec, file_bytes: int, config: Mapping[str, Any], where: str
) -> ScaleSpec:
    """How the factors of a scale map to the tiles of a matrix [V, D].

    Raises NotThere (`quantised-head`) if the scale's dtype is unknown, or if its shape fits no tiles.
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
    """The scale of a whole matrix [V, D], joined from the scales of its parts, one for each in their order.

    Raises NotThere (`quantised-head`) if a scale does not fit its part, or if tiles do not fill the matrix.
    """
    parts = [
        (piece, scale_spec(piece.tensor, scale, 0, config, where))
        for piece, scale in zip(matrix.pieces, scales, strict=True)
    ]
    rows, dims = parts[0][1].tile
    pieces, factors = [], 0
    for piece, spec in parts:
        ends = piece.row + piece.tensor.shape[0] == matrix.shape[0] and spec.per == "tensor"
        same = spec.tile == (rows, dims) or (ends and spec.tile[0] <= rows and spec.tile[1] == dims)
        if not same or piece.row % rows or piece.column % dims or spec.tensor.dtype != scales[0].dtype:
            problem = f"{spec.tensor.name} scales {spec.per}, and continues no tiles of {rows} × {dims}"
            raise NotThere("quantised-head", where, problem)
        pieces.append(Piece(replace(spec.tensor, shape=spec.tiles), piece.row // rows, piece.column // dims))
        factors += math.prod(spec.tiles)
    tiles = -(-matrix.shape[0] // rows), -(-matrix.shape[1] // dims)
    if factors != math.prod(tiles) or factors > FACTORS_CAP:
        problem = f"{len(scales)} scales with {factors:,} factors, expected {math.prod(tiles):,}"
        raise NotThere("quantised-head", where, problem)
    whole_bytes = sum(len(scale.bytes) for scale in scales)
    name = " + ".join(dict.fromkeys(scale.name for scale in scales[:_MAX_NAMED]))
    whole = TensorSpec(name, scales[0].file, scales[0].dtype, tiles, ByteRange(0, whole_bytes), tuple(pieces))
    return ScaleSpec(whole, 0, tiles, (rows, dims), f"part, {parts[0][1].per}")


def _tile(length: int, tiles: int) -> int:
    """Tile length if `length` is cut into `tiles`: a power of two, else the even cut; zero if neither fits.

    At most one power of two fits, except for a single tile.
    """
    if tiles <= 1:
        return length * tiles
    size = 1
    while size < length and -(-length // size) > tiles:
        size *= 2
    return size if -(-length // size) == tiles or length % tiles else length // tiles


def _stated_tiles(config: Mapping[str, Any], rows: int, dims: int) -> Iterator[tuple[int, int]]:
    """Tile sizes (rows, dims) in the config (`weight_block_size` of transformers and DeepSeek, or others)."""
    for key, stated in _block_sizes(config.get("quantization_config"), 4):
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


def _block_sizes(part: Any, depth: int) -> Iterator[tuple[str, Any]]:  # Any: JSON
    """Keys of a quantisation config that state block sizes, with their values, down to `depth` levels."""
    for key, value in part.items() if isinstance(part, Mapping) else ():
        if key in ("weight_block_size", "block_structure", "block_size", "group_size"):
            yield key, value
        elif depth:
            yield from _block_sizes(value, depth - 1)
