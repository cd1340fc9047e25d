"""Small tensors beside a packed matrix that state how it was made, compared with how it is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np

from survey.numerics.level_formats import BNB_FP4, NF4

STATEMENT_CAP_BYTES = 65_536
Lengths = Sequence[int]
Check = Callable[[bytes, str, Lengths], None]  # of the bytes, the matrix's format and its shape: ValueError
_TABLES = {"nf4": NF4, "bnb-fp4": BNB_FP4}
_STATED = {"nf4": "nf4", "bnb-fp4": "fp4"}


def check_order(content: bytes, code: str, shape: Lengths) -> None:
    """Raise ValueError unless the rows lie in order, as a byte of 0 says."""
    if content != b"\0":
        raise ValueError(f"is {list(content[:8])}, expected one byte, 0: the rows do not lie in order")


def check_shape(content: bytes, code: str, shape: Lengths) -> None:
    """Raise ValueError unless a tensor of two integers is the matrix's shape: columns may be filled up."""
    kind = {8: "<i4", 16: "<i8"}.get(len(content))
    stated = np.frombuffer(content, kind).tolist() if kind else None
    if stated != list(shape):
        raise ValueError(f"states the shape {stated}, expected {list(shape)}")


def check_levels(content: bytes, code: str, shape: Lengths) -> None:
    """Raise ValueError unless the table of bitsandbytes' levels is the one by which they are read."""
    table = _TABLES[code.partition("-g")[0]]
    stated = np.frombuffer(content, "<f4") if len(content) == table.nbytes else np.empty(0, np.float32)
    if len(stated) != len(table) or not np.allclose(stated, table, rtol=0, atol=1e-6):
        raise ValueError(f"states other levels than those of {code.partition('/')[0]}")


def check_state(content: bytes, code: str, shape: Lengths) -> None:
    """Raise ValueError unless bitsandbytes' own description fits the levels, the blocks and the shape."""
    kind, _, group = code.partition("/")[0].rpartition("-g")
    try:
        stated = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("is no JSON") from None
    if not isinstance(stated, dict):
        raise ValueError("is no JSON object")
    expected = {"quant_type": _STATED[kind], "blocksize": int(group), "shape": list(shape)}
    for key, value in expected.items():
        if stated.get(key) != value:
            raise ValueError(f"states {key} {str(stated.get(key))[:40]}, expected {value}")
    if nested := next((key for key in stated if str(key).startswith("nested")), None):
        raise ValueError(f"states {str(nested)[:40]}: factors of factors are not read")
