"""Commands that ask a catalog: query, sql, shell, attach, show, status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from survey.cli.common import (
    answer,
    answer_options,
    catalog_option,
    catalog_reader,
    console,
    known_as,
    print_answer,
    print_in,
    queries_option,
)
from survey.cli.streams import say
from survey.errors import UsageError
from survey.homes import expanded, home


@click.command()
@click.argument("name", required=False)
@click.option("--param", "params", multiple=True, metavar="K=V", help="A parameter of the query.")
@queries_option
@answer_options
def query(name: str | None, params: tuple[str, ...], folders: tuple[Path, ...], uri: str, form: str) -> int:
    """Run a named query; without NAME, list them.

    \b
    survey query
    survey query families
    survey query compare --param a=Qwen/Qwen3-4B --param b=google/gemma-3-4b-it
    """
    from queries.library import find, listed, load
    from queries.render import print_queries

    if name is None:
        if form == "table":
            print_queries(listed(load(folders)), console())
        else:
            print_in(form, listed(load(folders)))
        return 0
    chosen = find(name, folders)
    return answer(uri, form, chosen.sql, chosen.bind(_pairs(params)))


@click.command()
@queries_option
@catalog_option
def shell(folders: tuple[Path, ...], uri: str) -> int:
    """A prompt for SQL, with history and completion; statements from a pipe are run in turn.

    In a pipe statements end with a semicolon, commands with their line, and the first that fails is the last.

    \b
    survey shell --catalog ./mine
    echo "SELECT repo, dead_count FROM models;" | survey shell
    """
    from queries.library import load
    from queries.shell import Shell, run_piped, run_terminal

    with catalog_reader(uri) as reader:
        opened = Shell(reader, load(folders), console())
        if sys.stdin.isatty():
            run_terminal(opened, _history(), uri)
        else:
            run_piped(opened, sys.stdin)
    return 0


def _history() -> Path:
    """Where the prompt's history is kept; nowhere for a user without a home, as containers have them."""
    try:
        state = Path(os.environ.get("XDG_STATE_HOME") or home() / ".local/state")
    except UsageError:
        return Path(os.devnull)
    return state / "centroid-survey" / "shell_history"


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("statement")
@answer_options
def sql(statement: str, uri: str, form: str) -> int:
    """Ask in SQL: views models, black_holes, exponents, vectors, tokens, attempts, kinematics, …

    \b
    survey sql "SELECT family, avg(centroid_ratio) FROM models GROUP BY family"
    """
    return answer(uri, form, statement, {})


@click.command()
@click.argument("model")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Draw its histograms instead, as .png, .svg or .html.",
)
@answer_options
def show(model: str, plot: Path | None, uri: str, form: str) -> int:
    """One model's card: its numbers, histograms, black holes and failures.

    \b
    survey show Qwen/Qwen3-4B
    survey show Qwen/Qwen3-4B@main --format json
    survey show Qwen/Qwen3-4B --plot card.png
    """
    from queries.card import card_rows, print_card, save_card
    from queries.pictures import ENDINGS, PAGE, check_picture

    name = known_as(model)
    if plot is not None:
        check_picture(plot, (*ENDINGS, PAGE))
    with catalog_reader(uri) as reader:
        if plot is not None:
            save_card(reader, name, plot)
            say(str(plot))
        elif form == "table":
            print_card(reader, name, console())
        else:
            print_answer(reader, form, *card_rows(reader, name))
    return 0


@click.command()
@answer_options
def status(uri: str, form: str) -> int:
    """What the catalog holds, what the last runs did, what is failing.

    \b
    survey status --catalog ./mine
    """
    from queries.status import COUNTS, print_status

    with catalog_reader(uri) as reader:
        if form == "table":
            print_status(reader, uri, console())
        else:
            print_answer(reader, form, COUNTS, {})
    return 0


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@catalog_option
def attach(file: Path, uri: str) -> int:
    """Write a database of views over the catalog, which any DuckDB client opens.

    It holds no data: what later runs add shows in it, too. Local paths are written in full.

    \b
    survey attach survey.duckdb --catalog ./mine
    duckdb survey.duckdb "FROM models"
    """
    from catalog.attach import attach as write_views
    from catalog.place import place_to_read

    place = place_to_read(uri)
    empty = write_views(place, file)
    say(f"{file}: views over {place}")
    if empty:
        say(f"nothing in {', '.join(empty)} yet; attach again when there is")
    return 0


def _pairs(params: Sequence[str]) -> dict[str, str]:
    for param in params:
        if "=" not in param:
            raise UsageError(f"--param {param}: write name=value")
    given = dict(param.split("=", 1) for param in params)
    # A checkpoint folder is known by its full path.
    forced = ("./", "../", "/", "~")
    return {
        name: os.path.realpath(expanded(value)) if value.startswith(forced) else value
        for name, value in given.items()
    }
