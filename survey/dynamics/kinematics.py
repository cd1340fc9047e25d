"""The motion of a cloud of dead rows, split into the motion of its centre and the motion within it.

With x_i(t) the position of row i, c(t) = mean_i x_i(t) and v_i(t) = x_i(t) − x_i(t−1):
bulk velocity u(t) = mean_i v_i(t) = c(t) − c(t−1), thermal velocities v_i(t) − u(t). All arithmetic is
float64, one step at a time; what is stored is float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from survey.dynamics.history import Gap, History
from survey.dynamics.moments import Moment, Positions, moments_of_deltas, moments_of_weights
from survey.dynamics.stops import stop_step
from survey.errors import UsageError
from survey.formats.safetensors_file import FileLayout, TensorWriter
from survey.numerics.vectors import finite_or_none, row_lengths
from survey.records.results import Motion

Frame = Literal["absolute", "displacement"]


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


def kinematics(
    history: History,
    output: Path | None,
    *,
    frame: Frame | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> Motion:
    """Trace the motion of the dead rows of a history and write six tensors to `output`.

    recorded_steps [N] and dead_token_ids [K] in I64; positions [N, K, D], centroid [N, D],
    bulk_velocity [N, D] and thermal_velocities [N, K, D] in F32. From deltas bulk_velocity[0] is the
    first move; from weights it is zero. frame: None is absolute if the start is known. Memory: a few times
    one step's dead rows in float64. Raises UsageError, BrokenFile.
    """
    start = history.start() if frame != "displacement" else None
    start_known = history.holds == "weights" or start is not None
    if frame == "absolute" and not start_known:
        raise UsageError(
            f"{history.path}: holds no initial_W, so positions are displacements from an unknown start; "
            "leave out --frame absolute"
        )
    frame = frame or ("absolute" if start_known else "displacement")
    track = Track(
        history.steps,
        history.dead,
        history.shape[2],
        frame,
        history.gaps,
        loss=history.loss(),
        first_move=history.holds == "deltas",
    )
    if history.holds == "deltas":
        moments = moments_of_deltas(history.records(), start)
    else:
        moments = moments_of_weights(history.records(), displaced=frame == "displacement")
    return trace_motion(moments, track, output, start=start, on_step=on_step)


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


def trace_motion(
    moments: Iterable[Moment],
    track: Track,
    output: Path | None,
    *,
    start: Positions | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> Motion:
    """Write the six tensors of these moments, one at a time, and return the figures of their motion.

    start: the rows before the first step, [K, D]; None if they are unknown, or are the first step's.
    """
    figures = StepFigures()
    start_centroid = None if start is None else start.mean(axis=0)
    with _tensor_writer(track, output) as writer:
        for index, moment in enumerate(moments):
            if start_centroid is None:
                start_centroid = moment.centroid - moment.bulk
            thermal = moment.thermal.astype(np.float32)
            figures.add(moment, thermal, start_centroid)
            if writer is not None:
                writer.put("positions", moment.positions[None], index)
                writer.put("centroid", moment.centroid[None], index)
                writer.put("bulk_velocity", moment.bulk[None], index)
                writer.put("thermal_velocities", thermal[None], index)
            on_step()
    return _motion(figures, track)


def _motion(figures: StepFigures, track: Track) -> Motion:
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


def _tensor_writer(track: Track, output: Path | None) -> AbstractContextManager[TensorWriter | None]:
    if output is None:
        return nullcontext()
    count, dims, dead = len(track.steps), track.dims, len(track.dead)
    layout: FileLayout = {
        "recorded_steps": ("I64", (count,)),
        "dead_token_ids": ("I64", (dead,)),
        "positions": ("F32", (count, dead, dims)),
        "centroid": ("F32", (count, dims)),
        "bulk_velocity": ("F32", (count, dims)),
        "thermal_velocities": ("F32", (count, dead, dims)),
    }
    writer = TensorWriter(output, layout)
    writer.put("recorded_steps", track.steps)
    writer.put("dead_token_ids", track.dead)
    return writer
