"""The figures of a finished training run, read back from its history."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from survey.dynamics.config import Training, training
from survey.dynamics.corpus import corpus_of
from survey.dynamics.stops import stop_step
from survey.errors import UsageError
from survey.formats.safetensors_file import TensorReader
from survey.numerics.vectors import finite_or_none
from survey.records.results import TrainingFigures, TrainingOptions


def is_history_of(path: Path, config: Training) -> bool:
    """Whether a file is the finished history of exactly this run and corpus text. Raises SurveyError."""
    with TensorReader(path) as reader:
        metadata = reader.header.metadata
    if _noted_options(path, metadata.get("training")) != config:
        return False
    return config.corpus is None or metadata.get("corpus") == corpus_of(config).digest


def _noted_options(path: Path, noted: str | None) -> Training | None:
    if noted is None:
        return None
    try:
        options = json.loads(noted)
        return training(options.pop("setup"), options)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise UsageError(f"{path}: its note of the training cannot be read: {error}") from error


def figures_of(path: Path) -> TrainingFigures:
    """The columns of a history that `survey.dynamics.training.train` wrote. Raises UsageError."""
    with TensorReader(path) as reader:
        tensors = reader.header.tensors
        required = ("recorded_steps", "dead_token_ids", "live_token_ids", "scalars")
        if missing := [name for name in required if name not in tensors]:
            raise UsageError(f"{path}: has no {', '.join(missing)}; expected a history of `survey train`")
        steps = reader.integers("recorded_steps")
        names = reader.header.metadata.get("scalars", "").split(",")
        scalars = reader.floats("scalars")
        dead, live = (tensors[name].shape[0] for name in ("dead_token_ids", "live_token_ids"))
    if scalars.shape != (len(steps), len(names)):
        raise UsageError(f"{path}: scalars has shape {list(scalars.shape)}, its metadata names {len(names)}")
    by_name = {name: scalars[:, index] for index, name in enumerate(names)}
    chosen = chosen_records(steps)
    lists = {
        field.name: tuple(finite_or_none(value) for value in by_name[field.name][chosen].tolist())
        for field in dataclasses.fields(TrainingFigures)
        if field.name in by_name
    }
    return TrainingFigures(
        dead_count=dead,
        live_count=live,
        last_step=int(steps[-1]),
        loss_last=float(by_name["loss"][-1]),
        loss_stop_step=stop_step(by_name["loss"], steps),
        steps=tuple(steps[chosen].tolist()),
        **lists,
    )


def options_row(config: Training) -> TrainingOptions:
    """The options as columns."""
    fields = dataclasses.fields(TrainingOptions)
    return TrainingOptions(**{field.name: getattr(config, field.name) for field in fields})


def chosen_records(steps: NDArray[np.int64]) -> list[int]:
    """Indexes of the recorded steps [N] that are 1, 2, 5, 10, 20, …, and of the last one."""
    round_steps = {digit * 10**power for power in range(19) for digit in (1, 2, 5)}
    last = len(steps) - 1
    return [index for index, step in enumerate(steps.tolist()) if step in round_steps or index == last]
