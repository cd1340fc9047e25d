"""`survey kinematics --from-catalog`: the surveyed revisions of a model as the steps of its training.

The rows in the last revision's black holes are the dead rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from catalog.read.reader import Reader
from catalog.store.open import CatalogStore
from jobs.single_results.kinematics import commit_motion
from jobs.single_results.revision_rows import DeadRows, Revision
from survey.dynamics.gaps import gaps
from survey.dynamics.kinematics import trace_motion
from survey.dynamics.moments import moments_of_weights
from survey.dynamics.motion import Frame, Track
from survey.errors import UsageError
from survey.records.results import KinematicsRow
from survey.records.settings import Settings
from survey.records.target import MatrixName

_REVISIONS = """
select step, name, sha, dtype, vocab_rows, hidden_dim, tensor_bytes
from revisions_of($repo, $matrix)
where name glob $pattern
"""
_DEAD = """
SELECT DISTINCT unnest(token_ids) AS token_id FROM black_holes
WHERE repo = $repo AND sha = $sha AND matrix = $matrix ORDER BY token_id
"""


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
        rows = DeadRows(reader, repo, matrix, dead, settings)
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
    for earlier, later in itertools.pairwise(revisions):
        if earlier.step == later.step:
            raise UsageError(
                f"{repo}: {earlier.name} and {later.name} are both step {earlier.step}: narrow the pattern"
            )
        if earlier.hidden_dim != later.hidden_dim:
            raise UsageError(
                f"{repo}: {earlier.name} has {earlier.hidden_dim} dimensions, {later.name} {later.hidden_dim}"
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
