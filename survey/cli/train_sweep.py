"""`survey train --sweep`: a grid of training runs, from its file to the table of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from survey.cli.output import console, print_results, step_bar
from survey.cli.streams import say
from survey.errors import UsageError

if TYPE_CHECKING:
    from jobs.single_results.sweep import Execute, Sweep, SweepOutcome

# Of `survey train`; all others stand in the sweep's file.
_ALLOWED = ("sweep_file", "output", "uri", "output_format", "address", "executor")


def refuse_options(sweep_file: Path) -> None:
    """Raises UsageError for an option that is not for a sweep, or that only its file may set."""
    typed = click.core.ParameterSource.COMMANDLINE
    context = click.get_current_context()
    given = [name for name in context.params if context.get_parameter_source(name) is typed]
    if "plot" in given:
        raise UsageError("--plot is for one run, not for a sweep")
    if "device" in given:
        raise UsageError("--device is for one run: each run of a sweep has one CPU")
    if wrong := [f"--{name.replace('_', '-')}" for name in given if name not in _ALLOWED]:
        raise UsageError(f"{', '.join(wrong)}: write the options of a sweep in its file {sweep_file}")


def train_sweep(file: Path, folder: Path | None, uri: str, output_format: str, execute: Execute) -> int:
    """Train the runs of a sweep, and print those that ended well. Returns 1 if one failed.

    folder: for the histories, if runs keep theirs. Raises UsageError, SurveyError.
    """
    from catalog.store.open import open_for_writing
    from jobs.single_results.sweep import read_sweep, run_sweep

    sweep = read_sweep(file)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with step_bar(f"{len(sweep.runs)} runs") as progress:
        advance = progress(len(sweep.runs))

        def show_outcome(outcome: SweepOutcome) -> None:
            advance()
            _say_failure(outcome, sweep)

        store = open_for_writing(uri)
        outcomes = run_sweep(sweep, store, folder and folder.resolve(), execute, show_outcome)
    return _print_outcomes(sweep, outcomes, output_format)


def executor_of(name: str, address: str | None) -> Execute:
    """The function that trains a sweep's runs: in this process, or as tasks on the Ray at `address`."""
    from jobs.single_results.sweep import execute_here

    if name == "serial":
        return execute_here
    from jobs.executors.ray_settings import refuse_settings

    refuse_settings()
    from jobs.executors.ray_session import RayOptions
    from jobs.executors.ray_sweep import execute_on_ray

    return partial(execute_on_ray, options=RayOptions(address))


def _say_failure(outcome: SweepOutcome, sweep: Sweep) -> None:
    from jobs.single_results.sweep import SweepFailure

    if isinstance(outcome, SweepFailure):
        options = ", ".join(f"{name}={getattr(outcome.run, name)}" for name in sweep.varied)
        say(f"{options}: {outcome.problem}")


def _print_outcomes(sweep: Sweep, outcomes: Sequence[SweepOutcome], output_format: str) -> int:
    """Print the rows in the order of the grid, and the counts; returns the exit code."""
    from jobs.single_results.training import TrainedRun
    from queries.text.training import print_sweep

    runs = {run.digest(): run for run in sweep.runs}
    order = {digest: number for number, digest in enumerate(runs)}
    trained = sorted(
        (outcome for outcome in outcomes if isinstance(outcome, TrainedRun)),
        key=lambda outcome: order[outcome.row.run],
    )
    rows = [outcome.row for outcome in trained]
    if output_format == "table":
        varied = [{name: getattr(runs[row.run], name) for name in sweep.varied} for row in rows]
        print_sweep(rows, varied, console())
    else:
        print_results("training_runs", rows, output_format)
    unchanged, failed = sum(outcome.was_there for outcome in trained), len(outcomes) - len(trained)
    counts = f"{len(trained) - unchanged} trained, {unchanged} unchanged, {failed} failed"
    click.echo(counts, err=output_format != "table")
    return 1 if failed else 0
