"""ggml's types: the elements and bytes of a block of each, and its decoding to float32.

The usual types are decoded by compiled loops, the others by the package `gguf`; both give the same bits. This
is the only import of `gguf`, and of its tables and decoders alone: its reader maps whole files.
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np

from survey.numerics.block_formats import BlockFormat, DecodeRows, Floats32, RowBytes, RowLoop, decoded_by
from survey.numerics.dtypes import FLOATS
from survey.onepass import kernels

COMPILED = ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K")
_NOTHING_STATED, _NO_TABLE = np.empty(0, np.int64), np.empty(0, np.float32)


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
    if name in COMPILED:
        loop = partial(_loop, name)
        return BlockFormat(name, elements, block_bytes, decoded_by(loop), loop)
    decode = _by_package(name, block_bytes)
    return None if decode is None else BlockFormat(name, elements, block_bytes, decode)


def _loop(name: str) -> RowLoop:
    loop = getattr(kernels.ggml_blocks, name.lower())
    return kernels.row_loops.address_of_row_loop(loop), _NOTHING_STATED, _NO_TABLE


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
