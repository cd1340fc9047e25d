"""Newer measures for stored rows, computed from their per-token tables."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.read.measured import MeasuredRows, RowKey
from catalog.store.open import CatalogStore
from catalog.write.backfill import Filled, fill
from survey.measures import TOKEN_MEASURES, columns_from_tokens
from survey.records.measure_definition import versions_of


def fill_from_tokens(
    store: CatalogStore, measured: MeasuredRows, keys: Sequence[RowKey] | None = None
) -> Filled:
    """Recompute measures of older versions from the stored tokens of rows.

    keys: of the rows; None: all rows of the catalog. Raises SurveyError.
    """
    lacking = measured.lacking(TOKEN_MEASURES, keys)
    return fill(store, lacking, columns_from_tokens, versions_of(TOKEN_MEASURES)) if lacking else Filled()
