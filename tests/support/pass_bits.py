"""What a pass leaves behind, bit by bit, to compare devices and code by."""

from __future__ import annotations

from typing import Any

import numpy as np

from survey.onepass.result import PassResult


def pass_bits(result: PassResult) -> dict[str, Any]:
    """Each field as its bytes. A NaN may carry any payload; which rows hold one is what counts."""
    fields = {
        "norms": np.where(result.finite, result.norms, np.nan),
        "finite": result.finite,
        "exponents": result.exponents,
        "directions": result.directions,
        "fine_directions": result.fine_directions,
        "row_hashes": result.identity.row_hashes(),
        "value_hashes": result.value_hashes,
        "squares": result.squares,
        "units": result.units,
        **{f"columns, band {band}": columns for band, columns in result.totals.items()},
    }
    bits: dict[str, Any] = {name: values.tobytes() for name, values in fields.items()}
    bits["mantissas"] = None if result.mantissas is None else result.mantissas.tobytes()
    bits["held by"] = result.held_by
    bits["black holes"] = result.black_hole_rows
    bits["vectors"] = b"".join(result.identity.vectors(1 << 16))
    return bits
