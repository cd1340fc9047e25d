"""`survey query`: run a named query, or list them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from survey.cli.options import answer_options, queries_option
from survey.cli.output import answer, console, known_as, print_in
from survey.errors import UsageError
from survey.process.home_folder import expanded


@click.command("query")
@click.argument("name", required=False)
@click.option("--param", "params", multiple=True, metavar="K=V", help="A parameter of the query.")
@queries_option
@answer_options
def command(
    name: str | None, params: tuple[str, ...], folders: tuple[Path, ...], uri: str, output_format: str
) -> int:
    """Run a named query; without NAME, list them.

    \b
    survey query
    survey query families
    survey query compare --param a=Qwen/Qwen3-4B --param b=google/gemma-3-4b-it
    """
    from queries.library import find, load, query_list
    from queries.text.render import print_queries

    if name is None:
        if output_format == "table":
            print_queries(query_list(load(folders)), console())
        else:
            print_in(output_format, query_list(load(folders)))
        return 0
    chosen = find(name, folders)
    return answer(uri, output_format, chosen.sql, chosen.bind(_pairs(params)))


def _pairs(params: Sequence[str]) -> dict[str, str]:
    for param in params:
        if "=" not in param:
            raise UsageError(f"--param {param}: write name=value")
    given = dict(param.split("=", 1) for param in params)
    forced = ("./", "../", "/", "~")
    return {
        name: _full_path(str(expanded(value))) if value.startswith(forced) else value
        for name, value in given.items()
    }


def _full_path(value: str) -> str:
    """A model in a folder as the catalog names it, or any other path."""
    name = known_as(value)
    return name if name != value else os.path.realpath(value)
