"""A vocabulary matrix while it is trained: `survey train` records it, `survey kinematics` follows it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from survey.cli.common import catalog_option, console
from survey.errors import UsageError

if TYPE_CHECKING:
    from jobs.sweep import Execute
    from survey.results import KinematicsRow

plot_option = click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Draw a picture: .png or .svg (needs the extra `plots`).",
)


@click.command()
@click.argument("history", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--from-catalog", "model", metavar="ORG/NAME@PATTERN",
    help="Follow the surveyed revisions of a model instead of a history.",
)  # fmt: skip
@click.option(
    "--matrix", type=click.Choice(("output", "input")), default="output", show_default=True,
    help="Which matrix of the surveyed revisions.",
)  # fmt: skip
@click.option("--endpoint", metavar="URL", help="The Hub (default: HF_ENDPOINT, else huggingface.co).")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="OUT.safetensors",
    help="Write positions, centroid and velocities there.",
)  # fmt: skip
@click.option(
    "--tensor", metavar="NAME", help="The history's tensor [steps, tokens, dimensions], by its name."
)
@click.option(
    "--holds", type=click.Choice(("deltas", "weights")),
    help="What that tensor holds: moves, or the matrix itself (default: by its name).",
)  # fmt: skip
@click.option(
    "--frame", type=click.Choice(("absolute", "displacement")),
    help="Positions of the rows, or from their start (default: absolute where the start is known).",
)  # fmt: skip
@plot_option
@catalog_option
def kinematics(
    history: Path | None,
    model: str | None,
    matrix: Any,
    endpoint: str | None,
    output: Path | None,
    plot: Path | None,
    uri: str,
    **reading: Any,
) -> int:
    """Follow the dead rows of a recorded training run: bulk motion, thermal motion, contraction.

    HISTORY is a safetensors file with recorded_steps, dead_token_ids and deltas [steps, tokens,
    dimensions], or W instead of deltas. It is read step by step.

    \b
    survey kinematics gradient_delta_history.safetensors -o dead_token_kinematics.safetensors
    survey kinematics movie.safetensors --tensor W --holds weights --plot motion.png
    survey kinematics --from-catalog 'EleutherAI/pythia-70m@step*' --plot motion.png
    """
    from queries.motion import motion_chart, print_motion
    from queries.pictures import check_picture, save_picture

    if plot is not None:
        check_picture(plot)
    if output is not None:
        check_output(output, history)
    if (history is None) == (model is None):
        raise UsageError("name a history, or revisions of the catalog with --from-catalog org/name@step*")
    if history is not None:
        row = _follow_history(history, output, uri, reading)
    else:
        row = _follow_revisions(str(model), matrix, endpoint, output, uri, reading)
    print_motion(row, console())
    if plot is not None:
        save_picture(motion_chart(row), plot)
    return 0


def _follow_history(history: Path, output: Path | None, uri: str, reading: dict[str, Any]) -> KinematicsRow:
    from catalog.place import place_to_write
    from jobs.kinematics import Wanted, follow

    with step_bar(history.name) as progress:
        return follow(Wanted(history, output, **reading), place_to_write(uri), progress)


def _follow_revisions(
    model: str, matrix: Any, endpoint: str | None, output: Path | None, uri: str, reading: dict[str, Any]
) -> KinematicsRow:
    from catalog.place import place_to_read
    from jobs.revisions import follow_revisions
    from survey.records import Settings

    frame = reading.pop("frame")
    if given := [f"--{name}" for name, value in reading.items() if value is not None]:
        raise UsageError(f"{', '.join(given)}: of histories only, not of --from-catalog")
    settings = Settings(
        endpoint=(endpoint or os.environ.get("HF_ENDPOINT") or Settings().endpoint).rstrip("/"),
        token=os.environ.get("HF_TOKEN") or None,
    )
    with step_bar(model) as progress:
        found = follow_revisions(
            model, place_to_read(uri), settings, progress, matrix=matrix, output=output, frame=frame
        )
    click.echo(
        f"survey: {found.read_bytes / 1e6:.2f} MB of rows read, of {found.matrix_bytes / 1e6:.2f} MB "
        "of matrices",
        err=True,
    )
    return found.row


def check_output(output: Path, history: Path | None = None) -> None:
    """Before a long computation, not after it."""
    if not output.parent.is_dir():
        raise UsageError(f"-o {output}: there is no folder {output.parent}")
    if history is not None and output.exists() and history.exists() and output.samefile(history):
        raise UsageError(f"-o {output}: that is the history itself; name another file")


@contextmanager
def step_bar(name: str) -> Iterator[Callable[[int], Callable[[], None]]]:
    """A bar on stderr, where that is a terminal: given a number of steps, a function to call at each."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    errors = console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=errors, disable=not errors.is_terminal) as bars:

        def start(steps: int) -> Callable[[], None]:
            task = bars.add_task(name, total=steps)
            return lambda: bars.advance(task)

        yield start


@click.command()
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
    help="Train a grid of runs instead, as Ray tasks.",
)  # fmt: skip
@click.option("--address", metavar="ADDR", help="A Ray cluster for the sweep, as in run.")
@click.option(
    "--executor", type=click.Choice(("ray", "serial")), default="ray", show_default=True,
    help="A sweep's Ray tasks, or one run after another.",
)  # fmt: skip
@catalog_option
def train(
    sweep_file: Path | None,
    output: Path | None,
    threads: int | None,
    uri: str,
    address: str | None,
    executor: str,
    **options: Any,
) -> int:
    """Train a small language model whose corpus never uses some tokens, and record how they move.

    A run that was stopped goes on from its last saved state: run the same command again. It trains on
    the CPU, where the same command gives the same bits. In FILE.toml options stand by their names (with _
    for -), and under [grid] with lists of values.

    \b
    survey train --setup goldilocks --steps 500
    survey train --setup bytes --corpus war_and_peace.txt -o bytes.safetensors
    survey train --sweep init.toml
    """

    if sweep_file is not None:
        _refuse_options(sweep_file)
        address = address or os.environ.get("RAY_ADDRESS") or None
        return _sweep(sweep_file, output, uri, address, serial=executor == "serial")
    wanted_options = {name: value for name, value in options.items() if value is not None}
    setup, no_history = wanted_options.pop("setup"), wanted_options.pop("no_history")
    if (corpus := wanted_options.get("corpus")) is not None:
        wanted_options["corpus"] = str(corpus.expanduser().resolve())
    if no_history:
        wanted_options["history"] = False
    return _train(setup, wanted_options, output, threads, uri)


def _refuse_options(sweep_file: Path) -> None:
    """A sweep's runs are told by its file alone."""
    typed = click.core.ParameterSource.COMMANDLINE
    context = click.get_current_context()
    given = [name for name in context.params if context.get_parameter_source(name) is typed]
    own = ("sweep_file", "output", "uri", "address", "executor")
    if wrong := [f"--{name.replace('_', '-')}" for name in given if name not in own]:
        raise UsageError(f"{', '.join(wrong)}: of a sweep, options stand in its file {sweep_file}")


def _train(setup: str, options: dict[str, Any], output: Path | None, threads: int | None, uri: str) -> int:
    from catalog.place import place_to_write
    from jobs.training import commit_run, train_one
    from queries.trained import print_run
    from survey.dynamics.setups import training

    wanted = training(setup, options)
    path = output or Path("gradient_delta_history.safetensors")
    check_output(path)
    place = place_to_write(uri)

    def started(step: int) -> None:
        from survey.dynamics.training import history_bytes

        size = f"{path}: {history_bytes(wanted) / 1e6:,.0f} MB"
        click.echo(f"survey: {size}{f', goes on after step {step:,}' if step else ''}", err=True)

    try:
        with step_bar(f"{setup}, {wanted.steps:,} steps") as progress:
            done = train_one(wanted, path, threads=threads, on_start=started, on_step=progress(wanted.steps))
    except KeyboardInterrupt:
        click.echo("survey: interrupted; the same command goes on from the last saved state", err=True)
        raise
    if done.was_there:
        click.echo(f"survey: {path}: was finished before; delete it to train again", err=True)
    commit_run(place, done.row)
    print_run(done.row, console())
    return 0


def _sweep(file: Path, folder: Path | None, uri: str, address: str | None, *, serial: bool) -> int:
    from catalog.place import place_to_write
    from jobs.sweep import Failure, Outcome, read_sweep, run_sweep
    from jobs.training import Done
    from queries.trained import print_sweep

    sweep = read_sweep(file)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with step_bar(f"{len(sweep.runs)} runs") as progress:
        advance = progress(len(sweep.runs))

        def told(outcome: Outcome) -> None:
            advance()
            if isinstance(outcome, Failure):
                options = ", ".join(f"{name}={getattr(outcome.run, name)}" for name in sweep.varied)
                click.echo(f"survey: {options}: {outcome.problem}", err=True)

        outcomes = run_sweep(
            sweep, place_to_write(uri), folder and folder.resolve(), _executor(serial, address), told
        )
    runs = {run.digest(): run for run in sweep.runs}
    done = sorted(
        (outcome for outcome in outcomes if isinstance(outcome, Done)),
        key=lambda outcome: list(runs).index(outcome.row.run),
    )
    varied = [{name: getattr(runs[item.row.run], name) for name in sweep.varied} for item in done]
    print_sweep([item.row for item in done], varied, console())
    there = sum(item.was_there for item in done)
    failed = len(outcomes) - len(done)
    click.echo(f"{len(done) - there} trained, {there} unchanged, {failed} failed")
    return 1 if failed else 0


def _executor(serial: bool, address: str | None) -> Execute:
    from jobs.sweep import execute_here

    if serial:
        return execute_here
    from functools import partial

    from jobs.cluster_join import RayOptions
    from jobs.cluster_sweep import execute_on_ray

    return partial(execute_on_ray, options=RayOptions(address))
