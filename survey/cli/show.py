"""`survey show`: one model's card, and its picture."""

from __future__ import annotations

from pathlib import Path

import click

from survey.cli.options import answer_options
from survey.cli.output import catalog_reader, console, known_as, print_answer
from survey.cli.streams import say


@click.command("show")
@click.argument("model")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write its histograms to a .png, .svg or .html file instead.",
)
@answer_options
def command(model: str, plot: Path | None, uri: str, output_format: str) -> int:
    """Show one model's card: its numbers, histograms, black holes and failures.

    \b
    survey show Qwen/Qwen3-4B
    survey show Qwen/Qwen3-4B@main --format json
    survey show Qwen/Qwen3-4B --plot card.png
    """
    from queries.drawing.picture_files import ENDINGS, HTML_SUFFIX, check_picture
    from queries.text.card import print_card, save_card
    from queries.text.model_rows import MODEL_ROWS

    name = known_as(model)
    if plot is not None:
        check_picture(plot, (*ENDINGS, HTML_SUFFIX))
    with catalog_reader(uri) as reader:
        if plot is not None:
            save_card(reader, name, plot)
            say(str(plot))
        elif output_format == "table":
            print_card(reader, name, console())
        else:
            print_answer(reader, output_format, MODEL_ROWS, {"model": name})
    return 0
