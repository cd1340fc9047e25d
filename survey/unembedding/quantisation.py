"""Matrices that are stored quantised, which are refused with the name of the scheme."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from survey.errors import printable

# What lies beside, or instead of, `X.weight`; within a scheme's tensors the earlier name wins.
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
# How the parts of other packings are called: EXL3's `trellis` and `svh`, torchao's `_weight_qdata`, EETQ's
# `q_weight`, the codes and factors of the next one.
_PACKED_WORDS = frozenset(
    """
    absmax blocks codebook codebooks codes data idx int integer lut mcg mul1 nf4 packed perm q qdata qidxs
    qscale qscales qweight qweights qzero qzeros scale scales scaling scb su suh sv svh trellis zero zeros
    """.split()  # noqa: SIM905 - words
)
_OF_ACTIVATIONS = re.compile(r"(?i)(?:^|[._])(?:input|output|act|activation|k|v|kv|pre_quant)_\w*scale")
_STORED = ("I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64", "F4", "F6_E2M3", "F6_E3M2", "F8_E8M0")


def is_packed(dtype: str) -> bool:
    """Whether elements of a dtype are codes, not values."""
    return dtype in _STORED


def packed_beside(names: Collection[str], stem: str) -> str | None:
    """The tensor that says that `stem` (such as `lm_head`) is quantised; None where none does."""
    return next((stem + suffix for suffix in PACKED_SUFFIXES if stem + suffix in names), None)


def of_activations(rest: str) -> bool:
    """Whether a scale is that of what goes into a matrix, or comes out of it."""
    return _OF_ACTIVATIONS.search(rest) is not None


def looks_packed(rest: str) -> bool:
    """Whether what follows a matrix's place in a name is said of codes, or of what decodes them."""
    if of_activations(rest):
        return False
    words = re.split(r"[._:]+", rest.lower())
    return any(
        word in _PACKED_WORDS or word.startswith(("quant", "nested", "int4", "int8", "uint"))
        for word in words
    )


def scheme(config: Mapping[str, Any], names: Collection[str], tensor: str) -> str:
    """The quantisation of a tensor by name: as the config states it, else by what lies beside it."""
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
