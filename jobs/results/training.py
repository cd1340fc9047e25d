"""`survey train`: one run, its history on disk and its row in the catalog."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from catalog.read.reader import Reader
from catalog.store.open import CatalogStore
from jobs.results.commit import columns, commit_row, run_columns
from survey.dynamics.config import Training
from survey.dynamics.figures import figures_of, is_history_of, options_row
from survey.errors import UsageError
from survey.records.results import TrainingRow

KIND = "training_runs"


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """A run's row, and how it came about: `resumed_at` is the step that it went on from."""

    row: TrainingRow
    resumed_at: int = 0
    was_there: bool = False


def train_one(
    wanted: Training,
    path: Path | None,
    *,
    threads: int | None = None,
    on_start: Callable[[int], None] = lambda step: None,
    on_step: Callable[[], None] = lambda: None,
) -> TrainedRun:
    """Train, or read what a finished run of the same options left at `path`.

    path: where the history goes; None keeps nothing but the row. Raises UsageError, also where another run's
    history stands there, and BrokenFile.
    """
    if path is not None and path.exists():
        if is_history_of(path, wanted):
            return TrainedRun(_row(wanted, path, path, None), was_there=True)
        raise UsageError(f"{path}: holds another run; name another file with -o, or delete this one")
    from survey.dynamics.training import train_model  # here: torch takes a while to load

    with tempfile.TemporaryDirectory(prefix="survey-train-") as folder:
        trained = train_model(
            wanted,
            path or Path(folder) / "history.safetensors",
            threads=threads,
            on_start=on_start,
            on_step=on_step,
        )
        row = _row(wanted, trained.path, path, wanted.steps / max(trained.train_s, 1e-9))
    return TrainedRun(row, trained.resumed_at)


def commit_run(place: CatalogStore, row: TrainingRow) -> TrainingRow:
    """The row as it stands in the catalog; the newest of the same options is shown. Raises CommitError.

    How fast a run was trained is known to who trained it: of one that was there, the catalog's figure stays.
    """
    if row.steps_per_s is None and (known := runs_in(place).get(row.run)):
        row = replace(row, steps_per_s=known.steps_per_s)
    return commit_row(place, KIND, (row.setup, row.run), row)


def runs_in(place: CatalogStore) -> dict[str, TrainingRow]:
    """The catalog's training runs by their digest."""
    with Reader(place) as reader:
        answer = reader.ask(f"SELECT * FROM {KIND}")
    rows = [dict(zip(answer.names, row, strict=True)) for row in answer.rows]
    for row in rows:
        row |= {name: tuple(value) for name, value in row.items() if isinstance(value, list)}
    return {row["run"]: TrainingRow(**row) for row in rows}


def _row(wanted: Training, found: Path, kept: Path | None, steps_per_s: float | None) -> TrainingRow:
    return TrainingRow(
        **columns(options_row(wanted)),
        **columns(figures_of(found)),
        **run_columns(),
        run=wanted.digest(),
        history=str(kept.resolve()) if kept is not None and wanted.history else None,
        steps_per_s=steps_per_s,
    )
