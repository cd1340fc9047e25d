"""`survey kinematics --from-catalog`: the surveyed revisions of a model as the steps of its training.

The last revision's black holes say which rows are dead. A row is read by range unless its hash is that of
a row already read: of this revision or of the one before. Bytes between near rows are read with them
(`survey/sharding/row_ranges.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catalog.read.reader import Reader
from catalog.store.open import CatalogStore
from jobs.single_results.kinematics import commit_motion
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
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate

_REVISIONS = """
select step, name, sha, dtype, vocab_rows, hidden_dim, tensor_bytes
from revisions_of($repo, $matrix)
where name glob $pattern
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
    """The row, and its cost: bytes of rows read, beside those of the revisions' matrices."""

    row: KinematicsRow
    read_bytes: int
    matrix_bytes: int


def follow_revisions(
    model: str,
    store: CatalogStore,
    settings: Settings,
    progress: Callable[[int], Callable[[], None]],
    *,
    matrix: MatrixName = "output",
    output: Path | None = None,
    frame: Frame | None = None,
) -> Followed:
    """Compute the motion of the dead rows of `org/name@pattern` over the revisions in the catalog.

    Raises UsageError if the catalog holds fewer than two, or they cannot be compared; SurveyError if rows
    cannot be read; CommitError.
    """
    repo, _, pattern = model.partition("@")
    if not pattern:
        raise UsageError(f"{model}: write org/name@pattern, such as {repo}@step*")
    with Reader(store) as reader:
        revisions = surveyed(reader, repo, pattern, matrix)
        dead = _dead(reader, repo, revisions, matrix)
        rows = _Rows(reader, repo, matrix, dead, settings)
        steps = np.array([revision.step for revision in revisions])
        frame = frame or "absolute"
        moments = moments_of_weights(rows.along(revisions), displaced=frame == "displacement")
        track = Track(steps, dead, revisions[0].hidden_dim, frame, gaps(steps))
        motion = trace_motion(moments, track, output, on_step=progress(len(revisions)))
    source = model if matrix == "output" else f"{model} ({matrix})"
    row = commit_motion(store, motion, source, None if output is None else str(output.resolve()))
    return Followed(row, rows.read_bytes, sum(revision.tensor_bytes for revision in revisions))


def surveyed(reader: Reader, repo: str, pattern: str, matrix: MatrixName) -> list[Revision]:
    """The matching revisions in the order of their steps. Raises UsageError as `follow_revisions`."""
    answer = reader.ask(_REVISIONS, {"repo": repo, "pattern": pattern, "matrix": matrix})
    if without_step := [name for step, name, *_ in answer.rows if step is None]:
        raise UsageError(f"{repo}@{without_step[0]}: no step in this name; write a pattern such as step*")
    # Two names of one commit are one step.
    by_commit = {(item.step, item.sha): item for item in (Revision(*row) for row in answer.rows)}
    revisions = sorted(by_commit.values(), key=lambda item: (item.step, item.name))
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


class _Rows:
    """Reads the dead rows of one revision after another. read_bytes: bytes of rows read so far."""

    def __init__(
        self, reader: Reader, repo: str, matrix: MatrixName, dead: NDArray[np.int64], settings: Settings
    ) -> None:
        self._reader, self._repo, self._matrix = reader, repo, matrix
        self._dead, self._settings = dead, settings
        self.read_bytes = 0

    def along(self, revisions: Sequence[Revision]) -> Iterator[NDArray[np.float64]]:
        """The dead rows of each revision, [K, D] in float64. Raises SurveyError, UsageError."""
        known: dict[int, bytes] = {}  # row hash -> stored bytes, of the revision before
        dtype = ""
        for revision in revisions:
            if revision.dtype != dtype:
                known, dtype = {}, revision.dtype  # the same values have other bytes
            hashes = self._hashes(revision)
            stored, known = self._stored(revision, hashes, known)
            form = float_format_of(dtype, f"{self._repo}@{revision.name}")
            vectors = widen(b"".join(stored), form, revision.hidden_dim)
            if not np.isfinite(vectors).all():
                raise UsageError(f"{self._repo}@{revision.name}: a dead row holds a NaN or an infinity")
            yield vectors

    def _hashes(self, revision: Revision) -> list[int | None]:
        """The hash of each dead row; None if the revision has no per-token table."""
        rows = self._dead.tolist()
        parameters = {"repo": self._repo, "sha": revision.sha, "matrix": self._matrix, "ids": rows}
        by_row = dict(self._reader.ask(_HASHES, parameters).rows)
        return [by_row.get(row) for row in rows]

    def _stored(
        self, revision: Revision, hashes: Sequence[int | None], known: dict[int, bytes]
    ) -> tuple[list[bytes], dict[int, bytes]]:
        """The stored bytes of each dead row, and by hash those whose hash is known."""
        rows = self._dead.tolist()
        first_of: dict[int, int] = {}  # a hash that is not known -> the row to read for it
        for row, row_hash in zip(rows, hashes, strict=True):
            if row_hash is not None and row_hash not in known:
                first_of.setdefault(row_hash, row)
        hashless = [row for row, row_hash in zip(rows, hashes, strict=True) if row_hash is None]
        unread = sorted({*first_of.values(), *hashless})
        read = dict(zip(unread, self._read(revision, unread), strict=True))
        by_hash = {key: known[key] for key in hashes if key is not None and key in known}
        by_hash |= {row_hash: read[row] for row_hash, row in first_of.items()}
        stored = [
            read[row] if row_hash is None else by_hash[row_hash]
            for row, row_hash in zip(rows, hashes, strict=True)
        ]
        return stored, by_hash

    def _read(self, revision: Revision, rows: Sequence[int]) -> list[bytes]:
        if not rows:
            return []
        # By its commit: the catalog describes that one, wherever the branch points now.
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
