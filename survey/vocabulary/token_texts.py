"""The texts and flags of a matrix's rows, and the tokenizer's summary, from a token table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from survey.records.tokenizer import Reach, TokenColumns, TokenizerSummary
from survey.vocabulary.table import ADDED, BYTE, REACHES, SPECIAL, TokenTable

SAMPLE_TEXTS = 5  # per black hole
SAMPLE_CHARS = 40
_REACH_MASK = 7  # of a kind; the higher bits are flags
_REACH_NAMES = np.array(REACHES, dtype=np.object_)


def token_texts(
    table: TokenTable, file: str, rows: int, black_holes: Sequence[Sequence[int]]
) -> tuple[TokenizerSummary, TokenColumns]:
    """Summary and per-row columns of a matrix of V = `rows` rows. black_holes: the rows of each, by rank."""
    # Without a loop of Python: it is done for each model, where the table is made once for all of them.
    ids = np.asarray(table.ids, dtype=np.int64)
    texts = np.full(rows, None, dtype=np.object_)
    texts[ids] = np.array(table.texts, dtype=np.object_)
    text: list[str | None] = texts.tolist()
    kinds = np.zeros(rows, dtype=np.uint8)
    kinds[ids] = np.frombuffer(table.kinds, dtype=np.uint8)
    reach: list[Reach | None] = _REACH_NAMES[kinds & _REACH_MASK].tolist()
    phantom = np.ones(rows, dtype=np.bool_)
    phantom[ids] = False
    summary = TokenizerSummary(
        tokenizer_file=file,
        tokenizer_note=_note(table, file, rows),
        tokenizer_size=table.size if table.complete else None,
        added_tokens=table.added,
        phantom_rows=int(phantom.sum()) if table.complete else None,
        unreachable_rows=reach.count("unreachable") if table.encodes else None,
        reference_rows=None,
        black_hole_texts=tuple(_samples([text[row] for row in hole]) for hole in black_holes),
    )
    return summary, TokenColumns(
        text=text,
        reach=reach,
        phantom=phantom if table.complete else None,
        is_special=kinds & SPECIAL > 0,
        is_byte=kinds & BYTE > 0,
        is_added=kinds & ADDED > 0,
    )


def without_tokenizer(note: str) -> TokenizerSummary:
    """The summary if no tokenizer can be read: NULL, with a note that says why."""
    return TokenizerSummary(
        **(dict.fromkeys(TokenizerSummary.__dataclass_fields__) | {"tokenizer_note": note})
    )


def _note(table: TokenTable, file: str, rows: int) -> str | None:
    """What a reader of the names should know, if there is anything."""
    remarks = [f"{file}: {remark}" for remark in table.remarks]
    if not table.encodes:
        remarks.append(f"{file} does not say how text is cut: reach is not known")
    if (missing := table.tokens - len(table.ids)) > 0:
        remarks.append(f"{missing:,} of {table.tokens:,} tokens have no row: the matrix has {rows:,}")
    return "; ".join(remarks) or None


def _samples(texts: Sequence[str | None]) -> tuple[str, ...]:
    """The first texts of a black hole, shortened; phantom rows have none."""
    first = [text for text in texts if text is not None][:SAMPLE_TEXTS]
    return tuple(text if len(text) <= SAMPLE_CHARS else text[: SAMPLE_CHARS - 1] + "…" for text in first)
