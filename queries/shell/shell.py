"""A shell over one catalog: SQL, the named queries, and a few commands that begin with a dot."""

from __future__ import annotations

import re
import shlex
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import duckdb
from rich.console import Console
from rich.markup import escape

from catalog.read.pieces import Pieces
from catalog.read.reader import Answer, Reader
from catalog.read.statement_limits import refuse_oversized
from catalog.read.view_columns import view_columns
from queries.library import Query, pick, query_list
from queries.text.forms import FORMS, terminal_csv_text, whole
from queries.text.render import TABLE_ROWS, print_queries, print_table
from survey.errors import UsageError, printable
from survey.process.spool import Spool

COMMANDS = {
    ".help": "these lines",
    ".views": "the views and how many columns each has",
    ".columns VIEW": "a view's columns: type, unit, meaning",
    ".queries": "the named queries",
    ".query NAME k=v …": "run a named query",
    ".format table|csv|json|md": "how answers are printed",
    ".quit": "leave (or Ctrl-D)",
}


@dataclass
class Shell:
    """Runs lines. form: how answers are printed, until `.format` changes it. ended: after `.quit`."""

    reader: Reader
    library: Mapping[str, Query]
    console: Console
    form: str = "table"
    ended: bool = field(default=False, init=False)

    def do(self, text: str) -> None:
        """Run one command, or the statements of a text.

        Raises UsageError if one cannot be run, with what is expected.
        """
        text = text.strip()
        try:
            if text.startswith("."):
                self._command(text)
            else:
                for statement in _split(text):
                    self._ask(statement, {})
        except MemoryError as error:
            raise UsageError("its table takes more memory than there is: ask for less") from error

    def _command(self, text: str) -> None:
        try:
            name, *words = shlex.split(text)
        except ValueError as error:
            raise UsageError(f"{text}: {error}") from error
        match name, words:
            case ".help", []:
                self._print(Answer(["command", "does"], ["VARCHAR"] * 2, list(COMMANDS.items())))
            case ".views", []:
                counts = [(view, len(columns)) for view, columns in view_columns().items()]
                self._print(Answer(["view", "columns"], ["VARCHAR", "BIGINT"], list(counts)))
            case ".columns", [view]:
                self._columns(view)
            case ".queries", []:
                print_queries(query_list(self.library), self.console)
            case ".query", [query, *given]:
                self._query(query, given)
            case ".format", [form] if form in ("table", *FORMS):
                self.form = form
            case ".quit" | ".exit", []:
                self.ended = True
            case _:
                known = next((line for line in COMMANDS if line.split()[0] == name), None)
                raise UsageError(f"write {known}" if known else f"no command {name}; .help lists them")

    def _columns(self, view: str) -> None:
        views = view_columns()
        if view not in views:
            raise UsageError(f"no view {view!r}; there are {', '.join(views)}")
        rows = [(item.name, item.sql_type, item.unit, item.meaning) for item in views[view]]
        self._print(Answer(["column", "type", "unit", "meaning"], ["VARCHAR"] * 4, list(rows)))

    def _query(self, name: str, given: list[str]) -> None:
        chosen = pick(self.library, name)
        if wrong := [word for word in given if "=" not in word]:
            raise UsageError(f"{wrong[0]}: write name=value. {name} takes {chosen.signature}")
        values = chosen.bind(dict(word.split("=", 1) for word in given))
        self._ask(chosen.sql, values)

    def _ask(self, sql: str, parameters: Mapping[str, object]) -> None:
        if self.form == "table":
            print_table(self.reader.ask(sql, parameters, TABLE_ROWS), self.console)
        else:
            self._print_pieces(lambda use: self.reader.ask_pieces(sql, parameters, use))

    def _print(self, answer: Answer) -> None:
        if self.form == "table":
            print_table(answer, self.console)
        else:
            self._print_pieces(lambda use: use(whole(answer)))

    def _print_pieces(self, ask: Callable[[Callable[[Pieces], None]], None]) -> None:
        terminal_csv = self.form == "csv" and self.console.is_terminal
        form = terminal_csv_text if terminal_csv else FORMS[self.form]
        with Spool() as spool:
            ask(lambda pieces: spool.fill(form(pieces)))
            for text in spool.texts():
                self.console.out(text, end="", highlight=False)


def is_complete(text: str) -> bool:
    """Whether Enter runs this text: a command, nothing, or SQL up to its semicolon."""
    text = text.strip()
    # Only quotes, comments and semicolons matter here, which SQLite and DuckDB read alike.
    try:
        return not text or text.startswith(".") or sqlite3.complete_statement(text)
    except ValueError:  # a zero byte, or bytes that are not UTF-8: running it says so
        return True


def run_piped(shell: Shell, lines: IO[str]) -> None:
    """Run statements from a file or a pipe, one after another.

    Raises UsageError if one fails; those after it are not run.
    """
    for text in _statements(lines):
        shell.do(text)
        if shell.ended:
            return


def run_terminal(
    shell: Shell,
    history: Path,
    title: str,
    running: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """A prompt with history and completion, until Ctrl-D. Errors are printed, and the prompt continues.

    running: the context of each statement. The prompt changes how signals are received.
    """
    from queries.shell.prompt import prompt_session

    views = ", ".join(view_columns())
    shell.console.print(f"[bold]{escape(printable(title))}[/]: {views}")
    shell.console.print(
        "SQL ends with a semicolon; Tab completes; .help tells more, Ctrl-D leaves.", style="dim"
    )
    session = prompt_session(history, sorted(shell.library))
    while not shell.ended:
        try:
            text = session.prompt("survey> ")
            with running():
                shell.do(text)
        except UsageError as error:
            shell.console.print(f"[red]{escape(printable(str(error)))}[/]")
        except KeyboardInterrupt:  # while a line is typed, or while a statement runs
            shell.console.print("interrupted", style="dim")
        except EOFError:
            return


def _split(text: str) -> list[str]:
    """The statements of a text; the text itself if it is one statement or does not parse."""
    if not text.rstrip(";").strip():
        return []
    try:
        refuse_oversized(text)
        statements = [statement.query for statement in duckdb.extract_statements(text)]
    except (duckdb.Error, UsageError):  # running it reports the error
        return [text]
    return statements if len(statements) > 1 else [text]


def _statements(lines: IO[str]) -> Iterator[str]:
    text = ""
    for line in lines:
        if not text and re.match(r"\s*(--.*)?$", line):
            continue
        text += line
        if is_complete(text):
            yield text
            text = ""
    if text.strip():
        yield text
