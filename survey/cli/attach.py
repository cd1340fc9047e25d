"""`survey attach`: a database of views for any DuckDB client."""

from __future__ import annotations

from pathlib import Path

import click

from survey.cli.options import catalog_option
from survey.cli.streams import say


@click.command("attach")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@catalog_option
def command(file: Path, uri: str) -> int:
    """Write a database of views over the catalog, which any DuckDB client opens.

    The file holds no data, so it also shows what later runs add. Local paths in it are absolute.

    \b
    survey attach survey.duckdb --catalog ./mine
    duckdb survey.duckdb "FROM models"
    """
    from catalog.read.attach import attach as write_views
    from catalog.store.open import open_for_reading

    store = open_for_reading(uri)
    empty = write_views(store, file)
    say(f"{file}: views over {store}")
    if empty:
        say(f"nothing in {', '.join(empty)} yet; attach again when there is")
    return 0
