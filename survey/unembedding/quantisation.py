"""Signs that a matrix is stored quantised, and the name of the scheme. Quantised matrices are refused."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from survey.errors import printable

# Suffixes of tensors beside, or instead of, `X.weight`; the earlier one decides which tensor is named.
PACKED_SUFFIXES = {
    ".qweight": "GPTQ or AWQ",
    ".weight_packed": "compressed-tensors",
    ".weight.quant_state.bitsandbytes__nf4": "bitsandbytes NF4",
    ".weight.quant_state.bitsandbytes__fp4": "bitsandbytes FP4",
    ".weight.quant_state": "bitsandbytes",
    ".weight.absmax": "bitsandbytes 4-bit",
    ".SCB": "bitsandbytes LLM.int8()",
    ".weight_scb": "bitsandbytes LLM.int8()",
    ".W_q": "HQQ",
    ".codebooks": "AQLM",
    ".Qidxs": "QuIP#",
    ".weight_blocks": "MXFP4",
    ".weight._data": "quanto",
    ".weight_scale_2": "ModelOpt NVFP4",
    ".scales": "MLX",  # GPTQ and AWQ have it, too, but come first
}
# Components of names in other schemes: EXL3's `trellis` and `svh`, torchao's `_weight_qdata`, EETQ's
# `q_weight`; general enough to recognise the codes and factors of a future scheme, too.
_PACKED_WORDS = frozenset(
    """
    absmax blocks codebook codebooks codes data idx int integer lut mcg mul1 nf4 packed perm q qdata qidxs
    qscale qscales qweight qweights qzero qzeros scale scales scaling scb su suh sv svh trellis zero zeros
    """.split()  # noqa: SIM905 - words
)
# What is rounded around a product; a factor before it (`act_pre_scale`, `pre_quant_scale`) is the matrix's.
_OF_ACTIVATIONS = re.compile(
    r"(?i)(?:^|[._])(?:input|output|act|activation|k|v|kv)_(?!pre_)\w*(?:scale|zero_point)"
    r"|(?:^|[._])scale_(?:input|output|act\w*)$"
)
_STORED = ("I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64", "F4", "F6_E2M3", "F6_E3M2", "F8_E8M0")


def is_packed(dtype: str) -> bool:
    """Whether the elements of a dtype are codes, not values."""
    return dtype in _STORED


def packed_beside(names: Collection[str], stem: str) -> str | None:
    """Name of a tensor which shows that `stem` (such as `lm_head`) is quantised; None if there is none."""
    return next((stem + suffix for suffix in PACKED_SUFFIXES if stem + suffix in names), None)


def of_activations(rest: str) -> bool:
    """Whether a scale is that of a matrix's input or output, not of its values.

    rest: a tensor's name without the path of the matrix.
    """
    return _OF_ACTIVATIONS.search(rest) is not None


def looks_packed(rest: str) -> bool:
    """Whether a name is that of codes, or of a table or a scale that decodes them.

    rest: a tensor's name, or its end without the path of the matrix.
    """
    if of_activations(rest):
        return False
    words = re.split(r"[._:]+", rest.lower())
    return any(
        word in _PACKED_WORDS or word.startswith(("quant", "nested", "int4", "int8", "uint"))
        for word in words
    )


def scheme(config: Mapping[str, Any], names: Collection[str], tensor: str) -> str:
    """The name of a tensor's quantisation: as the config states it, else judged by the tensors beside it."""
    stated = config.get("quantization_config")
    method = stated.get("quant_method") if isinstance(stated, Mapping) else None
    if isinstance(method, str) and method:
        bits = stated.get("bits", stated.get("w_bit")) if isinstance(stated, Mapping) else None
        return printable(method[:40]) + (f" ({bits} bits)" if type(bits) is int and 0 < bits <= 16 else "")
    if isinstance(config.get("quantization"), Mapping):
        return "MLX"
    stem = tensor.removesuffix(".weight")
    for suffix in PACKED_SUFFIXES:
        if tensor.endswith(suffix):
            return PACKED_SUFFIXES[suffix]
    beside = packed_beside(names, stem)
    return PACKED_SUFFIXES[beside.removeprefix(stem)] if beside else "an unnamed scheme"
