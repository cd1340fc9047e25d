"""The matrix itself: its dtype and its shape."""

from __future__ import annotations

from survey.onepass.result import PassResult
from survey.records.measured_columns import Shape


def shape(result: PassResult) -> Shape:
    """dtype, V and D."""
    code = result.decoder.row_format.code
    return Shape(dtype=code, vocab_rows=result.vocab_rows, hidden_dim=result.hidden_dim)
