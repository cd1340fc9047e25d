"""`survey spectrum`: the singular values of one matrix, and the directions in which its rows spread."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from survey.cli.one_matrix import byte_bar, matrix_options, one_model
from survey.cli.options import settings_from_options
from survey.cli.output import print_single_result

if TYPE_CHECKING:
    from survey.records.target import MatrixName


@click.command("spectrum")
@click.argument("model")
@matrix_options
def command(
    model: str,
    plot: Path | None,
    matrix: MatrixName,
    endpoint: str | None,
    connections: int | None,
    device: str,
    uri: str,
    output_format: str,
) -> int:
    """Compute the singular values of one matrix, and the directions in which its rows spread most.

    MODEL is a Hub id, org/name[@revision], or a checkpoint folder. The figures of all rows stand beside those
    of the live rows. Each of the leading principal components is shown with the tokens that lie farthest
    along it, at both ends. --plot draws the singular values.

    \b
    survey spectrum Qwen/Qwen3-4B-Instruct-2507
    survey spectrum ./my-checkpoint --plot spectrum.png
    """
    from catalog.store.open import open_for_writing
    from jobs.single_results.spectrum import commit_spectrum
    from queries.charts.spectrum import spectrum_chart
    from queries.drawing.picture_files import check_picture, save_picture
    from queries.text.spectrum import print_spectrum

    if plot is not None:
        check_picture(plot)
    settings = replace(settings_from_options(endpoint, connections), device=device)
    with byte_bar(model) as opened:
        row, _, texts = commit_spectrum(one_model(model), matrix, settings, open_for_writing(uri), opened)
    print_single_result(
        "spectra", row, output_format, lambda record, console: print_spectrum(record, texts, console)
    )
    if plot is not None:
        save_picture(spectrum_chart(row), plot)
    return 0
