"""`survey plan`: the bytes that a run would read, and why these."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from survey.cli.options import models_options
from survey.cli.output import catalog_reader, console
from survey.cli.request import read_request

if TYPE_CHECKING:
    from jobs.run.request import RunRequest
    from survey.records.settings import Settings
    from survey.records.target import MatrixChoice


@click.command("plan")
@click.argument("models", nargs=-1, required=True)
@models_options
@click.option("--explain", is_flag=True, help="List the candidates, what the config says, and what decided.")
def command(
    models: tuple[str, ...],
    uri: str,
    matrix: MatrixChoice,
    endpoint: str | None,
    connections: int | None,
    no_tokens: bool,
    explain: bool,
) -> int:
    """Print what a run would read: commit, tensor, file, bytes, memory.

    \b
    survey plan Qwen/Qwen3-4B --explain
    """
    request, settings = read_request(models, matrix, endpoint, connections, no_tokens=no_tokens)
    return show_plan(request, settings, uri, explain=explain)


def show_plan(request: RunRequest, settings: Settings, uri: str, *, explain: bool = False) -> int:
    """Print the plan of a run and return the exit code: 1 if it refuses a model."""
    from catalog.read.measured import NOTHING_MEASURED, read_measured
    from catalog.store.open import open_if_there
    from jobs.executors.progress import progress_for
    from jobs.run.dry_run import plan_only
    from jobs.run.summary import print_plan

    measured = NOTHING_MEASURED
    if open_if_there(uri) is not None and not request.resurvey:
        with catalog_reader(uri) as reader:
            measured = read_measured(reader)
    plan = plan_only(request, settings, measured, progress_for(console(stderr=True)), explain=explain)
    print_plan(plan, console())
    return 1 if plan.refusals else 0
