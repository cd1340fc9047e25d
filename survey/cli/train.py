"""`survey train`: train a small language model and record its vocabulary matrix, or a grid of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from survey.cli.options import (
    address_option,
    catalog_option,
    device_option,
    executor_option,
    plot_option,
    ray_address,
    result_option,
)
from survey.cli.output import check_output, print_single_result, step_bar
from survey.cli.stopping import stoppable
from survey.cli.streams import say
from survey.cli.train_sweep import executor_of, refuse_options, train_sweep
from survey.process.home_folder import expanded
from survey.records.units import bytes_text

if TYPE_CHECKING:
    from survey.records.results import TrainingRow


@click.command("train")
@click.option(
    "--setup", type=click.Choice(("bytes", "goldilocks")), default="goldilocks", show_default=True,
    help="Preset that the other options override.",
)  # fmt: skip
@click.option(
    "--init",
    type=click.Choice(("normal", "point")),
    help="W at the start: N(0, σ²), or a unit vector plus that.",
)
@click.option("--init-scale", type=float, metavar="σ", help="Standard deviation of W at the start.")
@click.option("--layers", type=int, metavar="N", help="Transformer layers.")
@click.option("--heads", type=int, metavar="N", help="Attention heads; they divide the hidden size.")
@click.option("--dim", type=int, metavar="D", help="Hidden size.")
@click.option("--ff", type=int, metavar="N", help="Width of the feed-forward layers.")
@click.option("--vocabulary", type=int, metavar="V", help="Rows of W.")
@click.option("--dead", type=int, metavar="K", help="Tokens that the corpus leaves unused.")
@click.option("--learning-rate", type=float, metavar="LR", help="Learning rate of AdamW.")
@click.option("--weight-decay", type=float, metavar="WD", help="Weight decay of AdamW.")
@click.option(
    "--precision", type=click.Choice(("fp32", "bf16-mixed", "bf16-pure")),
    help="Precision of training; bf16-pure keeps AdamW's state in bfloat16, too, so that it underflows.",
)  # fmt: skip
@click.option("--batch", type=int, metavar="B", help="Sequences in a batch.")
@click.option("--context", type=int, metavar="T", help="Tokens in a sequence.")
@click.option("--steps", type=int, metavar="N", help="Training steps.")
@click.option("--record-every", type=int, metavar="N", help="Record step 1 and every N-th one.")
@click.option("--seed", type=int, metavar="N", help="Seed of the initial weights and of the data.")
@click.option(
    "--corpus", type=click.Path(path_type=Path), metavar="FILE",
    help="A text file (default: a generated Zipfian corpus).",
)  # fmt: skip
@click.option("--no-history", is_flag=True, help="Record the figures only, not every row.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="CPU threads (default: all).")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE",
    help="File of the history (default: gradient_delta_history.safetensors); for a sweep, a shared folder.",
)  # fmt: skip
@click.option(
    "--sweep", "sweep_file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.toml",
    help="Train a grid of runs instead; --address and --executor apply to a grid only.",
)  # fmt: skip
@device_option
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
    device: str,
    uri: str,
    output_format: str,
    address: str | None,
    executor: str,
    **options: Any,
) -> int:
    """Train a small language model whose corpus never uses some tokens, and record how they move.

    To resume a stopped run from its last saved state, run the same command again. On the CPU the same
    command gives the same bits; --device auto trains there unless a CUDA GPU is faster. FILE.toml holds
    options by their names (with _ for -), and below [grid] options with lists of values.

    \b
    survey train --setup goldilocks --steps 500 --plot run.png
    survey train --setup bytes --corpus war_and_peace.txt -o bytes.safetensors
    survey train --sweep init.toml
    """
    from queries.charts.training import run_chart
    from queries.drawing.picture_files import check_picture, save_picture
    from queries.text.training import print_run

    if sweep_file is not None:
        refuse_options(sweep_file)
        with stoppable():
            execute = executor_of(executor, ray_address(address))
            return train_sweep(sweep_file, output, uri, output_format, execute)
    if plot is not None:
        check_picture(plot)
    with stoppable():
        row = _train(*_training_options(options), output, threads, device, uri)
    print_single_result("training_runs", row, output_format, print_run)
    if plot is not None:
        save_picture(run_chart(row), plot)
    return 0


def _training_options(options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of the preset, and the options that override it."""
    given = {name: value for name, value in options.items() if value is not None}
    setup, no_history = given.pop("setup"), given.pop("no_history")
    if (corpus := given.get("corpus")) is not None:
        given["corpus"] = os.path.realpath(expanded(corpus))
    if no_history:
        given["history"] = False
    return setup, given


def _train(
    setup: str, options: dict[str, Any], output: Path | None, threads: int | None, device: str, uri: str
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
            trained = train_one(
                config, path, threads=threads, device=device, on_start=started, on_step=progress(config.steps)
            )
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from the last saved state")
        raise
    if trained.was_there:
        say(f"{path}: was finished before; delete it to train again")
    return commit_run(store, trained.row)
