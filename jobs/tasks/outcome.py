"""The outcome of a task; these records travel from a worker to the driver."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.write.arrow_tables import Tables
from survey.records.results import SpectrumRow
from survey.records.target import Target


@dataclass(frozen=True, slots=True)
class Headline:
    """The few figures that the run's table shows."""

    dtype: str
    black_hole_count: int
    dead_count: int
    centroid_ratio: float | None
    dead_live_angle_deg: float | None


@dataclass(frozen=True, slots=True)
class SpectrumOutcome:
    """The spectrum of a matrix. row: None once it is committed. problem: why there is none, if so."""

    row: SpectrumRow | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """A measured matrix, as the tables that go to the catalog; None if the task committed them.

    measured_from: repo@sha of the row that was copied; None if the matrix was read. spectrum: None if none
    was to be computed.
    """

    target: Target
    tables: Tables | None
    headline: Headline
    fetched_bytes: int
    elapsed_s: float
    host: str
    measured_from: str | None = None
    spectrum: SpectrumOutcome | None = None


@dataclass(frozen=True, slots=True)
class SpectrumAdded:
    """A matrix that was read for its spectrum alone: its row stays as it is."""

    target: Target
    spectrum: SpectrumOutcome
    fetched_bytes: int
    elapsed_s: float
    host: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A task that ended without a measurement."""

    target: Target
    reason: str
    message: str
    fetched_bytes: int = 0
    elapsed_s: float = 0.0
    host: str | None = None


Outcome = Delivered | SpectrumAdded | Failed


def infeasible(target: Target, memory_bytes: float, owner: str) -> Failed:
    """The refusal of a target that needs more memory than its owner has, such as `this process`."""
    needed = f"needs {target.memory_bytes / 1e9:.1f} GB of memory, {owner} has {memory_bytes / 1e9:.1f} GB"
    return Failed(target, "infeasible", f"{target.identity.repo}: {needed}")
