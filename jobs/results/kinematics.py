"""`survey kinematics`: follow a recorded history and put its row into the catalog."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from catalog.store.open import CatalogStore
from jobs.results.commit import columns, commit_row, run_columns
from survey.dynamics.history import History, Holds
from survey.dynamics.kinematics import Frame, kinematics
from survey.records.results import KinematicsRow, Motion


@dataclass(frozen=True, slots=True)
class KinematicsRequest:
    """What to follow, and how to read it. output: where the six tensors go, if anywhere."""

    source: Path
    output: Path | None = None
    tensor: str | None = None
    holds: Holds | None = None
    frame: Frame | None = None


def follow_history(
    wanted: KinematicsRequest, place: CatalogStore, progress: Callable[[int], Callable[[], None]]
) -> KinematicsRow:
    """Follow a history's dead rows; progress makes a counter of that many steps.

    Raises UsageError, BrokenFile, CommitError.
    """
    with History(wanted.source, tensor=wanted.tensor, holds=wanted.holds) as history:
        found = kinematics(history, wanted.output, frame=wanted.frame, on_step=progress(len(history.steps)))
    output = None if wanted.output is None else str(wanted.output.resolve())
    return commit_motion(place, found, str(wanted.source.resolve()), output)


def commit_motion(
    place: CatalogStore, found: Motion, source: str, output: str | None = None
) -> KinematicsRow:
    """The row of a source; the newest of the same source is shown. Raises CommitError."""
    row = KinematicsRow(**columns(found), **run_columns(), source=source, output=output)
    return commit_row(place, "kinematics", (source,), row)
