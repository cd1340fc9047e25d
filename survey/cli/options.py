"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def options_of(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def apply(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


catalog_option = click.option(
    "--catalog",
    "uri",
    default="./survey-catalog",
    show_default=True,
    metavar="URI",
    help="The catalog: a folder, or a URL such as s3://bucket/prefix, gs://… or hf://datasets/….",
)
answer_options = options_of(
    catalog_option,
    click.option(
        "--format",
        "form",
        type=click.Choice(("table", "csv", "json", "md", "parquet")),
        default="table",
        show_default=True,
        help="How to print the answer.",
    ),
)
queries_option = click.option(
    "--queries",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder with more .sql files.",
)
plot_option = click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Draw a picture: .png or .svg (needs the extra `plots`).",
)
result_option = click.option(
    "--format", "form", type=click.Choice(("table", "json")), default="table", show_default=True,
    help="How to print the result.",
)  # fmt: skip
find_options = options_of(
    catalog_option,
    click.option(
        "--matrix",
        type=click.Choice(("output", "input", "both")),
        default="output",
        show_default=True,
        help="The unembedding, the embedding, or both (once, where they are tied).",
    ),
    click.option("--endpoint", metavar="URL", help="The Hub (default: HF_ENDPOINT, else huggingface.co)."),
    click.option(
        "--connections",
        type=click.IntRange(1, 1024),
        metavar="N",
        help="Connections at a time in the whole run (default: up to 16 for each running model).",
    ),
    click.option("--no-tokens", is_flag=True, help="Leave out the per-token table."),
)
