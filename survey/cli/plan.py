"""`survey plan`: what a run would read, and why."""

from __future__ import annotations

from typing import Any

import click

from survey.cli.options import find_options
from survey.cli.run import show_plan


@click.command("plan")
@click.argument("models", nargs=-1, required=True)
@find_options
@click.option("--explain", is_flag=True, help="List the candidates, what the config says, and what decided.")
def command(models: tuple[str, ...], uri: str, explain: bool, **options: Any) -> int:
    """Print what a run would read: commit, tensor, file, bytes, memory.

    \b
    survey plan Qwen/Qwen3-4B --explain
    """
    return show_plan(models, uri, explain=explain, **options)
