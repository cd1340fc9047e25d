"""What follows a vocabulary matrix while it is trained: `survey kinematics`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from survey.cli.common import catalog_option, console
from survey.errors import UsageError

plot_option = click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Draw a picture: .png or .svg (needs the extra `plots`).",
)


@click.command()
@click.argument("history", type=click.Path(dir_okay=False, path_type=Path))
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
def kinematics(history: Path, output: Path | None, plot: Path | None, uri: str, **reading: Any) -> int:
    """Follow the dead rows of a recorded training run: bulk motion, thermal motion, contraction.

    HISTORY is a safetensors file with recorded_steps, dead_token_ids and deltas [steps, tokens,
    dimensions], or W instead of deltas. It is read step by step.

    \b
    survey kinematics gradient_delta_history.safetensors -o dead_token_kinematics.safetensors
    survey kinematics movie.safetensors --tensor W --holds weights --plot motion.png
    """
    from catalog.place import place_to_write
    from jobs.kinematics import Wanted, follow
    from queries.motion import motion_chart, print_motion
    from queries.pictures import check_picture, save_picture

    if plot is not None:
        check_picture(plot)
    if output is not None:
        check_output(output, history)
    with step_bar(history.name) as progress:
        row = follow(Wanted(history, output, **reading), place_to_write(uri), progress)
    print_motion(row, console())
    if plot is not None:
        save_picture(motion_chart(row), plot)
    return 0


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
