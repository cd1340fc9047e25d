"""What the values of a matrix are, whatever dtype stores them: by this a re-saved checkpoint is recognised.

`survey/records/value_dtypes.py` says what is hashed; the sketch is that of `row_sketch.py`, of these hashes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xxhash

from survey.measures.row_sketch import SKETCH_ROWS
from survey.onepass.result import PassResult
from survey.onepass.row_values import FORM_BITS, HOLDS
from survey.records.column_field import UInt64
from survey.records.measured_columns import Exactness
from survey.records.value_dtypes import FLOAT_CODES


def exactness(result: PassResult) -> Exactness:
    """The narrowest dtype that holds all values, one hash of them, and a sketch of the rows'."""
    hashes, forms = result.value_hashes, result.values.forms
    code = result.decoder.stored_code
    is_known = code in FLOAT_CODES[1:] or result.decoder.scale is not None
    is_sketched = is_known or (code != "BF16" and bool(forms.any()))
    return Exactness(
        exact_in=_exact_in(result),
        values_hash=UInt64(xxhash.xxh3_64_intdigest(hashes.astype("<u8").tobytes())),
        value_sketch=_sketch(result) if is_sketched else None,
    )


def _sketch(result: PassResult) -> tuple[UInt64, ...]:
    informative = result.finite & (result.norms > 0) & ~result.dead
    # Codes that differ may be equal values.
    hashes = np.unique(result.value_hashes[informative])[:SKETCH_ROWS]
    return tuple(UInt64(value_hash) for value_hash in hashes.tolist())


def _exact_in(result: PassResult) -> str | None:
    stored = result.decoder.summed_as
    first = next(_holding(result, stored.code)) if stored.bits > 8 else stored.code
    return None if first in (stored.code, result.decoder.row_format.code) else first


def _holding(result: PassResult, stored: str) -> Iterator[str]:
    """The dtypes that hold all values, the narrowest first; at last the one that values are read as."""
    for name in ("F8_E4M3", "F8_E5M2"):
        if result.held_by & HOLDS[name]:
            yield name
    if stored != "BF16":
        forms = {FORM_BITS.get(form, stored) for form in np.unique(result.values.forms).tolist()}
        if forms == {"BF16"}:
            yield "BF16"
        if result.held_by & HOLDS["F16"]:
            yield "F16"
        if stored not in forms:
            yield "F32"
    yield stored
