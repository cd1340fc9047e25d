"""The texts and flags of a matrix's rows, and the tokenizer's summary, from a token table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from survey.records.tokenizer import Reach, TokenizerSummary, TokenTexts
from survey.vocabulary.table import ADDED, BYTE, REACHES, SPECIAL, TokenTable

SAMPLE_TEXTS = 5  # per black hole
SAMPLE_CHARS = 40
_REACH_MASK = 7  # of a kind; the higher bits are flags


def token_texts(
    table: TokenTable, file: str, rows: int, black_holes: Sequence[Sequence[int]]
) -> tuple[TokenizerSummary, TokenTexts]:
    """Summary and per-row columns of a matrix of V = `rows` rows. black_holes: the rows of each, by rank."""
    text: list[str | None] = [None] * rows
    reach: list[Reach | None] = [None] * rows
    for row, token_text, kind in zip(table.ids, table.texts, table.kinds, strict=True):
        text[row] = token_text
        reach[row] = cast("Reach | None", REACHES[kind & _REACH_MASK])
    kinds = np.zeros(rows, dtype=np.uint8)
    kinds[np.asarray(table.ids, dtype=np.int64)] = np.frombuffer(table.kinds, dtype=np.uint8)
    note = None if table.encodes else f"{file} does not say how text is cut: reach is not known"
    summary = TokenizerSummary(
        tokenizer_file=file,
        tokenizer_note=note,
        tokenizer_size=table.size,
        added_tokens=table.added,
        phantom_rows=max(rows - table.size, 0),
        unreachable_rows=None if note else reach.count("unreachable"),
        reference_rows=None,
        black_hole_texts=tuple(_samples([text[row] for row in hole]) for hole in black_holes),
    )
    return summary, TokenTexts(
        text=text,
        reach=reach,
        phantom=np.arange(rows) >= table.size,
        is_special=kinds & SPECIAL > 0,
        is_byte=kinds & BYTE > 0,
        is_added=kinds & ADDED > 0,
    )


def without_tokenizer(note: str) -> TokenizerSummary:
    """The summary if no tokenizer can be read: NULL, with a note that says why."""
    return TokenizerSummary(
        **(dict.fromkeys(TokenizerSummary.__dataclass_fields__) | {"tokenizer_note": note})
    )


def _samples(texts: Sequence[str | None]) -> tuple[str, ...]:
    """The first texts of a black hole, shortened; phantom rows have none."""
    first = [text for text in texts if text is not None][:SAMPLE_TEXTS]
    return tuple(text if len(text) <= SAMPLE_CHARS else text[: SAMPLE_CHARS - 1] + "…" for text in first)
