"""`survey kinematics`: the motion of a recorded history, as a row of the catalog."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from catalog.store.open import CatalogStore
from jobs.single_results.commit import commit_row, made_here
from survey.dynamics.history import History, Holds
from survey.dynamics.kinematics import kinematics
from survey.dynamics.motion import Frame
from survey.records.column_field import values_of
from survey.records.results import KinematicsRow, Motion


@dataclass(frozen=True, slots=True)
class KinematicsRequest:
    """The history to analyse, and how to read it. output: file of the six tensors, if they are kept."""

    source: Path
    output: Path | None = None
    tensor: str | None = None
    holds: Holds | None = None
    frame: Frame | None = None


def follow_history(
    request: KinematicsRequest, store: CatalogStore, progress: Callable[[int], Callable[[], None]]
) -> KinematicsRow:
    """Compute the motion of a history's dead rows; progress(n) makes a counter of n steps.

    Raises UsageError, BrokenFile, CommitError.
    """
    with History(request.source, tensor=request.tensor, holds=request.holds) as history:
        on_step = progress(len(history.steps))
        motion = kinematics(history, request.output, frame=request.frame, on_step=on_step)
    output = None if request.output is None else str(request.output.resolve())
    return commit_motion(store, motion, str(request.source.resolve()), output)


def commit_motion(
    store: CatalogStore, motion: Motion, source: str, output: str | None = None
) -> KinematicsRow:
    """The row of a source; the newest of the same source is shown. Raises CommitError."""
    row = KinematicsRow(**values_of(motion, made_here()), source=source, output=output)
    return commit_row(store, "kinematics", (source,), row)
