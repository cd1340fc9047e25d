"""The prompt of the shell: history, completion and colours, by prompt_toolkit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb
from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer
from pygments.lexers.sql import SqlLexer

from catalog.read.view_columns import view_columns
from queries.shell.shell import COMMANDS, is_complete
from queries.text.forms import FORMS


def prompt_session(history: Path, queries: Sequence[str]) -> PromptSession[str]:
    """A prompt for SQL over several lines: Enter runs a complete statement, else it begins a new line."""
    keys = KeyBindings()

    @keys.add("enter")
    def enter(event: KeyPressEvent) -> None:
        if is_complete(event.current_buffer.text):
            event.current_buffer.validate_and_handle()
        else:
            event.current_buffer.insert_text("\n")

    return PromptSession(
        history=_history(history),
        completer=SqlCompleter(queries),
        lexer=PygmentsLexer(SqlLexer),
        auto_suggest=AutoSuggestFromHistory(),
        key_bindings=keys,
        multiline=True,
        prompt_continuation="   ...> ",
        complete_while_typing=False,  # a menu under every word hides the last answer
    )


class SqlCompleter(Completer):
    """Completes views, columns, DuckDB's keywords and functions; after a dot commands and their arguments."""

    def __init__(self, queries: Sequence[str]) -> None:
        self._queries = queries
        self._views = dict.fromkeys(view_columns(), "view")
        self._columns: dict[str, str] = {}
        for view, columns in view_columns().items():
            for column in columns:
                self._columns.setdefault(column.name, f"{view} · {column.sql_type}")
        connection = duckdb.connect()
        words = "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved' ORDER BY 1"
        self._keywords = {word: "" for (word,) in connection.execute(words).fetchall()}
        functions = (
            "SELECT DISTINCT function_name FROM duckdb_functions() "
            "WHERE regexp_full_match(function_name, '[a-z][a-z_0-9]*') ORDER BY 1"
        )
        self._functions = {f"{word}(": "function" for (word,) in connection.execute(functions).fetchall()}

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor.lstrip()
        word = re.search(r"[.\w]*$", before)[0]  # type: ignore[index]  # it also matches the empty end
        if not before.startswith("."):
            word = word.rpartition(".")[2]  # models.repo
        for name, kind in self._offered(before, word):
            yield Completion(name, start_position=-len(word), display_meta=kind)

    def _offered(self, before: str, word: str) -> list[tuple[str, str]]:
        if before.startswith("."):
            command, *rest = before.split(" ")
            after = {
                ".columns": self._views,
                ".query": dict.fromkeys(self._queries, "query"),
                ".format": dict.fromkeys(("table", *FORMS), "format"),
            }
            known = {line.split()[0]: does for line, does in COMMANDS.items()}
            return _beginning(after.get(command, {}) if rest else known, word)
        if re.search(r"\b(from|join|describe|summarize)\s+\w*$", before, re.IGNORECASE):
            return _beginning(self._views, word)
        if not word:
            return []
        return [
            item
            for names in (self._views, self._columns, self._keywords, self._functions)
            for item in _beginning(names, word)
        ]


def _beginning(names: dict[str, str], word: str) -> list[tuple[str, str]]:
    return [(name, kind) for name, kind in names.items() if name.lower().startswith(word.lower())]


def _history(path: Path) -> History:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError:  # a home folder that cannot be written must not prevent answers
        return InMemoryHistory()
    return FileHistory(path)
