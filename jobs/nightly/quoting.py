"""Quote text for each scheduler's format, or refuse it by name.

Every text of a unit passes through this module: arguments, the working folder, the environment, the path of
the program.
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
# These make a line look different from what a program reads.
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def one_line(text: str, what: str | None = None) -> str:
    """The text, if crontabs, unit files and comments all keep it in one line.

    Raises UsageError otherwise, which names the text by `what`.
    """
    # No scheduler's format can hold a line break; in systemd's a backslash at the end joins two lines.
    if text.endswith("\\") or any(map(_unwritable, text)):
        label = what or repr(printable(text[:QUOTED_CHARS]))
        raise UsageError(
            f"{label}: control characters, bytes that are no UTF-8 or a last backslash cannot be in a unit"
        )
    return text


def lines(texts: Iterable[str]) -> str:
    """The text of a crontab or a unit file with these lines. Raises UsageError as one_line does."""
    return "".join(f"{one_line(text)}\n" for text in texts)


def comments(*texts: str) -> list[str]:
    return [f"# {text}" for text in texts]


def crontab_command(command: str) -> str:
    """A shell's command line as cron's sixth field.

    A bare % ends the command and begins its input, unless a backslash stands before it; but of two
    backslashes neither counts. So between a backslash of the command and its % the shell's quotes around
    both are closed and opened again.
    """
    return re.sub(r"(\\?)%", lambda match: (match[1] and f"{match[1]}''") + r"\%", command)


def systemd_value(text: str) -> str:
    """The right-hand side of a setting. systemd strips blanks, which is refused; % begins a specifier."""
    if text != text.strip():
        raise UsageError(f"{text!r}: systemd takes no blank at the beginning or end of a setting")
    return text.replace("%", "%%")


def systemd_pattern(path: str) -> str:
    """The path of an EnvironmentFile, which systemd treats as a pattern."""
    if set(path) & set("*?[\\"):
        raise UsageError(
            f"{path}: systemd would take this path for a pattern; set XDG_CONFIG_HOME to another folder"
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
    """Text that GitHub is to evaluate; it holds nothing from outside."""


def without_expressions(text: str) -> str:
    """The text, if GitHub leaves it as it is."""
    if "${{" in text and not isinstance(text, Expression):
        raise UsageError(f"{printable(text[:QUOTED_CHARS])}: GitHub would evaluate it")
    return str(text)


def checked_text(document: Any, check: Callable[[str], str]) -> Any:
    """A YAML document with every text checked by `check`.  (Any: its shape is its reader's own.)"""
    if isinstance(document, dict):
        return {checked_text(key, check): checked_text(value, check) for key, value in document.items()}
    if isinstance(document, list):
        return [checked_text(item, check) for item in document]
    return check(document) if isinstance(document, str) else document


def _unwritable(char: str) -> bool:
    return unicodedata.category(char) in _UNWRITABLE or char in _DIRECTIONS
