"""`survey tokens`: a model's tokens by class."""

from __future__ import annotations

import click

from survey.cli.options import answer_options, matrix_option
from survey.cli.output import catalog_reader, known_as, print_answer, print_in


@click.command("tokens")
@click.argument("model")
@click.option(
    "--class",
    "token_class",
    default="any",
    show_default=True,
    metavar="C",
    help="identical, zero, near_zero, nonfinite, frozen, undertrained, phantom or unreachable; any: at least "
    "one of these; all: every token.",
)
@matrix_option()
@click.option("--ids-only", is_flag=True, help="Print token ids alone, one on each line.")
@answer_options
def command(model: str, token_class: str, matrix: str, ids_only: bool, uri: str, output_format: str) -> int:
    """List a model's tokens by class: ids, texts, norms, black holes.

    Control and direction characters in texts are escaped; JSON and Parquet hold the texts exactly.

    \b
    survey tokens Qwen/Qwen3-4B
    survey tokens Qwen/Qwen3-4B --class undertrained --format csv
    survey tokens Qwen/Qwen3-4B --class identical --ids-only > mask.txt
    """
    from queries.text.tokens import CHOICES, TOKEN_IDS, TOKENS, quoted, token_parameters

    if token_class not in CHOICES:
        raise click.BadParameter(f"{token_class!r} is none of {', '.join(CHOICES)}", param_hint="--class")
    with catalog_reader(uri) as reader:
        parameters = token_parameters(reader, known_as(model), token_class, matrix)
        question = TOKEN_IDS if ids_only else TOKENS
        if output_format in ("json", "parquet") or (ids_only and output_format != "table"):
            print_answer(reader, output_format, question, parameters)
        elif ids_only:
            click.echo("".join(f"{row[0]}\n" for row in reader.ask(question, parameters).rows), nl=False)
        else:
            print_in(output_format, quoted(reader.ask(question, parameters)))
    return 0
