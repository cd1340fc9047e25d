"""ggml's types: the elements and bytes of a block of each, and its decoding to float32.

The usual types are decoded by compiled loops, the others by the package `gguf`; both give the same bits. This
is the only import of `gguf`, and of its tables and decoders alone: its reader maps whole files.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from survey.numerics.block_formats import BlockFormat, DecodeRows, Floats32, RowBytes
from survey.numerics.dtypes import FLOATS
from survey.onepass import kernels

COMPILED = ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K")


@cache
def ggml_type(number: int) -> str | None:
    """ggml's name of a type, by the number that a file gives; None for one that the package does not know."""
    from gguf.constants import GGMLQuantizationType  # here: only files of llama.cpp need it

    return next((kind.name for kind in GGMLQuantizationType if kind == number), None)


@cache
def block_size(name: str) -> tuple[int, int]:
    """Elements and bytes of a block of a type that `ggml_type` named."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    return GGML_QUANT_SIZES[GGMLQuantizationType[name]]


@cache
def block_format(name: str) -> BlockFormat | None:
    """The format of a quantised type; None for floats, for integers, and for types that nobody decodes."""
    from gguf.constants import GGMLQuantizationType

    if name in FLOATS or name not in GGMLQuantizationType.__members__:
        return None
    elements, block_bytes = block_size(name)
    decode = _by_loop(name) if name in COMPILED else _by_package(name, block_bytes)
    return None if decode is None else BlockFormat(name, elements, block_bytes, decode)


def _by_loop(name: str) -> DecodeRows:
    def decode(rows: RowBytes, values: Floats32) -> None:
        blocks = kernels.ggml_blocks
        rows.flags.writeable = False  # so that numba compiles one specialisation instead of two
        getattr(blocks, name.lower())(rows, blocks.HALF_VALUES, blocks.WIDTH, values)

    return decode


def _by_package(name: str, block_bytes: int) -> DecodeRows | None:
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import dequantize

    kind = GGMLQuantizationType[name]

    def decode(rows: RowBytes, values: Floats32) -> None:
        with np.errstate(all="ignore"):  # factors of a stranger may be infinite
            values[:] = dequantize(rows, kind)

    try:
        dequantize(np.zeros((1, block_bytes), np.uint8), kind)
    except NotImplementedError:
        return None
    return decode
