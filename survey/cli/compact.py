"""`survey compact`: merge the loose files of a catalog."""

from __future__ import annotations

import click

from survey.cli.options import catalog_option
from survey.cli.output import name_left_out
from survey.cli.streams import say


@click.command("compact")
@catalog_option
def command(uri: str) -> int:
    """Merge loose files into a few large ones; a run or a sweep does so from 500 files on.

    Readers are not disturbed. The next compaction or run removes the files that were merged. Rows of an
    older version get the newer columns that follow from their stored tokens.

    \b
    survey compact --catalog ./mine
    """
    from catalog.store.open import open_for_reading
    from jobs.run.compaction import compact_now

    compacted, filled, note = compact_now(open_for_reading(uri))
    if note:
        say(note)
    name_left_out(compacted.left_out, "left as it is")
    for problem in filled.problems:
        say(f"not brought up to date: {problem}")
    if filled.rows:
        click.echo(f"{filled.rows} rows brought up to date from their stored tokens")
    click.echo(
        f"{compacted.merged} loose files merged: {compacted.rows} rows in {compacted.parts} new parts; "
        f"{compacted.removed} files removed that had been merged before"
    )
    return 0
