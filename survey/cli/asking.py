"""Commands that ask a catalog: query, sql, show, status."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from survey.cli.common import answer, answer_options, catalog_reader, console, print_answer, print_in
from survey.errors import UsageError


@click.command()
@click.argument("name", required=False)
@click.option("--param", "params", multiple=True, metavar="K=V", help="A parameter of the query.")
@click.option(
    "--queries",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder with more .sql files.",
)
@answer_options
def query(name: str | None, params: tuple[str, ...], folders: tuple[Path, ...], uri: str, form: str) -> int:
    """Run a named query; without NAME, list them.

    \b
    survey query
    survey query families
    survey query compare --param a=Qwen/Qwen3-4B --param b=google/gemma-3-4b-it
    """
    from catalog.read import Answer
    from queries.library import load, pick

    library = load(folders)
    if name is None and form == "table":
        for item in library.values():
            click.echo(f"{item.name:<14} {item.help}\n{'':<14} {item.signature}")
        return 0
    if name is None:
        rows = [(item.name, item.help, item.signature) for item in library.values()]
        print_in(form, Answer(["query", "answers", "parameters"], ["VARCHAR"] * 3, list(rows)))
        return 0
    chosen = pick(library, name)
    return answer(uri, form, chosen.sql, chosen.bind(_pairs(params)))


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("statement")
@answer_options
def sql(statement: str, uri: str, form: str) -> int:
    """Ask in SQL: views models, black_holes, exponents, vectors, tokens, attempts.

    \b
    survey sql "SELECT family, avg(centroid_ratio) FROM models GROUP BY family"
    """
    return answer(uri, form, statement, {})


@click.command()
@click.argument("model")
@answer_options
def show(model: str, uri: str, form: str) -> int:
    """One model's card: its numbers, its black holes, its failures.

    \b
    survey show Qwen/Qwen3-4B
    survey show Qwen/Qwen3-4B@main --format json
    """
    from queries.card import card_rows, print_card

    name = str(Path(model).resolve()) if Path(model).is_dir() else model
    with catalog_reader(uri) as reader:
        if form == "table":
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


def _pairs(params: Sequence[str]) -> dict[str, str]:
    for param in params:
        if "=" not in param:
            raise UsageError(f"--param {param}: write name=value")
    given = dict(param.split("=", 1) for param in params)
    # A checkpoint folder is known by its full path.
    forced = ("./", "../", "/", "~")
    return {
        name: str(Path(value).expanduser().resolve()) if value.startswith(forced) else value
        for name, value in given.items()
    }
