"""The schemes of quantisation whose matrices are read: what configs state, and the names of their tensors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from survey.numerics.level_formats import FLOAT_MODES
from survey.records.tensors import TensorSpec
from survey.unembedding.model_config import stated_shapes
from survey.unembedding.packing_statements import check_levels, check_order, check_shape, check_state
from survey.unembedding.packings import WEIGHT, PackedShape, Packing

Names = Collection[str]
Config = Mapping[str, Any]
_FLOATS = ("F16", "BF16", "F32")
_MX, _NV = 32, 16  # elements that share a factor in OCP's MX formats, and in NVFP4
_NF4_STATE, _FP4_STATE = ".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4"


def packings(names: Names, config: Config) -> dict[str, Packing]:
    """The quantised matrices by the name that they would have whole, such as `lm_head.weight`."""
    packed: dict[str, Packing] = {}
    for scheme in _schemes(config):
        for name in names:
            if (matrix := scheme(name, names)) is not None and matrix[0] not in packed:
                packed[matrix[0]] = matrix[1]
    return packed


Scheme = Callable[[str, Names], tuple[str, Packing] | None]


def _schemes(config: Config) -> Iterator[Scheme]:
    """By what the config states."""
    mlx, stated = config.get("quantization"), config.get("quantization_config")
    if isinstance(mlx, Mapping) and "group_size" in mlx:
        yield partial(_mlx, mlx)
    if not isinstance(stated, Mapping):
        return
    method = stated.get("quant_method")
    if method == "compressed-tensors" and stated.get("format") == "mxfp8-quantized":
        yield _mxfp8
    elif method == "compressed-tensors":
        yield partial(_compressed, list(_groups(stated)), stated_shapes(config))
    elif method == "modelopt":
        yield _modelopt
    elif method == "bitsandbytes":
        yield partial(_bitsandbytes, stated_shapes(config))
    elif method == "torchao":
        yield _torchao


# MLX


_MLX_DEFAULTS = {"mode": "affine", "bits": 4, "group_size": 64}  # of a module whose own settings omit them


def _mlx(stated: Config, name: str, names: Names) -> tuple[str, Packing] | None:
    stem = name.removesuffix(".scales")
    if stem == name or stem + WEIGHT not in names:
        return None
    own = stated.get(stem)
    # A module's own settings stand for themselves: MLX merges nothing of the model's into them.
    settings = {**_MLX_DEFAULTS, **own} if isinstance(own, Mapping) else stated
    if stem in stated and own is not True and not isinstance(own, Mapping):
        return stem + WEIGHT, Packing((stem + WEIGHT, name), partial(_left_whole, stem, own))
    biases = (stem + ".biases",) if stem + ".biases" in names else ()
    return stem + WEIGHT, Packing((stem + WEIGHT, name, *biases), partial(_mlx_shape, settings))


def _left_whole(stem: str, own: object, parts: Sequence[TensorSpec]) -> PackedShape:
    if own is False or own is None:
        raise ValueError(f"the config states that {stem} is not quantised")
    raise ValueError(f"the config states {own!s:.40} for {stem}, expected its settings")


def _mlx_shape(stated: Config, parts: Sequence[TensorSpec]) -> PackedShape:
    levels, factors, *added = parts
    mode, bits, group = (stated.get(key) for key in ("mode", "bits", "group_size"))
    rows, _ = _matrix(levels, "U32")
    groups = _matrix(factors, *_FLOATS, "U8")[1]
    if type(bits) is not int or type(group) is not int or not 0 < bits <= 8 or not 0 < group <= 1024:
        raise ValueError(f"the config states {bits!r:.20} bits and groups of {group!r:.20}")
    dims = groups * group
    if levels.shape[1] * 32 != dims * bits or factors.shape[0] != rows:
        raise ValueError(f"the config states {bits} bits and groups of {group}, which need other shapes")
    if mode in (None, "affine"):
        if len(added) != 1 or (added[0].dtype, added[0].shape) != (factors.dtype, factors.shape):
            raise ValueError("expected biases like the scales")
        return PackedShape(f"mlx-{bits}bit-g{group}/{factors.dtype}", rows, dims)
    if added or factors.dtype != "U8":
        raise ValueError(f"expected scales in U8 and no biases in the mode {mode!r:.40}")
    if not isinstance(mode, str) or mode not in FLOAT_MODES:  # it may be the name of another tool's format
        raise ValueError(f"rows of {mode!s:.40} are not read")
    return PackedShape(mode, rows, dims)


# compressed-tensors


_PACKED_FORMATS = (
    None,
    "pack-quantized",
    "int-quantized",
    "naive-quantized",  # bytes, as before
    "nvfp4-pack-quantized",
    "mxfp4-pack-quantized",
    "mixed-precision",
)


def _groups(stated: Config) -> Iterator[Config]:
    """The settings of weights, of each group of modules whose format is read."""
    groups, sparsity = stated.get("config_groups"), stated.get("sparsity_config")
    if isinstance(sparsity, Mapping) and sparsity.get("format") not in (None, "dense"):
        return
    for group in groups.values() if isinstance(groups, Mapping) else ():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping) and (group.get("format") or stated.get("format")) in _PACKED_FORMATS:
            yield weights


def _compressed(
    groups: Sequence[Config], shapes: Sequence[tuple[int, int | None]], name: str, names: Names
) -> tuple[str, Packing] | None:
    if name.endswith(f"{WEIGHT}_scale"):
        return _int_rows(groups, name, names)
    stem = name.removesuffix("_packed")
    factors = f"{stem}_scale"
    if stem == name or not stem.endswith(WEIGHT) or factors not in names:
        return None
    unread = [other for other in (f"{stem}_zero_point", f"{stem}_g_idx") if other in names]
    whole = f"{stem}_global_scale"
    shape = f"{stem}_shape"
    shape_of = (
        partial(_refused, unread[0]) if unread else partial(_compressed_shape, groups, shapes, whole in names)
    )
    scale = (whole, True) if whole in names else None
    stated = ((shape, check_shape),) if shape in names else ()
    return stem, Packing((name, factors), shape_of, scale, tuple(unread), stated)


def _int_rows(groups: Sequence[Config], name: str, names: Names) -> tuple[str, Packing] | None:
    """Bytes that are not packed: `weight` and `weight_scale`."""
    whole, zeros = name.removesuffix("_scale"), f"{name.removesuffix('_scale')}_zero_point"
    of_bytes = any(
        stated.get("num_bits") == 8 and stated.get("type") == "int" and stated.get("symmetric") is not False
        for stated in groups
    )
    if whole not in names or not of_bytes:
        return None
    shape_of = partial(_refused, zeros) if zeros in names else partial(_signed_rows, "int8")
    return whole, Packing((whole, name), shape_of, others=(zeros,) if zeros in names else ())


def _compressed_shape(
    groups: Sequence[Config],
    shapes: Sequence[tuple[int, int | None]],
    has_scale: bool,
    parts: Sequence[TensorSpec],
) -> PackedShape:
    levels, factors = parts
    if not groups:
        raise ValueError("no group of the config fits these shapes")
    if levels.dtype == "U8":
        if factors.dtype == "F8_E4M3" and not has_scale:
            raise ValueError("expected a global scale")
        return _four_bit_floats(parts)
    rows, words = _matrix(levels, "I32")
    _, columns = _matrix(factors, *_FLOATS)
    fitting = set()
    for stated in groups:
        bits, size = stated.get("num_bits"), stated.get("group_size")
        if type(bits) is not int or bits not in (2, 4, 8) or not _is_read(stated):
            continue
        dims = words * 32 // bits
        by_row = columns == 1 and size in (None, -1, dims)
        if by_row or (type(size) is int and size * columns == dims):
            fitting.add((bits, dims, f"row{dims}" if by_row else f"g{size}"))
    stated_dims = {dims for _, dims in shapes if dims}
    fitting = {one for one in fitting if one[1] in stated_dims} or fitting
    if len(fitting) != 1:
        problem = "several groups of the config fit" if fitting else "no group of the config fits"
        raise ValueError(f"{problem} these shapes")
    bits, dims, group = fitting.pop()
    if shorter := next((stated for stated in stated_dims if 0 < dims - stated < 32 // bits), None):
        raise ValueError(f"rows of {shorter:,} elements are filled up to {dims:,}")
    return PackedShape(f"int{bits}-{group}/{factors.dtype}", rows, dims)


def _is_read(stated: Config) -> bool:
    """Whether settings are those of integers that count from their middle, in groups of neighbours."""
    return (
        stated.get("type", "int") == "int"
        and stated.get("symmetric") is not False  # else levels count from a zero point, wherever it is
        and stated.get("strategy") in (None, "group", "channel")
        and stated.get("actorder") in (None, False, "weight", "static")  # else groups are of other columns
    )


def _mxfp8(name: str, names: Names) -> tuple[str, Packing] | None:
    whole = name.removesuffix("_scale")
    if whole == name or not whole.endswith(WEIGHT) or whole not in names:
        return None
    return whole, Packing((whole, name), _mxfp8_shape)


def _mxfp8_shape(parts: Sequence[TensorSpec]) -> PackedShape:
    levels, factors = parts
    rows, dims = _matrix(levels, "F8_E4M3")
    if _matrix(factors, "U8", "F8_E8M0")[1] * _MX != dims:
        raise ValueError(f"expected a factor for {_MX} elements")
    return PackedShape("mxfp8", rows, dims)


def _four_bit_floats(parts: Sequence[TensorSpec]) -> PackedShape:
    """E2M1 with a factor for 16 elements in E4M3 (NVFP4), or for 32 an exponent (MXFP4)."""
    levels, factors = parts
    rows, half = _matrix(levels, "U8")
    _, columns = _matrix(factors, "F8_E4M3", "U8", "F8_E8M0")
    code, group = ("nvfp4", _NV) if factors.dtype == "F8_E4M3" else ("mxfp4", _MX)
    if columns * group != 2 * half:
        raise ValueError(f"expected a factor for {group} elements")
    return PackedShape(code, rows, 2 * half)


# ModelOpt, bitsandbytes, torchao


def _modelopt(name: str, names: Names) -> tuple[str, Packing] | None:
    whole = name.removesuffix("_scale_2")
    if whole == name or not whole.endswith(WEIGHT) or not _all_in(names, whole, f"{whole}_scale"):
        return None
    return whole, Packing((whole, f"{whole}_scale"), _four_bit_floats, (name, False))


def _bitsandbytes(
    shapes: Sequence[tuple[int, int | None]], name: str, names: Names
) -> tuple[str, Packing] | None:
    stem = name.removesuffix(".SCB")
    if stem != name and stem + WEIGHT in names:
        order = f"{stem}.weight_format"  # others than 0 are layouts of old GPUs' kernels
        shape_of = partial(_signed_rows, "bnb-int8")
        stated = ((order, check_order),) if order in names else ()
        return stem + WEIGHT, Packing((stem + WEIGHT, name), shape_of, statements=stated)
    for state, code in ((_NF4_STATE, "nf4"), (_FP4_STATE, "bnb-fp4")):
        whole = name.removesuffix(state)
        if whole == name or not _all_in(names, whole, f"{whole}.absmax"):
            continue
        nested = f"{whole}.nested_absmax"
        beside = tuple(other for other in (nested, f"{whole}.nested_quant_map") if other in names)
        levels = f"{whole}.quant_map"
        stated = ((name, check_state), *(((levels, check_levels),) if levels in names else ()))
        shape_of = partial(_refused, nested) if nested in names else partial(_four_bits, code, shapes)
        return whole, Packing((whole, f"{whole}.absmax"), shape_of, others=beside, statements=stated)
    return None


def _four_bits(
    code: str, shapes: Sequence[tuple[int, int | None]], parts: Sequence[TensorSpec]
) -> PackedShape:
    """bitsandbytes' levels lie in one column: the config states the shape."""
    levels, factors = parts
    elements, blocks = 2 * len(levels.bytes), len(factors.bytes) // 4
    if levels.dtype != "U8" or factors.dtype != "F32" or not (elements and blocks) or elements % blocks:
        raise ValueError("expected levels in U8, and factors in F32 for blocks of them")
    fitting = [(rows, dims) for rows, dims in shapes if dims and rows * dims == elements]
    fitting = fitting or [(elements // dims, dims) for _, dims in shapes if dims and elements % dims == 0]
    if not fitting:
        raise ValueError(f"the config states no [V, D] of {elements:,} elements")
    rows, dims = fitting[0]
    group = elements // blocks
    if dims % group:
        raise ValueError(f"blocks of {group} elements lie across rows of {dims:,}")
    return PackedShape(f"{code}-g{group}/F32", rows, dims)


def _torchao(name: str, names: Names) -> tuple[str, Packing] | None:
    stem = name.removesuffix("._weight_qdata")
    factors, zeros = f"{stem}._weight_scale", f"{stem}._weight_zero_point"
    if stem == name or factors not in names:
        return None
    shape_of = partial(_refused, zeros) if zeros in names else partial(_signed_rows, "int8")
    return stem + WEIGHT, Packing((name, factors), shape_of, others=(zeros,) if zeros in names else ())


def _signed_rows(code: str, parts: Sequence[TensorSpec]) -> PackedShape:
    """Signed bytes, and a factor for each row."""
    levels, factors = parts
    rows, dims = _matrix(levels, "I8")
    if factors.dtype not in _FLOATS or factors.shape not in ((rows,), (rows, 1)):
        raise ValueError("expected a factor for each row")
    return PackedShape(f"{code}-row{dims}s/{factors.dtype}", rows, dims)


def _all_in(names: Names, *tensors: str) -> bool:
    return all(tensor in names for tensor in tensors)


def _refused(unread: str, parts: Sequence[TensorSpec]) -> PackedShape:
    raise ValueError(f"{unread} lies across rows, or orders their elements anew, and is not read")


def _matrix(part: TensorSpec, *dtypes: str) -> tuple[int, int]:
    """The two lengths of a tensor of one of these dtypes."""
    if part.dtype not in dtypes or len(part.shape) != 2:
        shown = f"{part.name} is {part.dtype} {list(part.shape)}"
        raise ValueError(f"{shown}, expected {' or '.join(dtypes)} [V, …]")
    rows, columns = part.shape
    return rows, columns
