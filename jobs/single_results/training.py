"""`survey train`: one training run, its history in a file and its row in the catalog."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from catalog.read.reader import Reader
from catalog.store.open import CatalogStore
from jobs.single_results.commit import commit_row, made_here
from survey.dynamics.config import Training
from survey.dynamics.figures import figures_of, is_history_of, options_row
from survey.errors import UsageError
from survey.records.column_field import values_of
from survey.records.results import TrainingRow

KIND = "training_runs"


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """The row of a run. resumed_at: the step that training resumed from. was_there: it was trained before."""

    row: TrainingRow
    resumed_at: int = 0
    was_there: bool = False


def train_one(
    config: Training,
    path: Path | None,
    *,
    threads: int | None = None,
    device: str = "cpu",
    on_start: Callable[[int], None] = lambda step: None,
    on_step: Callable[[], None] = lambda: None,
) -> TrainedRun:
    """Train, or read the history that a finished run of the same options left at `path`.

    path: file of the history; None keeps the row only. device: `auto` is the faster one. Raises UsageError,
    also if the file holds another run's history, and BrokenFile.
    """
    if path is not None and path.exists():
        if is_history_of(path, config):
            return TrainedRun(_row(config, path, path, None, None), was_there=True)
        raise UsageError(f"{path}: holds another run; name another file with -o, or delete this one")
    from survey.dynamics.training import train_model  # here: torch takes a while to load
    from survey.dynamics.training_device import device_of_training

    device = device_of_training(device, config)
    with tempfile.TemporaryDirectory(prefix="survey-train-") as folder:
        trained = train_model(
            config,
            path or Path(folder) / "history.safetensors",
            threads=threads,
            device=device,
            on_start=on_start,
            on_step=on_step,
        )
        row = _row(config, trained.path, path, config.steps / max(trained.train_s, 1e-9), device)
    return TrainedRun(row, trained.resumed_at)


def commit_run(store: CatalogStore, row: TrainingRow) -> TrainingRow:
    """Commit a row and return it; of rows with the same options the newest is shown. Raises CommitError.

    Only the process that trained a run knows its speed and device; for a run that already existed, the
    catalog's values are kept.
    """
    if row.steps_per_s is None and (known := runs_in(store).get(row.run)):
        row = replace(row, steps_per_s=known.steps_per_s, device=known.device)
    return commit_row(store, KIND, (row.setup, row.run), row)


def runs_in(store: CatalogStore) -> dict[str, TrainingRow]:
    """The catalog's training runs by their digest."""
    with Reader(store) as reader:
        answer = reader.ask(f"SELECT * FROM {KIND}")
    rows = [dict(zip(answer.names, row, strict=True)) for row in answer.rows]
    for row in rows:
        row |= {name: tuple(value) for name, value in row.items() if isinstance(value, list)}
    return {row["run"]: TrainingRow(**row) for row in rows}


def _row(
    config: Training, history: Path, kept: Path | None, steps_per_s: float | None, device: str | None
) -> TrainingRow:
    return TrainingRow(
        **values_of(options_row(config), figures_of(history), made_here()),
        run=config.digest(),
        history=str(kept.resolve()) if kept is not None and config.history else None,
        steps_per_s=steps_per_s,
        device=device,
    )
