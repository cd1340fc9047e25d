"""`survey discover`: a list of models from the Hub's listing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from survey.cli.options import endpoint_option, settings_from_options
from survey.cli.streams import say

ANSWER_WITHIN_S = 300.0  # a person waits for the list


@click.command("discover")
@click.option("--author", metavar="NAME", help="A user or an organisation on the Hub.")
@click.option("--family", metavar="NAME", help="A family, named as in the catalog: Qwen, Llama, Gemma, …")
@click.option(
    "--format",
    type=click.Choice(["safetensors", "gguf", "mlx", "any"]),
    default="safetensors",
    show_default=True,
    metavar="FORMAT",
    help="Of the weights: safetensors, gguf, mlx or any.",
)
@click.option(
    "--min-downloads", type=click.IntRange(min=0), default=0, show_default=True,
    help="Leave out models with fewer downloads in the last 30 days.",
)  # fmt: skip
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Maximum number of models."
)
@endpoint_option
def command(endpoint: str | None, **criteria: Any) -> int:
    """Write a list of models from the Hub's listing: text generation, by downloads.

    \b
    survey discover --author Qwen --limit 50 > models.txt
    survey discover --family Gemma --min-downloads 10000 > models.txt
    survey discover --author unsloth --format gguf > models.txt
    """
    from jobs.planning.discover import ListingFilter, as_list
    from jobs.planning.discover import discover as discover_models

    listing_filter = ListingFilter(**criteria)
    settings = replace(settings_from_options(endpoint), timeout_s=ANSWER_WITHIN_S)
    listing = discover_models(listing_filter, settings)
    click.echo(as_list(listing.models), nl=False)
    say(listing.summary(listing_filter))
    return 0 if listing.models else 1
