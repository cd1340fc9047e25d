"""`survey compact`: merge the loose files of a catalog."""

from __future__ import annotations

import click

from survey.cli.options import catalog_option
from survey.cli.output import name_left_out
from survey.cli.streams import say


@click.command("compact")
@catalog_option
def command(uri: str) -> int:
    """Merge loose files into few large ones; a run or a sweep does it by itself from 500 on.

    Readers may go on meanwhile. What was merged is removed by the next compaction or run. Rows that
    an older version measured get the columns that their stored tokens tell.

    \b
    survey compact --catalog ./mine
    """
    from catalog.store.open import open_for_reading
    from jobs.run.compaction import compact_now

    done, filled, note = compact_now(open_for_reading(uri))
    if note:
        say(note)
    name_left_out(done.left_out, "left as it is")
    for problem in filled.problems:
        say(f"not brought up to date: {problem}")
    if filled.rows:
        click.echo(f"{filled.rows} rows brought up to date from their stored tokens")
    click.echo(
        f"{done.merged} loose files merged: {done.rows} rows in {done.parts} new parts; "
        f"{done.removed} files removed that had been merged before"
    )
    return 0
