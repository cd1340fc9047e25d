"""Every dtype code of the safetensors format with its width in bits, and the codes that we measure.

To support another: its line in FLOATS and its decoding in `decoding.py`; CONTRIBUTING.md lists what else
reads it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FloatFormat:
    """An IEEE-like format: sign, biased exponent (bias 2^(bits-1) - 1), mantissa, highest bit first.

    code: name in a safetensors header. torch_name: attribute of `torch`.
    """

    code: str
    bits: int
    exponent_bits: int
    torch_name: str

    @property
    def item_bytes(self) -> int:
        return self.bits // 8

    @property
    def exponent_values(self) -> int:
        """Number of values of the biased exponent."""
        return 1 << self.exponent_bits

    @property
    def half_step(self) -> float:
        """How far rounding moves a value, as a share of it: half a unit of the last of 1 + mantissa bits."""
        return 2.0 ** (self.exponent_bits - self.bits)

    def row_bytes(self, dims: int) -> int:
        """Bytes of a row of D = `dims` elements."""
        return dims * self.item_bytes


FLOATS: dict[str, FloatFormat] = {
    form.code: form
    for form in (
        FloatFormat("F64", 64, 11, "float64"),
        FloatFormat("F32", 32, 8, "float32"),
        FloatFormat("F16", 16, 5, "float16"),
        FloatFormat("BF16", 16, 8, "bfloat16"),
        FloatFormat("F8_E4M3", 8, 4, "float8_e4m3fn"),  # no infinity; NaN is all ones
        FloatFormat("F8_E5M2", 8, 5, "float8_e5m2"),
    )
}

# Widths of all codes that safetensors 0.8 writes: other tensors of a file may have any of them.
BITS: dict[str, int] = {
    **{form.code: form.bits for form in FLOATS.values()},
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2FNUZ": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E8M0": 8,
    "I16": 16,
    "U16": 16,
    "I32": 32,
    "U32": 32,
    "I64": 64,
    "U64": 64,
    "C64": 64,
}
