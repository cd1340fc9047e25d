"""`survey status`: the state of a catalog."""

from __future__ import annotations

import click

from survey.cli.options import answer_options
from survey.cli.output import catalog_reader, console, print_answer


@click.command("status")
@answer_options
def command(uri: str, output_format: str) -> int:
    """Show what the catalog holds, what the last runs did, and what is failing.

    \b
    survey status --catalog ./mine
    """
    from queries.text.status import COUNTS, print_status

    with catalog_reader(uri) as reader:
        if output_format == "table":
            print_status(reader, uri, console())
        else:
            print_answer(reader, output_format, COUNTS, {})
    return 0
