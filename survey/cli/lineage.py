"""`survey lineage`: compare two checkpoints."""

from __future__ import annotations

import click

from survey.cli.options import answer_options, matrix_option
from survey.cli.output import catalog_reader, known_as, print_in


@click.command("lineage")
@click.argument("a")
@click.argument("b")
@matrix_option()
@answer_options
def command(a: str, b: str, matrix: str, uri: str, output_format: str) -> int:
    """Compare two checkpoints bit for bit: rows at the same id, rows anywhere, black holes.

    A and B are repo, repo@revision or a folder, both in the catalog, of any two dtypes. Full
    fine-tuning changes every row, so two models without a common row may still be related.

    \b
    survey lineage Qwen/Qwen3-4B Qwen/Qwen3-4B-Base
    survey lineage org/model@step1000 ./my-checkpoint --format json
    """
    from queries.text.lineage import lineage_text as compare

    with catalog_reader(uri) as reader:
        print_in(output_format, compare(reader, known_as(a), known_as(b), matrix))
    return 0
