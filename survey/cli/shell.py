"""`survey shell`: a prompt over a catalog."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from survey.cli.options import catalog_option, queries_option
from survey.cli.output import catalog_reader, console
from survey.errors import UsageError
from survey.process.home_folder import home


@click.command("shell")
@queries_option
@catalog_option
def command(folders: tuple[Path, ...], uri: str) -> int:
    """A prompt for SQL, with history and completion; statements from a pipe are run in turn.

    In a pipe statements end with a semicolon, commands with their line, and the first that fails is the last.

    \b
    survey shell --catalog ./mine
    echo "SELECT repo, dead_count FROM models;" | survey shell
    """
    from queries.library import load
    from queries.shell.shell import Shell, run_piped, run_terminal

    with catalog_reader(uri) as reader:
        opened = Shell(reader, load(folders), console())
        if sys.stdin.isatty():
            run_terminal(opened, _history(), uri)
        else:
            run_piped(opened, sys.stdin)
    return 0


def _history() -> Path:
    """Where the prompt's history is kept; nowhere for a user without a home, as containers have them."""
    try:
        state = Path(os.environ.get("XDG_STATE_HOME") or home() / ".local/state")
    except UsageError:
        return Path(os.devnull)
    return state / "centroid-survey" / "shell_history"
