"""`survey shell`: a prompt over a catalog."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from survey.cli.options import catalog_option, queries_option
from survey.cli.output import catalog_reader, console
from survey.cli.stopping import ended_by_second_signal
from survey.errors import UsageError
from survey.process.home_folder import home


@click.command("shell")
@queries_option
@catalog_option
def command(folders: tuple[Path, ...], uri: str) -> int:
    """Ask at a prompt with history and completion, or run statements from a pipe in turn.

    In a pipe, a statement ends with a semicolon, a command with its line; the first failure ends the shell.

    \b
    survey shell --catalog ./mine
    echo "SELECT repo, dead_count FROM models;" | survey shell
    """
    from queries.library import load
    from queries.shell.shell import Shell, run_piped, run_terminal

    with catalog_reader(uri) as reader:
        opened = Shell(reader, load(folders), console())
        if sys.stdin.isatty():
            run_terminal(opened, _history(), uri, ended_by_second_signal)
        else:
            run_piped(opened, sys.stdin)
    return 0


def _history() -> Path:
    """The file of the prompt's history; /dev/null for a user without a home folder, as in containers."""
    try:
        state = Path(os.environ.get("XDG_STATE_HOME") or home() / ".local/state")
    except UsageError:
        return Path(os.devnull)
    return state / "centroid-survey" / "shell_history"
