"""Small language models whose vocabulary matrix is recorded while they are trained: `survey train`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from survey.cli.options import (
    address_option,
    catalog_option,
    executor_option,
    plot_option,
    ray_address,
    result_option,
)
from survey.cli.output import check_output, console, print_results, step_bar
from survey.cli.stopping import stoppable
from survey.cli.streams import say
from survey.errors import UsageError
from survey.process.home_folder import expanded
from survey.records.units import bytes_text

if TYPE_CHECKING:
    from jobs.single_results.sweep import Execute
    from survey.records.results import TrainingRow


@click.command("train")
@click.option(
    "--setup", type=click.Choice(("bytes", "goldilocks")), default="goldilocks", show_default=True,
    help="What every other option starts from.",
)  # fmt: skip
@click.option("--init", type=click.Choice(("normal", "point")), help="N(0, σ²), or a unit vector plus that.")
@click.option("--init-scale", type=float, metavar="σ", help="Standard deviation of W at the start.")
@click.option("--layers", type=int, metavar="N", help="Transformer layers.")
@click.option("--heads", type=int, metavar="N", help="Attention heads; they divide the hidden size.")
@click.option("--dim", type=int, metavar="D", help="Hidden size.")
@click.option("--ff", type=int, metavar="N", help="Width of the feed-forward layers.")
@click.option("--vocabulary", type=int, metavar="V", help="Rows of W.")
@click.option("--dead", type=int, metavar="K", help="Tokens that the corpus leaves unused.")
@click.option("--learning-rate", type=float, metavar="LR")
@click.option("--weight-decay", type=float, metavar="WD")
@click.option(
    "--precision", type=click.Choice(("fp32", "bf16-mixed", "bf16-pure")),
    help="bf16-pure keeps AdamW's state in bfloat16, too: it underflows.",
)  # fmt: skip
@click.option("--batch", type=int, metavar="B", help="Sequences in a batch.")
@click.option("--context", type=int, metavar="T", help="Tokens in a sequence.")
@click.option("--steps", type=int, metavar="N")
@click.option("--record-every", type=int, metavar="N", help="Record step 1 and every N-th one.")
@click.option("--seed", type=int)
@click.option(
    "--corpus", type=click.Path(path_type=Path), metavar="FILE",
    help="A text file (default: a generated Zipfian corpus).",
)  # fmt: skip
@click.option("--no-history", is_flag=True, help="Record the figures only, not every row.")
@click.option("--threads", type=click.IntRange(1), help="Of this machine (default: all).")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE",
    help="The history (default: gradient_delta_history.safetensors); of a sweep, a shared folder.",
)  # fmt: skip
@click.option(
    "--sweep", "sweep_file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.toml",
    help="Train a grid of runs instead; --address and --executor are of a grid only.",
)  # fmt: skip
@address_option
@executor_option
@plot_option
@catalog_option
@result_option
def command(
    sweep_file: Path | None,
    output: Path | None,
    plot: Path | None,
    threads: int | None,
    uri: str,
    form: str,
    address: str | None,
    executor: str,
    **options: Any,
) -> int:
    """Train a small language model whose corpus never uses some tokens, and record how they move.

    A run that was stopped goes on from its last saved state: run the same command again. It trains on
    the CPU, where the same command gives the same bits. In FILE.toml options stand by their names (with _
    for -), and under [grid] with lists of values.

    \b
    survey train --setup goldilocks --steps 500 --plot run.png
    survey train --setup bytes --corpus war_and_peace.txt -o bytes.safetensors
    survey train --sweep init.toml
    """
    from queries.charts.picture_files import check_picture, save_picture
    from queries.charts.training import run_chart
    from queries.text.training import print_run

    if sweep_file is not None:
        _refuse_options(sweep_file)
        with stoppable():
            return _sweep(sweep_file, output, uri, ray_address(address), form, serial=executor == "serial")
    wanted_options = {name: value for name, value in options.items() if value is not None}
    setup, no_history = wanted_options.pop("setup"), wanted_options.pop("no_history")
    if (corpus := wanted_options.get("corpus")) is not None:
        wanted_options["corpus"] = os.path.realpath(expanded(corpus))
    if no_history:
        wanted_options["history"] = False
    if plot is not None:
        check_picture(plot)
    with stoppable():
        row = _train(setup, wanted_options, output, threads, uri)
    if form == "table":
        print_run(row, console())
    else:
        print_results("training_runs", [row], form)
    if plot is not None:
        save_picture(run_chart(row), plot)
    return 0


def _refuse_options(sweep_file: Path) -> None:
    """A sweep's runs are told by its file alone."""
    typed = click.core.ParameterSource.COMMANDLINE
    context = click.get_current_context()
    given = [name for name in context.params if context.get_parameter_source(name) is typed]
    own = ("sweep_file", "output", "uri", "form", "address", "executor")
    if "plot" in given:
        raise UsageError("--plot: of one run, not of a sweep")
    if wrong := [f"--{name.replace('_', '-')}" for name in given if name not in own]:
        raise UsageError(f"{', '.join(wrong)}: of a sweep, options stand in its file {sweep_file}")


def _train(
    setup: str, options: dict[str, Any], output: Path | None, threads: int | None, uri: str
) -> TrainingRow:
    from catalog.store.open import open_for_writing
    from jobs.single_results.training import commit_run, train_one
    from survey.dynamics.config import training

    config = training(setup, options)
    path = output or Path("gradient_delta_history.safetensors")
    check_output(path, ("recorded_steps", "scalars"))
    store = open_for_writing(uri)

    def started(step: int) -> None:
        from survey.dynamics.training import history_bytes

        size = f"{path}: {bytes_text(history_bytes(config))}"
        say(f"{size}{f', goes on after step {step:,}' if step else ''}")

    try:
        with step_bar(f"{setup}, {config.steps:,} steps") as progress:
            done = train_one(config, path, threads=threads, on_start=started, on_step=progress(config.steps))
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from the last saved state")
        raise
    if done.was_there:
        say(f"{path}: was finished before; delete it to train again")
    return commit_run(store, done.row)


def _sweep(file: Path, folder: Path | None, uri: str, address: str | None, form: str, *, serial: bool) -> int:
    from catalog.store.open import open_for_writing
    from jobs.single_results.sweep import SweepFailure, SweepOutcome, read_sweep, run_sweep
    from jobs.single_results.training import TrainedRun
    from queries.text.training import print_sweep

    sweep = read_sweep(file)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with step_bar(f"{len(sweep.runs)} runs") as progress:
        advance = progress(len(sweep.runs))

        def show_outcome(outcome: SweepOutcome) -> None:
            advance()
            if isinstance(outcome, SweepFailure):
                options = ", ".join(f"{name}={getattr(outcome.run, name)}" for name in sweep.varied)
                say(f"{options}: {outcome.problem}")

        store = open_for_writing(uri)
        outcomes = run_sweep(
            sweep, store, folder and folder.resolve(), _executor(serial, address), show_outcome
        )
    runs = {run.digest(): run for run in sweep.runs}
    done = sorted(
        (outcome for outcome in outcomes if isinstance(outcome, TrainedRun)),
        key=lambda outcome: list(runs).index(outcome.row.run),
    )
    rows = [item.row for item in done]
    if form == "table":
        varied = [{name: getattr(runs[row.run], name) for name in sweep.varied} for row in rows]
        print_sweep(rows, varied, console())
    else:
        print_results("training_runs", rows, form)
    there = sum(item.was_there for item in done)
    failed = len(outcomes) - len(done)
    counted = f"{len(done) - there} trained, {there} unchanged, {failed} failed"
    click.echo(counted, err=form != "table")
    return 1 if failed else 0


def _executor(serial: bool, address: str | None) -> Execute:
    from jobs.single_results.sweep import execute_here

    if serial:
        return execute_here
    from functools import partial

    from jobs.executors.ray_session import RayOptions
    from jobs.executors.ray_sweep import execute_on_ray

    return partial(execute_on_ray, options=RayOptions(address))
