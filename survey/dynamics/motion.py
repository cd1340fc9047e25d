"""The figures of a cloud's motion: those of each step, and those of the whole run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from survey.dynamics.gaps import Gap
from survey.dynamics.moments import Moment, Positions
from survey.dynamics.stops import stop_step
from survey.numerics.vectors import finite_or_none, row_lengths
from survey.records.results import Motion

Frame = Literal["absolute", "displacement"]


@dataclass(frozen=True, slots=True)
class Track:
    """The facts about a run's moments that are known beforehand.

    steps: [N]. dead: [K] row numbers. loss: [N]. first_move: whether the first step's velocities are known.
    """

    steps: NDArray[np.int64]
    dead: NDArray[np.int64]
    dims: int
    frame: Frame
    gaps: Sequence[Gap]
    loss: Positions | None = None
    first_move: bool = False


@dataclass(slots=True)
class StepFigures:
    """The figures of every step, without its rows."""

    centroid_norm: list[float] = field(default_factory=list)
    bulk_speed: list[float] = field(default_factory=list)
    thermal_rms: list[float] = field(default_factory=list)
    thermal_sum: list[float] = field(default_factory=list)
    mean_radius: list[float] = field(default_factory=list)
    max_radius: list[float] = field(default_factory=list)
    from_start: list[float] = field(default_factory=list)

    def add(self, moment: Moment, stored_thermal: NDArray[np.float32], start: Positions) -> None:
        """Add a step. stored_thermal: [K, D] as written. start: the centroid before the first step, [D]."""
        radii = row_lengths(moment.positions - moment.centroid)
        self.centroid_norm.append(float(np.linalg.norm(moment.centroid)))
        self.bulk_speed.append(float(np.linalg.norm(moment.bulk)))
        self.thermal_rms.append(float(np.sqrt(np.mean(row_lengths(moment.thermal) ** 2))))
        self.thermal_sum.append(float(np.linalg.norm(stored_thermal.sum(axis=0, dtype=np.float64))))
        self.mean_radius.append(float(radii.mean()))
        self.max_radius.append(float(radii.max()))
        self.from_start.append(float(np.linalg.norm(moment.centroid - start)))


def motion_of(figures: StepFigures, track: Track) -> Motion:
    """The columns of the view `kinematics`."""
    steps, loss = track.steps, track.loss
    norms = np.array(figures.centroid_norm)
    lowest, highest = int(norms.argmin()), int(norms.argmax())
    path, displacement = sum(figures.bulk_speed), figures.from_start[-1]
    ratios = [
        bulk / thermal if thermal > 0 else None
        for bulk, thermal in zip(figures.bulk_speed, figures.thermal_rms, strict=True)
    ]
    return Motion(
        dead_count=len(track.dead),
        hidden_dim=track.dims,
        recorded_count=len(steps),
        first_step=int(steps[0]),
        last_step=int(steps[-1]),
        missing_steps=sum(gap.missing for gap in track.gaps),
        gaps=tuple(gap.after for gap in track.gaps),
        frame=track.frame,
        centroid_norm_first=figures.centroid_norm[0],
        centroid_norm_last=figures.centroid_norm[-1],
        centroid_norm_min=figures.centroid_norm[lowest],
        centroid_norm_min_step=int(steps[lowest]),
        centroid_norm_max=figures.centroid_norm[highest],
        centroid_norm_max_step=int(steps[highest]),
        path_length=path,
        displacement=displacement,
        straightness=displacement / path if path > 0 else None,
        thermal_sum_max=max(figures.thermal_sum),
        thermal_sum_mean=float(np.mean(figures.thermal_sum)),
        mean_radius_first=figures.mean_radius[0],
        mean_radius_last=figures.mean_radius[-1],
        bulk_stop_step=stop_step(np.array(figures.from_start), steps),
        contraction_stop_step=stop_step(np.array(figures.mean_radius), steps),
        loss_stop_step=None if loss is None else stop_step(loss, steps),
        steps=tuple(steps.tolist()),
        centroid_norm=tuple(figures.centroid_norm),
        bulk_speed=_if_known(figures.bulk_speed, track.first_move),
        thermal_rms=_if_known(figures.thermal_rms, track.first_move),
        bulk_thermal_ratio=_if_known(ratios, track.first_move),
        mean_radius=tuple(figures.mean_radius),
        max_radius=tuple(figures.max_radius),
        loss=() if loss is None else tuple(finite_or_none(value) for value in loss.tolist()),
    )


def _if_known(values: Sequence[float | None], first_move: bool) -> tuple[float | None, ...]:
    return tuple(values) if first_move else (None, *values[1:])
