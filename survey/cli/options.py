"""Options that several commands share, each defined once, and the settings that are built from them.

Every option is a decorator. Two are functions that return one, because commands differ in what they accept.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from survey.records.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Command], Command]

MATRIX_CONNECTIONS = 64  # maximum for one matrix; a run may have more, for several models


def options_of(*options: Decorator[Command]) -> Decorator[Command]:
    """Several options as one decorator; help lists them in this order."""

    def apply(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return apply


catalog_option = click.option(
    "--catalog", "uri", default="./survey-catalog", show_default=True, metavar="URI",
    help="The catalog: a folder, or a URL such as s3://bucket/prefix, gs://… or hf://datasets/….",
)  # fmt: skip
answer_options = options_of(
    catalog_option,
    click.option(
        "--format", "output_format", type=click.Choice(("table", "csv", "json", "md", "parquet")),
        default="table", show_default=True, help="How to print the answer.",
    ),
)  # fmt: skip
result_option = click.option(
    "--format", "output_format", type=click.Choice(("table", "json")), default="table", show_default=True,
    help="How to print the result.",
)  # fmt: skip
queries_option = click.option(
    "--queries", "folders", multiple=True, type=click.Path(path_type=Path), metavar="DIR",
    help="A folder with more .sql files.",
)  # fmt: skip
plot_option = click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Draw a picture: .png or .svg (needs the extra `plots`).",
)  # fmt: skip
endpoint_option = click.option(
    "--endpoint", metavar="URL", help="The Hub (default: HF_ENDPOINT, else huggingface.co)."
)
device_option = click.option(
    "--device", type=click.Choice(("auto", "cpu", "cuda", "mps")), default="auto", show_default=True,
    help="The device that does the arithmetic.",
)  # fmt: skip
executor_option = click.option(
    "--executor", type=click.Choice(("ray", "serial")), default="ray", show_default=True,
    help="Run as Ray tasks, or one after another in this process.",
)  # fmt: skip
address_option = click.option(
    "--address", metavar="ADDR", help="A Ray cluster (default: RAY_ADDRESS, else an embedded Ray)."
)


def matrix_option(*, both: bool = False) -> Decorator[Any]:
    """--matrix. both: the command can also take the two matrices of a model."""
    both_help = "; both: each of them (once if they are tied)" if both else ""
    return click.option(
        "--matrix", type=click.Choice(("output", "input", *(("both",) if both else ()))),
        default="output", show_default=True,
        help=f"output: the unembedding; input: the embedding{both_help}.",
    )  # fmt: skip


def connections_option(maximum: int) -> Decorator[Any]:
    """--connections, from 1 to `maximum`; None if it is not given."""
    return click.option(
        "--connections", type=click.IntRange(1, maximum), metavar="N",
        help="Maximum number of connections at a time (default: up to 16 for each running model).",
    )  # fmt: skip


models_options = options_of(
    catalog_option,
    matrix_option(both=True),
    endpoint_option,
    connections_option(1024),
    click.option("--no-tokens", is_flag=True, help="Leave out the per-token table."),
)


def settings_from_options(endpoint: str | None, connections: int | None = None) -> Settings:
    """Settings that reach the Hub, from two options and the environment (HF_ENDPOINT, HF_TOKEN).

    The caller replaces the fields of its own options. Raises UsageError for an option or a variable that
    cannot be used.
    """
    from survey.hub.access import check_variables, stated_endpoint, stated_token
    from survey.records.settings import Settings

    check_variables()
    return Settings(
        endpoint=stated_endpoint(endpoint),
        token=stated_token(),
        connections=min(connections or Settings().connections, MATRIX_CONNECTIONS),
    )


def ray_address(address: str | None) -> str | None:
    """The Ray cluster that --address names, else RAY_ADDRESS; None for an embedded Ray."""
    return address or os.environ.get("RAY_ADDRESS") or None
