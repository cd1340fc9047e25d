"""`survey kinematics --from-catalog`: the surveyed revisions of a model as the steps of its training.

Which rows are dead is said by the last revision's black holes. A row is read by range where its hash
is not that of a row already at hand: of this revision or of the one before. What lies between near
ones comes along (`survey/sharding/row_ranges.py`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catalog.read.reader import Reader
from catalog.store.open import CatalogStore
from jobs.results.kinematics import commit_motion
from survey.dynamics.history import gaps
from survey.dynamics.kinematics import Frame, Track, trace_motion
from survey.dynamics.moments import moments_of_weights
from survey.errors import UsageError
from survey.numerics.decoding import widen
from survey.numerics.dtypes import float_format_of
from survey.opening import open_checkpoint
from survey.records.results import KinematicsRow
from survey.records.settings import Settings
from survey.records.target import MatrixName, ModelRef
from survey.sharding.row_ranges import picked_rows
from survey.targets.layout import lay_out
from survey.targets.locate import locate

_REVISIONS = """
WITH named AS (
    SELECT unnest(revisions) AS name, sha, tensor, dtype, vocab_rows, hidden_dim, tensor_bytes, measured_at
    FROM models_history WHERE repo = $repo AND matrix = $matrix
), resolved AS (
    SELECT revision, sha, max(finished_at) AS resolved_at FROM attempts WHERE repo = $repo
    GROUP BY revision, sha
)
SELECT name, named.sha, dtype, vocab_rows, hidden_dim, tensor_bytes
FROM named LEFT JOIN resolved ON resolved.revision = name AND resolved.sha = named.sha
WHERE name GLOB $pattern
QUALIFY row_number() OVER (
    PARTITION BY name ORDER BY resolved_at DESC NULLS LAST, measured_at DESC, named.sha) = 1
"""
_DEAD = """
SELECT DISTINCT unnest(token_ids) AS token_id FROM black_holes
WHERE repo = $repo AND sha = $sha AND matrix = $matrix ORDER BY token_id
"""
_HASHES = """
SELECT token_id, row_hash FROM tokens
WHERE repo = $repo AND sha = $sha AND matrix = $matrix AND list_contains($ids, token_id) ORDER BY token_id
"""


@dataclass(frozen=True, slots=True)
class Revision:
    """A surveyed revision and the step in its name."""

    step: int
    name: str
    sha: str
    dtype: str
    vocab_rows: int
    hidden_dim: int
    tensor_bytes: int


@dataclass(frozen=True, slots=True)
class Followed:
    """The row, and what it cost: bytes of rows read, against those of the revisions' matrices."""

    row: KinematicsRow
    read_bytes: int
    matrix_bytes: int


def follow_revisions(
    model: str,
    place: CatalogStore,
    settings: Settings,
    progress: Callable[[int], Callable[[], None]],
    *,
    matrix: MatrixName = "output",
    output: Path | None = None,
    frame: Frame | None = None,
) -> Followed:
    """Follow the dead rows of `org/name@pattern` along the revisions that the catalog holds.

    Raises UsageError where it holds fewer than two, or they cannot be compared; SurveyError where rows
    cannot be read; CommitError.
    """
    repo, _, pattern = model.partition("@")
    if not pattern:
        raise UsageError(f"{model}: write org/name@pattern, such as {repo}@step*")
    with Reader(place) as reader:
        revisions = surveyed(reader, repo, pattern, matrix)
        dead = _dead(reader, repo, revisions, matrix)
        rows = _Rows(reader, repo, matrix, dead, settings)
        steps = np.array([revision.step for revision in revisions])
        frame = frame or "absolute"
        moments = moments_of_weights(rows.along(revisions), displaced=frame == "displacement")
        track = Track(steps, dead, revisions[0].hidden_dim, frame, gaps(steps))
        found = trace_motion(moments, track, output, on_step=progress(len(revisions)))
    source = model if matrix == "output" else f"{model} ({matrix})"
    row = commit_motion(place, found, source, None if output is None else str(output.resolve()))
    return Followed(row, rows.read_bytes, sum(revision.tensor_bytes for revision in revisions))


def surveyed(reader: Reader, repo: str, pattern: str, matrix: MatrixName) -> list[Revision]:
    """The revisions that match, by their steps. Raises UsageError as `follow_revisions`."""
    answer = reader.ask(_REVISIONS, {"repo": repo, "pattern": pattern, "matrix": matrix})
    steps = [(_step(str(row[0])), row) for row in answer.rows]
    if nameless := [str(row[0]) for step, row in steps if step is None]:
        raise UsageError(f"{repo}@{nameless[0]}: no step in this name; write a pattern such as step*")
    found = [Revision(step, *row) for step, row in steps if step is not None]
    by_place = {(item.step, item.sha): item for item in found}  # two names of one commit are one step
    revisions = sorted(by_place.values(), key=lambda item: (item.step, item.name))
    if len(revisions) < 2:
        raise UsageError(
            f"{repo}@{pattern}: {len(revisions)} surveyed revisions match, expected two or more. "
            f"`survey run '{repo}@{pattern}'` measures them"
        )
    for one, other in itertools.pairwise(revisions):
        if one.step == other.step:
            raise UsageError(
                f"{repo}: {one.name} and {other.name} are both step {one.step}: write a narrower pattern"
            )
        if one.hidden_dim != other.hidden_dim:
            raise UsageError(
                f"{repo}: {one.name} has {one.hidden_dim} dimensions, {other.name} {other.hidden_dim}"
            )
    return revisions


def _dead(reader: Reader, repo: str, revisions: Sequence[Revision], matrix: MatrixName) -> NDArray[np.int64]:
    last = revisions[-1]
    answer = reader.ask(_DEAD, {"repo": repo, "sha": last.sha, "matrix": matrix})
    dead = np.array([row[0] for row in answer.rows], dtype=np.int64)
    if not len(dead):
        raise UsageError(f"{repo}@{last.name} has no black holes: there are no dead rows to follow")
    for revision in revisions:
        if dead[-1] >= revision.vocab_rows:
            raise UsageError(
                f"{repo}@{revision.name} has {revision.vocab_rows} rows; dead row {dead[-1]} "
                f"of {last.name} is not among them"
            )
    return dead


def _step(name: str) -> int | None:
    """As the query `trajectory` has it: `stage1-step1000` is step 1000."""
    found = re.search(r"step[-_]?([0-9]+)", name, re.IGNORECASE) or re.search(r"([0-9]+)", name)
    return int(found[1]) if found else None


class _Rows:
    """The dead rows of one revision after another. read_bytes: what came of rows so far."""

    def __init__(
        self, reader: Reader, repo: str, matrix: MatrixName, dead: NDArray[np.int64], settings: Settings
    ) -> None:
        self._reader, self._repo, self._matrix = reader, repo, matrix
        self._dead, self._settings = dead, settings
        self.read_bytes = 0

    def along(self, revisions: Sequence[Revision]) -> Iterator[NDArray[np.float64]]:
        """[K, D] in float64 for each revision. Raises SurveyError, UsageError."""
        known: dict[int, bytes] = {}  # row hash -> stored bytes, of the revision before
        dtype = ""
        for revision in revisions:
            if revision.dtype != dtype:
                known, dtype = {}, revision.dtype  # other bytes for the same values
            hashes = self._hashes(revision)
            stored, known = self._stored(revision, hashes, known)
            form = float_format_of(dtype, f"{self._repo}@{revision.name}")
            found = widen(b"".join(stored), form, revision.hidden_dim)
            if not np.isfinite(found).all():
                raise UsageError(f"{self._repo}@{revision.name}: a dead row holds a NaN or an infinity")
            yield found

    def _hashes(self, revision: Revision) -> list[int | None]:
        """Of each dead row, where the per-token table was kept."""
        asked = {"repo": self._repo, "sha": revision.sha, "matrix": self._matrix, "ids": self._dead.tolist()}
        found = dict(self._reader.ask(_HASHES, asked).rows)
        return [found.get(token) for token in self._dead.tolist()]

    def _stored(
        self, revision: Revision, hashes: Sequence[int | None], known: dict[int, bytes]
    ) -> tuple[list[bytes], dict[int, bytes]]:
        """The stored bytes of each dead row, and by hash."""
        first_of: dict[int, int] = {}  # a hash that is not known -> the row to read for it
        for row, found in zip(self._dead.tolist(), hashes, strict=True):
            if found is not None and found not in known:
                first_of.setdefault(found, row)
        hashless = [row for row, found in zip(self._dead.tolist(), hashes, strict=True) if found is None]
        wanted = sorted({*first_of.values(), *hashless})
        read = dict(zip(wanted, self._read(revision, wanted), strict=True))
        by_hash = {found: known[found] for found in hashes if found is not None and found in known}
        by_hash |= {found: read[row] for found, row in first_of.items()}
        stored = [
            read[row] if found is None else by_hash[found]
            for row, found in zip(self._dead.tolist(), hashes, strict=True)
        ]
        return stored, by_hash

    def _read(self, revision: Revision, rows: Sequence[int]) -> list[bytes]:
        if not rows:
            return []
        # By its commit: what the catalog holds is what was measured, whatever the branch is now.
        checkpoint = open_checkpoint(ModelRef(self._repo, revision.sha), self._settings)
        target = locate(lay_out(checkpoint), self._matrix)
        where = f"{self._repo}@{revision.name}"
        if target.scale is not None:
            raise UsageError(f"{where}: its {revision.dtype} values have a scale beside them: not followed")
        expected = (revision.dtype, (revision.vocab_rows, revision.hidden_dim))
        if (target.spec.dtype, target.spec.shape) != expected:
            raise UsageError(
                f"{where}: is {target.spec.dtype} {list(target.spec.shape)} now, was measured as "
                f"{expected[0]} {list(expected[1])}: run the survey again with --resurvey"
            )

        def count(got: int) -> None:
            self.read_bytes += got

        return picked_rows(checkpoint, target.spec, rows, count)
