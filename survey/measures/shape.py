"""The matrix itself: its dtype and its shape."""

from __future__ import annotations

from survey.onepass.result import PassResult
from survey.records.measurement import Shape


def shape(folded: PassResult) -> Shape:
    """dtype, V and D."""
    return Shape(dtype=folded.form.code, vocab_rows=folded.vocab_rows, hidden_dim=folded.hidden_dim)
