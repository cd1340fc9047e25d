"""Which tokens are known to be unused: those that a tokenizer itself names so, or those of a list."""

from __future__ import annotations

import re
from collections.abc import Sequence

from survey.records.settings import ReferenceTokens

# [unused12], <unused12>, <|reserved_special_token_12|>, <extra_12>: names that vocabularies keep in reserve.
_RESERVE = re.compile(
    r"[\[<]\|?(?:unused|reserved|reserved_special_token|reserved_token|special|placeholder|dummy|extra|blank)"
    r"[_-]?\d+\|?[\]>]",
    re.IGNORECASE,
)


def parse_reference(text: str) -> ReferenceTokens:
    """One token a line: its id, or its text; lines that begin with `# ` are comments."""
    lines = [line.rstrip("\r") for line in text.split("\n")]
    wanted = [line for line in lines if line.strip() and not line.startswith("# ")]
    return ReferenceTokens(tuple(int(line) if _is_id(line) else line for line in wanted))


def chosen_rows(reference: ReferenceTokens, texts: Sequence[str | None] | None, rows: int) -> list[int]:
    """The rows of a matrix of V = `rows` that the reference names, ascending. texts: of its tokens."""
    named = texts or []
    if reference.entries is None:
        return [row for row, text in enumerate(named) if text is not None and _RESERVE.fullmatch(text)]
    ids = {entry for entry in reference.entries if isinstance(entry, int)}
    wanted = {entry for entry in reference.entries if isinstance(entry, str)}
    by_text = {row for row, text in enumerate(named) if text in wanted}
    return sorted({row for row in ids if row < rows} | by_text)


def _is_id(line: str) -> bool:
    return line.isascii() and line.isdecimal() and len(line) < 11
