"""The columns that a tokenizer adds: of the model, and of each of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from survey.records.column_field import column

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


Reach = Literal["reachable", "unreachable", "special", "byte", "fragment"]


@dataclass(frozen=True, kw_only=True)
class TokenColumns:
    """The tokenizer's columns of the per-token table, [V] each; None if it knows nothing of a row.

    phantom: None if the files do not define all tokens.
    """

    text: Sequence[str | None]
    reach: Sequence[Reach | None]
    phantom: NDArray[np.bool_] | None
    is_special: NDArray[np.bool_]
    is_byte: NDArray[np.bool_]
    is_added: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class TokenizerSummary:
    """The tokenizer's columns of a model; NULL if there is no tokenizer that can be read."""

    tokenizer_file: str | None = column("the file with the vocabulary")
    tokenizer_note: str | None = column(
        "why there are no names, or fewer than possible, and what is odd about them"
    )
    tokenizer_size: int | None = column(
        "highest token id + 1; NULL if some tokens stand in code beside the files"
    )
    added_tokens: int | None = column("tokens that were added beside the vocabulary")
    phantom_rows: int | None = column(
        "rows that stand for no token: at or above the tokenizer's size, or in a hole of its ids; NULL as "
        "tokenizer_size",
        "rows",
    )
    unreachable_rows: int | None = column(
        "rows whose token no text is cut into: decoded and encoded again it does not come back; special "
        "tokens and fragments of characters do not count, and bytes only if UTF-8 never uses them or each of "
        "their characters has another token",
        "rows",
    )
    reference_rows: int | None = column(
        "rows known to be unused, from whose mean unused_cosine and unused_l2 are measured; only with "
        "`--reference-tokens`, 0 if none is known",
        "rows",
    )
    black_hole_texts: tuple[tuple[str, ...], ...] | None = column("for each black hole its first texts")
