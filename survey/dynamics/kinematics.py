"""The motion of a cloud of dead rows, split into the motion of its centre and the motion within it.

With x_i(t) the position of row i, c(t) = mean_i x_i(t) and v_i(t) = x_i(t) − x_i(t−1):
bulk velocity u(t) = mean_i v_i(t) = c(t) − c(t−1), thermal velocities v_i(t) − u(t). All arithmetic is
float64, one step at a time; what is stored is float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from survey.dynamics.history import Gap, History
from survey.dynamics.stops import stop_step
from survey.errors import UsageError
from survey.formats.safetensors_file import FileLayout, TensorWriter
from survey.records.results import Motion

Frame = Literal["absolute", "displacement"]
Positions = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moment:
    """One recorded step: positions and velocities of the dead rows, [K, D], and their means, [D]."""

    positions: Positions
    centroid: Positions
    bulk: Positions
    thermal: Positions


@dataclass(slots=True)
class Course:
    """What is kept of every step: numbers, never rows."""

    centroid_norm: list[float] = field(default_factory=list)
    bulk_speed: list[float] = field(default_factory=list)
    thermal_rms: list[float] = field(default_factory=list)
    thermal_sum: list[float] = field(default_factory=list)
    mean_radius: list[float] = field(default_factory=list)
    max_radius: list[float] = field(default_factory=list)
    from_start: list[float] = field(default_factory=list)

    def add(self, moment: Moment, stored_thermal: NDArray[np.float32], start: Positions) -> None:
        """start: the centroid before the first step, [D]."""
        radii = _lengths(moment.positions - moment.centroid)
        self.centroid_norm.append(_length(moment.centroid))
        self.bulk_speed.append(_length(moment.bulk))
        self.thermal_rms.append(float(np.sqrt(np.mean(_lengths(moment.thermal) ** 2))))
        self.thermal_sum.append(_length(stored_thermal.sum(axis=0, dtype=np.float64)))
        self.mean_radius.append(float(radii.mean()))
        self.max_radius.append(float(radii.max()))
        self.from_start.append(_length(moment.centroid - start))


def moments_of_deltas(deltas: Iterable[Positions], start: Positions | None) -> Iterable[Moment]:
    """Moments from moves, each [K, D]; start: the rows before the first, or None for displacements."""
    positions = None if start is None else start.copy()
    for delta in deltas:
        positions = delta.copy() if positions is None else positions + delta
        bulk = delta.mean(axis=0)
        yield Moment(positions, positions.mean(axis=0), bulk, delta - bulk)


def moments_of_weights(weights: Iterable[Positions], *, displaced: bool = False) -> Iterable[Moment]:
    """Moments from the rows themselves; of the first step the velocities are unknown and zero.

    displaced: positions from the first recorded ones on.
    """
    before: Positions | None = None
    origin: Positions | float = 0.0
    for rows in weights:
        if before is None:
            before, origin = rows, rows if displaced else 0.0
        moved = rows - before
        bulk = moved.mean(axis=0)
        positions = rows - origin
        yield Moment(positions, positions.mean(axis=0), bulk, moved - bulk)
        before = rows


def kinematics(
    history: History,
    output: Path | None,
    *,
    frame: Frame | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> Motion:
    """Follow the dead rows of a history and write the six tensors.

    recorded_steps [N] and dead_token_ids [K] in I64; positions [N, K, D], centroid [N, D],
    bulk_velocity [N, D] and thermal_velocities [N, K, D] in F32. Of deltas bulk_velocity[0] is the
    first move; of weights it is zero. frame: None is absolute where the start is known. Memory: one
    step's dead rows, a few times in float64. Raises UsageError, BrokenFile.
    """
    start = history.start() if frame != "displacement" else None
    known = history.holds == "weights" or start is not None
    if frame == "absolute" and not known:
        raise UsageError(
            f"{history.path}: holds no initial_W, so positions are displacements from an unknown start; "
            "leave out --frame absolute"
        )
    frame = frame or ("absolute" if known else "displacement")
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
    """What is known of the moments before they are seen.

    steps: [N]. dead: [K] row numbers. first_move: whether the first step's velocities are known.
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
    """Write the six tensors of these moments, one at a time, and sum up their motion.

    start: the rows before the first step, [K, D], where they are known and moved since.
    """
    course = Course()
    start_centroid = None if start is None else start.mean(axis=0)
    with _output(track, output) as writer:
        for index, moment in enumerate(moments):
            if start_centroid is None:
                start_centroid = moment.centroid - moment.bulk
            thermal = moment.thermal.astype(np.float32)
            course.add(moment, thermal, start_centroid)
            if writer is not None:
                writer.put("positions", moment.positions[None], index)
                writer.put("centroid", moment.centroid[None], index)
                writer.put("bulk_velocity", moment.bulk[None], index)
                writer.put("thermal_velocities", thermal[None], index)
            on_step()
    return _motion(course, track)


def _motion(course: Course, track: Track) -> Motion:
    """The columns of a course."""
    steps, loss = track.steps, track.loss
    norms = np.array(course.centroid_norm)
    lowest, highest = int(norms.argmin()), int(norms.argmax())
    path, away = sum(course.bulk_speed), course.from_start[-1]
    ratios = [
        bulk / thermal if thermal > 0 else None
        for bulk, thermal in zip(course.bulk_speed, course.thermal_rms, strict=True)
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
        centroid_norm_first=course.centroid_norm[0],
        centroid_norm_last=course.centroid_norm[-1],
        centroid_norm_min=course.centroid_norm[lowest],
        centroid_norm_min_step=int(steps[lowest]),
        centroid_norm_max=course.centroid_norm[highest],
        centroid_norm_max_step=int(steps[highest]),
        path_length=path,
        displacement=away,
        straightness=away / path if path > 0 else None,
        thermal_sum_max=max(course.thermal_sum),
        thermal_sum_mean=float(np.mean(course.thermal_sum)),
        mean_radius_first=course.mean_radius[0],
        mean_radius_last=course.mean_radius[-1],
        bulk_stop_step=stop_step(np.array(course.from_start), steps),
        contraction_stop_step=stop_step(np.array(course.mean_radius), steps),
        loss_stop_step=None if loss is None else stop_step(loss, steps),
        steps=tuple(steps.tolist()),
        centroid_norm=tuple(course.centroid_norm),
        bulk_speed=_known(course.bulk_speed, track.first_move),
        thermal_rms=_known(course.thermal_rms, track.first_move),
        bulk_thermal_ratio=_known(ratios, track.first_move),
        mean_radius=tuple(course.mean_radius),
        max_radius=tuple(course.max_radius),
        loss=() if loss is None else tuple(x if math.isfinite(x) else None for x in loss.tolist()),
    )


def _known(values: Sequence[float | None], first_move: bool) -> tuple[float | None, ...]:
    return tuple(values) if first_move else (None, *values[1:])


def _output(track: Track, output: Path | None) -> AbstractContextManager[TensorWriter | None]:
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


def _length(vector: Positions) -> float:
    return float(np.linalg.norm(vector))


def _lengths(rows: Positions) -> Positions:
    lengths: Positions = np.linalg.norm(rows, axis=-1)
    return lengths
