"""Differences from earlier runs: new, changed, gone and failing models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from sys import intern
from typing import Any

from catalog.read.pieces import Pieces
from catalog.read.reader import Reader
from survey.records.catalog_rows import Attempt

GONE = frozenset({"not-found", "revision-not-found", "gated", "disabled"})

NamedModel = tuple[str, str]  # repo, revision
# The times are found first, from few columns: a window would hold all attempts of a year in memory.
_GOOD = """
WITH newest AS (
    SELECT repo, revision, pattern, max(finished_at) AS finished_at
    FROM attempts WHERE status <> 'failed' GROUP BY ALL
)
SELECT repo, revision, sha, pattern FROM (
    SELECT * FROM attempts
    WHERE status <> 'failed' AND EXISTS (
        FROM newest
        WHERE newest.repo = attempts.repo AND newest.revision = attempts.revision
            AND newest.pattern IS NOT DISTINCT FROM attempts.pattern
            AND newest.finished_at = attempts.finished_at
    )
    QUALIFY row_number() OVER (PARTITION BY repo, revision, pattern ORDER BY run_id DESC, sha) = 1
)
ORDER BY finished_at, run_id, sha
"""
# A model that a stopped run did not reach is not failing.
_FAILING = """
WITH good AS (
    SELECT repo, revision, matrix, max(finished_at) AS good_at
    FROM attempts WHERE status <> 'failed' GROUP BY ALL
)
SELECT repo, revision, matrix, min(finished_at)
FROM attempts
LEFT JOIN good USING (repo, revision, matrix)
WHERE status = 'failed' AND reason IS DISTINCT FROM 'interrupted'
    AND (good_at IS NULL OR finished_at > good_at)
GROUP BY repo, revision, matrix
"""


@dataclass(frozen=True, slots=True)
class Before:
    """The state of the catalog before a run.

    shas: the last commit of each revision. measured: repositories with their revisions and patterns.
    steps: the revisions that each pattern of a repository matched last.
    failing: repo, revision and matrix whose last attempt failed -> since when.
    """

    shas: Mapping[NamedModel, str] = field(default_factory=dict)
    rows: frozenset[tuple[str, str]] = frozenset()  # repo, sha
    repos: frozenset[str] = frozenset()
    measured: frozenset[NamedModel] = frozenset()
    steps: Mapping[NamedModel, frozenset[str]] = field(default_factory=dict)
    failing: Mapping[tuple[str, str, str], datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """One model's state. sha_before: its revision's earlier commit; since: its first failure in a row."""

    repo: str
    revision: str
    matrix: str
    sha: str | None = None
    sha_before: str | None = None
    reason: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """Every model of a run, in one of five lists; a model whose matrices differ may be in two."""

    new: list[Change] = field(default_factory=list)
    changed: list[Change] = field(default_factory=list)
    unchanged: list[Change] = field(default_factory=list)
    gone: list[Change] = field(default_factory=list)
    failing: list[Change] = field(default_factory=list)


def read_before(reader: Reader) -> Before:
    """The state of the catalog now."""
    rows = _interned(reader, "SELECT repo, revision, sha FROM measured_rows ORDER BY measured_at, sha")
    good = _interned(reader, _GOOD)
    steps = reader.ask(
        "SELECT repo, pattern, list(DISTINCT revision) FROM (SELECT *, max(run_id) "
        "OVER (PARTITION BY repo, pattern) AS last FROM attempts WHERE revision <> pattern) "
        "WHERE run_id = last GROUP BY repo, pattern"
    ).rows
    failing = reader.ask(_FAILING).rows
    shas = {(repo, revision): sha for repo, revision, sha in rows}
    shas |= {(repo, revision): sha for repo, revision, sha, _ in good}
    patterns = {(repo, pattern) for repo, _, _, pattern in good if pattern}
    return Before(
        shas,
        frozenset((repo, sha) for repo, _, sha in rows),
        frozenset(repo for repo, _ in shas),
        frozenset(shas) | patterns,
        {(repo, pattern): frozenset(names) for repo, pattern, names in steps},
        {(repo, revision, matrix): since for repo, revision, matrix, since in failing},
    )


def _interned(reader: Reader, sql: str) -> list[tuple[Any, ...]]:  # Any: texts, or None
    """The rows of an answer of texts; equal ones are one object, as each name stands in several records."""

    def rows_of(pieces: Pieces) -> list[tuple[Any, ...]]:
        rows = chain.from_iterable(pieces.rows)
        return [tuple(text if text is None else intern(text) for text in row) for row in rows]

    return reader.ask_pieces(sql, None, rows_of)


def changes(attempts: Sequence[Attempt], before: Before) -> Changes:
    """Compare a run's attempts with the state before it."""
    lists = Changes()
    recorded: set[tuple[str, str, str]] = set()
    for attempt in attempts:
        kind, change = _change(attempt, before)
        # Both matrices of a model are one change, but each may fail for another reason.
        key = (kind or "", change.repo, change.revision)
        if kind is None or (kind != "failing" and key in recorded):
            continue
        recorded.add(key)
        getattr(lists, kind).append(change)
    lists.gone.extend(_steps_gone(attempts, before))
    return lists


def _steps_gone(attempts: Sequence[Attempt], before: Before) -> list[Change]:
    """The revisions that a pattern matched last and no longer matches; reported once."""
    now: dict[NamedModel, dict[str, str]] = {}
    for attempt in attempts:
        if attempt.pattern is not None and attempt.revision != attempt.pattern:
            now.setdefault((attempt.repo, attempt.pattern), {})[attempt.revision] = attempt.matrix
    return [
        Change(repo, name, min(names.values()), None, before.shas.get((repo, name)), "revision-not-found")
        for (repo, pattern), names in now.items()
        for name in sorted(before.steps.get((repo, pattern), frozenset()) - names.keys())
    ]


def _change(attempt: Attempt, before: Before) -> tuple[str | None, Change]:
    repo, revision, sha = attempt.repo, attempt.revision, attempt.sha
    known = before.shas.get((repo, revision))
    if attempt.status == "failed":
        since = before.failing.get((repo, revision, attempt.matrix), attempt.finished_at)
        change = Change(repo, revision, attempt.matrix, sha, known, attempt.reason, since)
        if attempt.reason == "interrupted":
            return None, change
        gone = attempt.reason in GONE and (repo, revision) in before.measured
        return ("gone" if gone else "failing"), change
    change = Change(repo, revision, attempt.matrix, sha, known)
    if repo not in before.repos:
        return "new", change
    same = sha == known or (known is None and (repo, sha) in before.rows)
    return ("unchanged" if same else "changed"), change
