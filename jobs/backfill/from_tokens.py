"""What a run adds to rows that it need not measure again."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.read.measured import MeasuredRows, RowKey
from catalog.store.open import CatalogStore
from catalog.write.backfill import Filled, fill
from survey.measures import TOKEN_MEASURES, columns_from_tokens
from survey.records.measures import versions_of


def fill_from_tokens(place: CatalogStore, done: MeasuredRows, keys: Sequence[RowKey] | None = None) -> Filled:
    """Give rows of older versions what their stored tokens say.

    keys: which rows; None is all of the catalog.
    """
    lacking = done.lacking(TOKEN_MEASURES, keys)
    return fill(place, lacking, columns_from_tokens, versions_of(TOKEN_MEASURES)) if lacking else Filled()
