"""How many of the stored bits carry information, if elements are coded one by one."""

from __future__ import annotations

from survey.measures.exponents import entropy_bits
from survey.numerics.dtypes import FloatFormat
from survey.onepass.mantissas import mantissa_bits
from survey.onepass.result import PassResult
from survey.records.measured_columns import StoredBits


def stored_bits(result: PassResult) -> StoredBits:
    """Entropies of the mantissa and of a whole element; None of codes."""
    row_format = result.decoder.row_format
    if result.mantissas is None or not isinstance(row_format, FloatFormat):
        return StoredBits(mantissa_entropy_bits=None, compressed_bits_per_weight=None)
    sign_and_mantissa = 1 + mantissa_bits(row_format)
    return StoredBits(
        mantissa_entropy_bits=sum(entropy_bits(field) for field in result.mantissas),
        compressed_bits_per_weight=sign_and_mantissa + entropy_bits(result.exponents),
    )
