"""`survey nightly`: a unit that runs a survey every night, for a scheduler that is already there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from survey.cli.options import catalog_option, settings_from_options
from survey.cli.run import command as run
from survey.cli.streams import say
from survey.errors import UsageError, printable


@click.command("nightly")
@click.argument("models", required=False, type=click.Path(path_type=Path))
@click.argument("options", nargs=-1, metavar="[-- OPTIONS OF RUN]")
@click.option(
    "--on", "scheduler", required=True, type=click.Choice(("cron", "systemd", "kubernetes", "github")),
    help="The scheduler that starts the run.",
)  # fmt: skip
@click.option("--at", metavar="HH:MM", help="Time of day of the run.")
@click.option(
    "--timezone", "zone", metavar="TZ",
    help="Time zone of --at, such as Europe/Berlin (default: this machine's; UTC for kubernetes and github).",
)  # fmt: skip
@catalog_option
@click.option(
    "--log", type=click.Path(dir_okay=False, path_type=Path),
    help="File that the run's output is appended to (cron, systemd; default: in "
    "~/.local/state/centroid-survey).",
)  # fmt: skip
@click.option("--image", help="A container image that holds `survey` (kubernetes).")
@click.option(
    "--package",
    help="The package that pip installs on the runner (github): git+https://…@COMMIT, a wheel with its "
    "digest, or a file of the repository (default: the commit that this program was installed from).",
)  # fmt: skip
@click.option("--install", "action", flag_value="install", help="Install the unit instead of printing it.")
@click.option("--list", "action", flag_value="list", help="List the installed units.")
@click.option("--remove", "action", flag_value="remove", help="Remove the unit of MODELS and --catalog.")
def command(
    models: Path | None, scheduler: str, uri: str, at: str | None, action: str | None, **given: Any
) -> int:
    """Print or install the unit that runs a survey every night.

    MODELS is a list. Options after a lone -- go to `survey run`.

    \b
    survey nightly models.txt --at 02:00 --timezone Europe/Berlin --on cron --install
    survey nightly models.txt --at 02:00 --on systemd -- --matrix both
    survey nightly --on cron --list
    """
    from jobs.nightly.job import key_job, make_job
    from jobs.nightly.machine import this_machine
    from jobs.nightly.schedulers import install, installed, remove, unit
    from jobs.planning.model_list import read_models

    machine = this_machine(os.environ)
    if action == "list":
        for line in installed(scheduler, machine):
            click.echo(printable(line))  # of a cluster that others write to, too
        return 0
    if models is None:
        raise UsageError("name the list of models: survey nightly MODELS --at HH:MM --on …")
    if action == "remove":
        say(f"removed {remove(scheduler, key_job(models, uri), machine)}")
        return 0
    if at is None:
        raise UsageError("say when: --at HH:MM")
    endpoint = _check_run_options(models, given["options"])
    job = make_job(models, uri, at, **given)
    for problem in read_models([str(models)], Path.cwd(), endpoint).problems:
        say(f"{problem}; refused every night")
    if action is None:
        click.echo(unit(scheduler, job, machine), nl=False)
        return 0
    for line in install(scheduler, job, machine):
        say(line)
    return 0


def _check_run_options(models: Path, options: Sequence[str]) -> str:
    """Check now, and not at night, what a unit would pass to `survey run`; returns the endpoint.

    Raises UsageError, click.UsageError.
    """
    context = run.make_context("survey run", [str(models), *options])
    if len(context.params["models"]) != 1:
        raise UsageError(f"a unit runs one list, and only options may follow --: {' '.join(options)}")
    if any(option.partition("=")[0] == "--catalog" for option in options):
        raise UsageError("give --catalog before the --, so that the unit knows it")
    return settings_from_options(context.params["endpoint"]).endpoint
