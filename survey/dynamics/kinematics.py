"""The motion of a cloud of dead rows, split into the motion of its centre and the motion within it.

With x_i(t) the position of row i, c(t) = mean_i x_i(t) and v_i(t) = x_i(t) − x_i(t−1):
bulk velocity u(t) = mean_i v_i(t) = c(t) − c(t−1), thermal velocities v_i(t) − u(t). All arithmetic is
float64, one step at a time; what is stored is float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np

from survey.dynamics.history import History
from survey.dynamics.moments import Moment, Positions, moments_of_deltas, moments_of_weights
from survey.dynamics.motion import Frame, StepFigures, Track, motion_of
from survey.errors import UsageError
from survey.formats.safetensors_file import FileLayout, TensorWriter
from survey.records.results import Motion


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
    frame = _checked_frame(frame, history, start_known=history.holds == "weights" or start is not None)
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


def _checked_frame(frame: Frame | None, history: History, *, start_known: bool) -> Frame:
    """The frame of the positions. Raises UsageError if they cannot be absolute."""
    if frame == "absolute" and not start_known:
        raise UsageError(
            f"{history.path}: holds no initial_W, so positions are displacements from an unknown start; "
            "leave out --frame absolute"
        )
    return frame or ("absolute" if start_known else "displacement")


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
    return motion_of(figures, track)


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
