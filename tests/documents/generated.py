"""The parts of the reference that are made from code; `make docs` writes them, a test compares them.

A page marks such a part by `<!-- begin NAME -->` and `<!-- end NAME -->`.
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from catalog.read.view_columns import view_columns
from queries.library import load, query_list
from survey.cli import cli
from survey.errors import REASONS

ROOT = Path(__file__).parents[2]
WIDTH = 100  # of the help texts, whatever the terminal
VIEWS = {
    "models": "one row for each repo × matrix, at the commit that its default revision, or the plain "
    "revision asked for, resolved to last",
    "models_history": "one row for each repo × commit × matrix: the columns of `models`, and the following",
    "black_holes": "one row for each black hole",
    "exponents": "the histogram of biased exponents; values that do not occur are left out",
    "vectors": "the three centroids",
    "sketches": "a sample of each matrix's row hashes, to find related models",
    "tokens": "one row for each token, unless `--no-tokens`",
    "attempts": "one row for each model and run, even if nothing had to be done",
    "clusters": "one row for each result of `survey cluster`: a matrix, its axes, a reference row and a field",
    "spectra": "one row for each matrix whose spectrum `survey run --spectrum` or `survey spectrum` computed",
    "kinematics": "one row for each history of dead rows that `survey kinematics` followed",
    "training_runs": "one row for each run of `survey train`",
}


def pages() -> list[Path]:
    """README.md and every page of docs/, in the order in which a person reads them."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands() -> str:
    """Every command as its `--help` describes it."""
    parts = []
    for name, command in cli.commands.items():
        settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
        context = click.Context(command, info_name=f"survey {name}", **settings)
        parts.append(f"## survey {name}\n\n```text\n{command.get_help(context)}\n```")
    return "\n\n".join(parts)


def columns() -> str:
    """The data dictionary, from the records' fields."""
    parts = []
    views = view_columns()
    for view, described in views.items():
        if view == "models_history":
            described = [item for item in described if item not in views["models"]]
        lines = [
            f"| `{item.name}` | {item.sql_type} | {item.unit} | {item.meaning.replace('|', '∣')} |"
            for item in described
        ]
        table = "\n".join(["| column | type | unit | meaning |", "|---|---|---|---|", *lines])
        parts.append(f"## {view}\n\n{VIEWS[view][0].upper()}{VIEWS[view][1:]}.\n\n{table}")
    return "\n\n".join(parts)


def queries() -> str:
    """Every named query with its help, its parameters and the columns of its answer."""
    parts = []
    for name, answers, parameters, returned in query_list(load()).rows:
        shown = ", ".join(f"`{column}`" for column in returned.split(", "))
        parts.append(f"## {name}\n\n{answers}\n\n- takes: `{parameters}`\n- columns: {shown}")
    return "\n\n".join(parts).replace("`no parameters`", "no parameters")


def reasons() -> str:
    lines = [f"| `{reason}` | {advice} |" for reason, advice in REASONS.items()]
    return "\n".join(["| reason | what to do |", "|---|---|", *lines])


GENERATED = {"commands": commands, "columns": columns, "queries": queries, "reasons": reasons}


def sections(text: str) -> dict[str, str]:
    """The generated parts of a page, by name."""
    return dict(re.findall(r"<!-- begin (\w+) -->\n(.*?)\n<!-- end \1 -->", text, re.DOTALL))


def filled(text: str) -> str:
    """A page with its generated parts as the code makes them now."""
    for name, old in sections(text).items():
        text = text.replace(
            f"<!-- begin {name} -->\n{old}\n<!-- end", f"<!-- begin {name} -->\n{GENERATED[name]()}\n<!-- end"
        )
    return text
