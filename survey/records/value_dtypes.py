"""The dtypes by which equal values are recognised, whatever dtype stores them.

A row's form is the first of FORM_CODES in which all its values are exact. Its value hash is the hash of its
bytes in that dtype, combined by exclusive or with a mark of it: the same bytes are other values in another
dtype. bfloat16 has no mark: a row that is stored so has its row hash. A row of no form has its row hash, with
a mark of what it is stored as; if a scale multiplies it, with a hash of its factors, too.
"""

from __future__ import annotations

import xxhash

FORM_CODES = ("BF16", "F16", "F32")
FLOAT_CODES = (*FORM_CODES, "F64")


def value_mark(stored_code: str) -> int:
    """The mark of a dtype, or of a quantised format."""
    return 0 if stored_code == "BF16" else xxhash.xxh3_64_intdigest(stored_code.encode())
