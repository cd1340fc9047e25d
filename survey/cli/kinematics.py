"""`survey kinematics`: the motion of dead rows in a recorded run or in surveyed revisions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from survey.cli.options import (
    catalog_option,
    endpoint_option,
    matrix_option,
    plot_option,
    result_option,
    settings_from_options,
)
from survey.cli.output import check_output, print_single_result, step_bar
from survey.cli.streams import say
from survey.errors import UsageError
from survey.process.memory_limit import limited_memory
from survey.records.units import bytes_text

if TYPE_CHECKING:
    from survey.records.results import KinematicsRow


@click.command("kinematics")
@click.argument("history", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--from-catalog", "model", metavar="ORG/NAME@PATTERN",
    help="Follow the surveyed revisions of a model instead of a history.",
)  # fmt: skip
@matrix_option()
@endpoint_option
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="OUT.safetensors",
    help="Write positions, centroid and velocities to this file.",
)  # fmt: skip
@click.option("--tensor", metavar="NAME", help="Name of the history's tensor [steps, tokens, dimensions].")
@click.option(
    "--holds", type=click.Choice(("deltas", "weights")),
    help="Content of that tensor: changes of the matrix, or the matrix itself (default: by its name).",
)  # fmt: skip
@click.option(
    "--frame", type=click.Choice(("absolute", "displacement")),
    help="Positions of rows, or displacements from their start (default: absolute if the start is known).",
)  # fmt: skip
@plot_option
@catalog_option
@result_option
def command(
    history: Path | None,
    model: str | None,
    matrix: Any,
    endpoint: str | None,
    output: Path | None,
    plot: Path | None,
    uri: str,
    output_format: str,
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
    from queries.charts.kinematics import motion_chart
    from queries.drawing.picture_files import check_picture, save_picture
    from queries.text.kinematics import print_motion

    if plot is not None:
        check_picture(plot)
    if output is not None:
        check_output(output, ("positions", "centroid"))
    if (history is None) == (model is None):
        advice = "name a history, or revisions of the catalog with --from-catalog org/name@step*"
        raise UsageError(advice if history is None else f"{advice}, not both")
    with limited_memory():  # a file of a few bytes may claim rows of any length
        if history is not None:
            row = _follow_history(history, output, uri, reading)
        else:
            row = _follow_revisions(str(model), matrix, endpoint, output, uri, reading)
    print_single_result("kinematics", row, output_format, print_motion)
    if plot is not None:
        save_picture(motion_chart(row), plot)
    return 0


def _follow_history(history: Path, output: Path | None, uri: str, reading: dict[str, Any]) -> KinematicsRow:
    from catalog.store.open import open_for_writing
    from jobs.single_results.kinematics import KinematicsRequest, follow_history

    with step_bar(history.name) as progress:
        return follow_history(KinematicsRequest(history, output, **reading), open_for_writing(uri), progress)


def _follow_revisions(
    model: str, matrix: Any, endpoint: str | None, output: Path | None, uri: str, reading: dict[str, Any]
) -> KinematicsRow:
    from catalog.store.open import open_for_reading
    from jobs.single_results.revisions import follow_revisions

    frame = reading.pop("frame")
    if given := [f"--{name}" for name, value in reading.items() if value is not None]:
        raise UsageError(f"{', '.join(given)}: only for a history, not for --from-catalog")
    settings, store = settings_from_options(endpoint), open_for_reading(uri)
    with step_bar(model) as progress:
        motion = follow_revisions(model, store, settings, progress, matrix=matrix, output=output, frame=frame)
    say(f"{bytes_text(motion.read_bytes)} of rows read, of {bytes_text(motion.matrix_bytes)} of matrices")
    return motion.row
