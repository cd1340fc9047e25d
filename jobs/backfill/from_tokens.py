"""What a run adds to rows that it need not measure again."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.read.measured import MeasuredRows, RowKey
from catalog.store.open import CatalogStore
from catalog.write.backfill import Filled, fill
from survey.measures import from_tokens, token_versions


def fill_from_tokens(place: CatalogStore, done: MeasuredRows, keys: Sequence[RowKey] | None = None) -> Filled:
    """Give rows of older versions what their stored tokens say.

    keys: which rows; None is all of the catalog.
    """
    lacking = done.lacking(token_versions(), keys)
    return fill(place, lacking, from_tokens, token_versions()) if lacking else Filled()
