"""`survey sql`: one SELECT over a catalog."""

from __future__ import annotations

import click

from survey.cli.options import answer_options
from survey.cli.output import answer


@click.command("sql", context_settings={"ignore_unknown_options": True})
@click.argument("statement")
@answer_options
def command(statement: str, uri: str, output_format: str) -> int:
    """Ask in SQL: views models, black_holes, exponents, vectors, tokens, attempts, kinematics, …

    \b
    survey sql "SELECT family, avg(centroid_ratio) FROM models GROUP BY family"
    """
    return answer(uri, output_format, statement, {})
