"""Spectra of rows whose bytes are those of another row with a spectrum: copied under their own key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from catalog.read.measured import RowKey
from catalog.read.reader import Reader, key_lists
from catalog.store.open import CatalogStore
from catalog.write.commit import commit_result
from survey.errors import SurveyError
from survey.process.clock import utc_now
from survey.records.results import Direction, SpectrumRow

_AT_ONCE = 64  # each holds two lists of D numbers
# The rows of these keys that have no spectrum, each with one of a row of the same bytes.
_COPIES = """
with lacking as (
    select repo, revision, sha, matrix, content_key from measured_rows
    semi join each_key($repos, $shas, $matrices) using (repo, sha, matrix)
    anti join spectra using (repo, sha, matrix)
    where content_key is not null
),
twins as (
    select content_key, repo, sha, matrix from measured_rows
    semi join spectra using (repo, sha, matrix)
    where content_key in (select content_key from lacking)
)
select lacking.repo, lacking.revision, lacking.sha, lacking.matrix, twins.repo, twins.sha, twins.matrix
from lacking join twins using (content_key)
qualify row_number() over (
    partition by lacking.repo, lacking.sha, lacking.matrix order by twins.repo, twins.sha, twins.matrix
) = 1
"""
_SPECTRA = "select * from spectra semi join each_key($repos, $shas, $matrices) using (repo, sha, matrix)"


@dataclass
class CopiedSpectra:
    """The keys that got a spectrum, and why others did not."""

    keys: list[RowKey]
    problems: list[str]


def copy_spectra(store: CatalogStore, keys: Sequence[RowKey]) -> CopiedSpectra:
    """Copy and commit the spectra of rows that lack one. Raises SurveyError, UsageError."""
    copied = CopiedSpectra([], [])
    with Reader(store) as reader:
        copies = reader.ask(_COPIES, key_lists(keys)).rows if keys else []
        for first in range(0, len(copies), _AT_ONCE):
            some = copies[first : first + _AT_ONCE]
            spectra = _spectra(reader, [(repo, sha, matrix) for *_, repo, sha, matrix in some])
            for repo, revision, sha, matrix, *source in some:
                own = {"repo": repo, "revision": revision, "sha": sha, "matrix": matrix}
                row = replace(spectra[tuple(source)], **own, made_at=utc_now(), elapsed_s=0.0)
                try:
                    commit_result(store, "spectra", (repo, sha, matrix), row)
                    copied.keys.append((repo, sha, matrix))
                except SurveyError as error:
                    copied.problems.append(f"{repo}: {error}")
    return copied


def _spectra(reader: Reader, keys: Sequence[RowKey]) -> dict[tuple[str, ...], SpectrumRow]:
    """The spectra of these keys."""
    answer = reader.ask(_SPECTRA, key_lists(keys))
    rows = (_row(dict(zip(answer.names, values, strict=True))) for values in answer.rows)
    return {(row.repo, row.sha, row.matrix): row for row in rows}


def _row(values: dict[str, Any]) -> SpectrumRow:  # Any: values of columns
    for name in ("singular_values", "live_singular_values"):
        if values[name] is not None:
            values[name] = np.array(values[name], dtype=np.float32)
    if values["directions"] is not None:
        values["directions"] = tuple(Direction(**direction) for direction in values["directions"])
    return SpectrumRow(**{field.name: values[field.name] for field in fields(SpectrumRow)})
