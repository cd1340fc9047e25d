"""Rows known to be unused: phantom ones, those whose text is a reserved name, or those of a list."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from survey.records.settings import ReferenceTokens

# [unused12], <unused12>, <|reserved_special_token_12|>, <extra_12>: reserved names in vocabularies.
_RESERVED = re.compile(
    r"[\[<]\|?(?:unused|reserved|reserved_special_token|reserved_token|special|placeholder|dummy|extra|blank)"
    r"[_-]?\d+\|?[\]>]",
    re.IGNORECASE,
)


def parse_reference(text: str) -> ReferenceTokens:
    """Parse one token per line, by id or by text; lines that begin with `# ` are comments."""
    lines = [line.rstrip("\r") for line in text.split("\n")]
    entries = [line for line in lines if line.strip() and not line.startswith("# ")]
    return ReferenceTokens(tuple(int(line) if _is_id(line) else line for line in entries))


def chosen_rows(
    reference: ReferenceTokens,
    texts: Sequence[str | None] | None,
    rows: int,
    phantom: NDArray[np.bool_] | None = None,
) -> list[int]:
    """Rows that the reference names, ascending, of a matrix of V = `rows`.

    texts: of the rows, if known. phantom: rows that no token stands for, [V]; a tokenizer's own unused rows.
    """
    row_texts = texts or []
    if reference.entries is None:
        reserved = {
            row for row, text in enumerate(row_texts) if text is not None and _RESERVED.fullmatch(text)
        }
        return sorted(reserved if phantom is None else reserved | set(np.flatnonzero(phantom).tolist()))
    ids = {entry for entry in reference.entries if isinstance(entry, int)}
    listed_texts = {entry for entry in reference.entries if isinstance(entry, str)}
    by_text = {row for row, text in enumerate(row_texts) if text in listed_texts}
    return sorted({row for row in ids if row < rows} | by_text)


def _is_id(line: str) -> bool:
    return line.isascii() and line.isdecimal() and len(line) < 11
