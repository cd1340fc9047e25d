"""The rows that targets can be copied from, because the bytes of their matrices are known already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from catalog.read.measured import MeasuredRow, RowKey
from jobs.planning.plan import PlanCriteria
from survey.records.measure_definition import TOKEN_TABLE, UNUSED_DISTANCES
from survey.records.target import Target


class StoredSources:
    """The catalog's rows that can be copied: those that answer the run, by today's version of each measure.

    What depends on the tokenizer is made anew from the per-token table; without that table, and with
    distances to reference tokens, which only the matrix gives, the tokenizer must be the same.
    """

    def __init__(self, criteria: PlanCriteria) -> None:
        self.criteria = criteria
        self._by_content: dict[str, list[RowKey]] = defaultdict(list)
        self._by_repo: dict[str, list[RowKey]] = defaultdict(list)
        for key, row in criteria.measured.rows.items() if criteria.copies else ():
            is_complete = row.has_tokens or TOKEN_TABLE not in criteria.measures
            if row.content_key is not None and is_complete and not row.lacks(criteria.measures):
                self._by_content[row.content_key].append(key)
                self._by_repo[key[0].lower()].append(key)

    def row_for(self, target: Target) -> RowKey | None:
        """The row to copy: best one of the same tokenizer, and one that was measured, not copied."""
        rows = self._serving(target, self._by_content.get(target.content_key or "", ()))
        order = {key: (not self._shares(target, key), self._row(key).is_copy, key) for key in rows}
        return min(order, key=order.__getitem__, default=None)

    def relatives_of(self, target: Target) -> list[RowKey]:
        """Rows of equal size that may be of the same bytes: of an earlier commit, and of the stated base.

        Of a pattern's revisions, which are steps of a training, no two are.
        """
        names = [None if target.pattern else target.identity.repo, target.identity.base_model]
        newest = []
        for name in dict.fromkeys(name.lower() for name in names if name):
            alike = [
                key
                for key in self._serving(target, self._by_repo.get(name, ()))
                if self._row(key).stored == (target.spec.dtype, *target.spec.shape)
                and key[2] == target.identity.matrix
            ]
            newest += sorted(alike, key=lambda key: (self._row(key).measured_at or datetime.min, key))[-1:]
        return newest

    def content_of(self, key: RowKey) -> str | None:
        """The content key of a row."""
        return self._row(key).content_key

    def _serving(self, target: Target, keys: Iterable[RowKey]) -> list[RowKey]:
        may_rename = UNUSED_DISTANCES not in self.criteria.measures
        return [
            key for key in keys if self._shares(target, key) or (may_rename and self._row(key).has_tokens)
        ]

    def _shares(self, target: Target, key: RowKey) -> bool:
        return _same(target.tokenizer_key, self._row(key).tokenizer_key)

    def _row(self, key: RowKey) -> MeasuredRow:
        return self.criteria.measured.rows[key]


def sources_of(targets: Sequence[Target], stored: StoredSources) -> dict[RowKey, RowKey]:
    """Target -> the row of the same bytes, for those that have one.

    The row is in the catalog, or it is that of an earlier target, which is measured first.
    """
    criteria = stored.criteria
    sources: dict[RowKey, RowKey] = {}
    measured: dict[str, list[Target]] = defaultdict(list)
    for target in targets:
        earlier = measured[target.content_key] if target.content_key and criteria.copies else []
        rows: list[RowKey | None] = [stored.row_for(target), target.same_as.row if target.same_as else None]
        rows += [item.key for item in earlier if _serves(item, target, criteria)]
        if source := next(filter(None, rows), None):
            sources[target.key] = source
        else:
            earlier.append(target)
    return sources


def _serves(first: Target, target: Target, criteria: PlanCriteria) -> bool:
    """Whether the row of a target that is measured first will serve another one of the same bytes."""
    by_names_alone = TOKEN_TABLE in criteria.measures and UNUSED_DISTANCES not in criteria.measures
    return by_names_alone or _same(target.tokenizer_key, first.tokenizer_key)


def _same(key: str | None, other: str | None) -> bool:
    return key is not None and key == other
