"""Quote text for each scheduler's format, or refuse it by name.

Every text of a unit goes through here as it is written: arguments, the working folder, the environment, the
path of the program.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

from survey.errors import UsageError, printable

QUOTED_CHARS = 200
# Control characters, halves of characters, line and paragraph separators.
_UNWRITABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
# They make a line look different from what a program reads.
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def one_line(text: str, what: str | None = None) -> str:
    """The text, if crontabs, unit files and comments all keep it in one line.

    Raises UsageError otherwise, which names the text by `what`.
    """
    # No format of ours can hold a line break; a backslash at the end joins lines in systemd's.
    if text.endswith("\\") or any(map(_unwritable, text)):
        named = what or repr(printable(text[:QUOTED_CHARS]))
        raise UsageError(
            f"{named}: control characters, bytes that are no UTF-8 or a last backslash cannot be in a unit"
        )
    return text


def lines(texts: Iterable[str]) -> str:
    """The text of a crontab or a unit file with these lines. Raises UsageError as one_line does."""
    return "".join(f"{one_line(text)}\n" for text in texts)


def comments(*texts: str) -> list[str]:
    return [f"# {text}" for text in texts]


def crontab_command(command: str) -> str:
    """A shell's command line as cron's sixth field.

    A bare % ends the command and begins its input. A backslash before it takes that away, but one of two
    backslashes does not: between a backslash of the command and its % the shell's quotes, in which both
    stand, are closed and opened again.
    """
    return re.sub(r"(\\?)%", lambda match: (match[1] and f"{match[1]}''") + r"\%", command)


def systemd_value(text: str) -> str:
    """The right-hand side of a setting, which systemd strips of blanks; % begins a specifier everywhere."""
    if text != text.strip():
        raise UsageError(f"{text!r}: systemd takes no blank at the beginning or end of a setting")
    return text.replace("%", "%%")


def systemd_pattern(path: str) -> str:
    """The path of an EnvironmentFile, which systemd takes for a pattern."""
    if set(path) & set("*?[\\"):
        raise UsageError(
            f"{path}: systemd would take this path for a pattern; set XDG_CONFIG_HOME to another"
        )
    return systemd_value(path)


def systemd_word(text: str) -> str:
    """One quoted word, such as an Environment's."""
    escaped = text.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def systemd_command(program: str, arguments: Iterable[str]) -> str:
    """The words of ExecStart; $ begins a variable in all but the first."""
    if set(program) & set("'\"\\"):
        raise UsageError(f"{program}: systemd takes no program with quotes or backslashes in its path")
    return " ".join([systemd_word(program), *(systemd_word(word).replace("$", "$$") for word in arguments)])


def kubernetes_value(text: str) -> str:
    """A word of a command or the value of a variable, in which Kubernetes expands $(NAME)."""
    return text.replace("$", "$$")


class Expression(str):
    """Text of ours that GitHub is to evaluate."""


def without_expressions(text: str) -> str:
    """The text, if GitHub leaves it as it is."""
    if "${{" in text and not isinstance(text, Expression):
        raise UsageError(f"{printable(text[:QUOTED_CHARS])}: GitHub would evaluate it")
    return str(text)


def checked_text(document: Any, check: Callable[[str], str]) -> Any:
    """A YAML document, all of whose texts went through `check`.  (Any: its shape is its reader's own.)"""
    if isinstance(document, dict):
        return {checked_text(key, check): checked_text(value, check) for key, value in document.items()}
    if isinstance(document, list):
        return [checked_text(item, check) for item in document]
    return check(document) if isinstance(document, str) else document


def _unwritable(char: str) -> bool:
    return unicodedata.category(char) in _UNWRITABLE or char in _DIRECTIONS
