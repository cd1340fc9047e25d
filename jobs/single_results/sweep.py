"""A grid of training runs: read from a file, run here or on Ray, each run's row in the catalog."""

from __future__ import annotations

import itertools
import os
import tomllib
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from catalog.store.open import CatalogStore
from jobs.single_results.training import TrainedRun, commit_run, runs_in, train_one
from survey.dynamics.config import Training, training
from survey.errors import SurveyError, UsageError
from survey.process.bounded_file import read_named
from survey.process.home_folder import expanded

MAX_RUNS = 10_000
LARGEST_SWEEP_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Sweep:
    """The runs of a grid. varied: the options that differ among them."""

    runs: Sequence[Training]
    varied: Sequence[str]


@dataclass(frozen=True, slots=True)
class SweepFailure:
    """A run that failed, and why."""

    run: Training
    problem: str


SweepOutcome = TrainedRun | SweepFailure
Execute = Callable[[Sequence[tuple[Training, Path | None]]], Iterator[tuple[Training, SweepOutcome]]]


def read_sweep(path: Path) -> Sweep:
    """A TOML file: `setup`, options of every run, and under [grid] options with lists of values.

    Every combination is a run. Raises UsageError naming the file and what is wrong in it.
    """
    try:
        content = tomllib.loads(read_named(path, LARGEST_SWEEP_BYTES).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # RecursionError: of thousands of brackets
        raise UsageError(f"{path}: cannot be read as TOML: {error}") from error
    grid = content.pop("grid", {})
    if not isinstance(grid, dict) or not grid:
        raise UsageError(f"{path}: has no [grid], such as\n[grid]\ninit_scale = [0.02, 1.0]")
    empty = [name for name, values in grid.items() if not isinstance(values, list) or not values]
    if empty:
        raise UsageError(f"{path}: [grid] {', '.join(empty)}: expected a list of values")
    if both := sorted(content.keys() & grid.keys()):
        raise UsageError(f"{path}: {', '.join(both)} is set both above and in [grid]; keep one")
    count = 1
    for values in grid.values():
        count *= len(values)
    if count > MAX_RUNS:
        raise UsageError(f"{path}: {count:,} runs, expected at most {MAX_RUNS:,}")
    try:
        runs = [
            _run(content, dict(zip(grid, values, strict=True)))
            for values in itertools.product(*grid.values())
        ]
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    return Sweep(list({run.digest(): run for run in runs}.values()), list(grid))


def _run(common: Mapping[str, Any], point: Mapping[str, Any]) -> Training:  # Any: from TOML
    options = {"setup": "goldilocks", "history": False, **common, **point}
    corpus = options.get("corpus")
    if isinstance(corpus, str):
        options["corpus"] = os.path.realpath(expanded(corpus))
    setup = options.pop("setup")
    if not isinstance(setup, str):
        raise UsageError(f"setup is {setup!r}, expected a name")
    return training(setup, options)


def run_sweep(
    sweep: Sweep,
    store: CatalogStore,
    folder: Path | None,
    execute: Execute,
    on_done: Callable[[SweepOutcome], None],
) -> list[SweepOutcome]:
    """Train the runs that the catalog does not hold yet; commit each row as its run ends.

    folder: for the histories of runs that keep theirs. on_done(outcome): called for every run. Raises
    UsageError if a run keeps its history and there is no folder.
    """
    if folder is None and any(run.history for run in sweep.runs):
        raise UsageError("these runs keep their histories: name a folder for them with -o")
    finished = runs_in(store)
    outcomes: list[SweepOutcome] = []
    todo: list[tuple[Training, Path | None]] = []
    for run in sweep.runs:
        path = folder / f"{run.setup}-{run.digest()}.safetensors" if folder and run.history else None
        if run.digest() in finished and (path is None or path.exists()):
            outcomes.append(TrainedRun(finished[run.digest()], was_there=True))
            on_done(outcomes[-1])
        else:
            todo.append((run, path))
    for run, outcome in execute(todo):
        try:
            if isinstance(outcome, TrainedRun):
                outcome = replace(outcome, row=commit_run(store, outcome.row))
        except SurveyError as error:
            outcome = SweepFailure(run, str(error))
        outcomes.append(outcome)
        on_done(outcome)
    return outcomes


def attempt(run: Training, path: Path | None) -> SweepOutcome:
    """One run of a sweep; every failure is returned, none is raised."""
    try:
        return train_one(run, path)
    except (SurveyError, UsageError) as error:
        return SweepFailure(run, str(error))
    except MemoryError as error:
        return SweepFailure(run, f"out of memory: {error}")
    except Exception:  # noqa: BLE001 - a defect of this program: it is reported, and the other runs go on
        return SweepFailure(run, traceback.format_exc(limit=-4))


def execute_here(todo: Sequence[tuple[Training, Path | None]]) -> Iterator[tuple[Training, SweepOutcome]]:
    """One run after another in this process."""
    for run, path in todo:
        yield run, attempt(run, path)
