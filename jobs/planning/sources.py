"""The rows that targets can be copied from, because the bytes of their matrices are known already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from catalog.read.measured import MeasuredRows, RowKey
from jobs.planning.plan import PlanCriteria
from survey.records.measure_definition import TOKEN_TABLE, UNUSED_DISTANCES
from survey.records.target import Target


def sources_of(targets: Sequence[Target], criteria: PlanCriteria) -> dict[RowKey, RowKey]:
    """Target -> the row of the same bytes, for those that have one.

    The row is in the catalog, or it is that of an earlier target, which is measured first. Only a row that
    answers the run serves, by today's version of each measure. What depends on the tokenizer is made anew
    from the per-token table; without that table, and with distances to reference tokens, which only the
    matrix gives, the tokenizer must be the same.
    """
    if not criteria.copies:
        return {}
    stored = _stored(criteria, {target.content_key for target in targets if target.content_key})
    sources: dict[RowKey, RowKey] = {}
    measured: dict[str, list[Target]] = defaultdict(list)
    for target in targets:
        if target.content_key is None:
            continue
        rows = _rows_for(target, stored.get(target.content_key, ()), criteria)
        earlier = [item for item in measured[target.content_key] if _serves(item, target, criteria)]
        if rows or earlier:
            sources[target.key] = (rows or [item.key for item in earlier])[0]
        else:
            measured[target.content_key].append(target)
    return sources


def _stored(criteria: PlanCriteria, contents: set[str]) -> Mapping[str, list[RowKey]]:
    """The catalog's rows of these contents that have all measures of the run."""
    rows: dict[str, list[RowKey]] = defaultdict(list)
    for key, row in criteria.measured.rows.items():
        is_complete = row.has_tokens or TOKEN_TABLE not in criteria.measures
        if row.content_key in contents and is_complete and not row.lacks(criteria.measures):
            rows[str(row.content_key)].append(key)
    return rows


def _rows_for(target: Target, keys: Iterable[RowKey], criteria: PlanCriteria) -> list[RowKey]:
    """Those of the rows that serve a target, the best first: of the same tokenizer, and not copies."""
    rows: MeasuredRows = criteria.measured
    shares = {key: _same(target.tokenizer_key, rows.rows[key].tokenizer_key) for key in keys}
    may_rename = UNUSED_DISTANCES not in criteria.measures
    serving = [key for key, same in shares.items() if same or (rows.rows[key].has_tokens and may_rename)]
    return sorted(serving, key=lambda key: (not shares[key], rows.rows[key].is_copy, key))


def _serves(first: Target, target: Target, criteria: PlanCriteria) -> bool:
    """Whether the row of a target that is measured first will serve another one of the same bytes."""
    by_names_alone = TOKEN_TABLE in criteria.measures and UNUSED_DISTANCES not in criteria.measures
    return by_names_alone or _same(target.tokenizer_key, first.tokenizer_key)


def _same(key: str | None, other: str | None) -> bool:
    return key is not None and key == other
