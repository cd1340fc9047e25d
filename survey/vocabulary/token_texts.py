"""What the tokenizer says of the rows: their texts, which are no token at all, which no text leads to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from survey.records.tokenizer import Reach, TokenizerSummary, TokenTexts
from survey.vocabulary.table import ADDED, BYTE, REACHES, SPECIAL, TokenTable

SAMPLE_TEXTS = 5  # of a black hole
SAMPLE_CHARS = 40
_REACH_BITS = 7  # of a kind; its flags stand above


def token_texts(
    table: TokenTable, file: str, rows: int, black_holes: Sequence[Sequence[int]]
) -> tuple[TokenizerSummary, TokenTexts]:
    """The columns of a matrix of V = `rows` rows. black_holes: the rows of each, by rank."""
    text: list[str | None] = [None] * rows
    reach: list[Reach | None] = [None] * rows
    for number, told, kind in zip(table.ids, table.texts, table.kinds, strict=True):
        text[number] = told
        reach[number] = cast("Reach | None", REACHES[kind & _REACH_BITS])
    kinds = np.zeros(rows, dtype=np.uint8)
    kinds[np.asarray(table.ids, dtype=np.int64)] = np.frombuffer(table.kinds, dtype=np.uint8)
    untold = None if table.cuts else f"{file} does not say how text is cut: reach is not known"
    naming = TokenizerSummary(
        tokenizer_file=file,
        tokenizer_note=untold,
        tokenizer_size=table.size,
        added_tokens=table.added,
        phantom_rows=max(rows - table.size, 0),
        unreachable_rows=None if untold else reach.count("unreachable"),
        reference_rows=None,
        black_hole_texts=tuple(_samples([text[row] for row in hole]) for hole in black_holes),
    )
    return naming, TokenTexts(
        text=text,
        reach=reach,
        phantom=np.arange(rows) >= table.size,
        is_special=kinds & SPECIAL > 0,
        is_byte=kinds & BYTE > 0,
        is_added=kinds & ADDED > 0,
    )


def without_tokenizer(note: str) -> TokenizerSummary:
    """The columns where no tokenizer can be read, and why."""
    return TokenizerSummary(
        **(dict.fromkeys(TokenizerSummary.__dataclass_fields__) | {"tokenizer_note": note})
    )


def _samples(texts: Sequence[str | None]) -> tuple[str, ...]:
    """The first texts of a black hole, shortened; phantom rows have none."""
    some = [text for text in texts if text is not None][:SAMPLE_TEXTS]
    return tuple(text if len(text) <= SAMPLE_CHARS else text[: SAMPLE_CHARS - 1] + "…" for text in some)
