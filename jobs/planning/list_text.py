"""The text of a list of models, from a file, a pipe or standard input, as editors encode it."""

from __future__ import annotations

import codecs
import re
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from survey.errors import UsageError
from survey.process.bounded_file import read_at

STANDARD_INPUT = "-"
LARGEST_LIST_BYTES = 64 << 20  # the Hub's two million models make some fifty megabytes
MAX_LINES = 4_000_000  # with comments and empty lines; of nothing else, 64 MiB would take minutes

# With a byte order mark: of UTF-32 first, whose mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
NOT_UTF8 = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class ListText:
    """A list as text. origin: its name in messages; folder: the start of its relative paths."""

    text: str
    origin: str
    folder: Path
    encoding: str

    def lines(self) -> Iterator[tuple[str, str]]:
        """Each line's origin and text, without comments; numbered as editors do."""
        for number, line in enumerate(re.split(r"\r\n|\n|\r", self.text), 1):
            # Text that is copied from a page may hold zero-width characters.
            text = re.sub(r"(^|\s)#.*", "", line).strip().strip("\u200b\u200c\u200d\u2060\ufeff").strip()
            if text:
                yield f"{self.origin}:{number}", text


def is_list(path: Path) -> bool:
    """Whether a path can be read as a list: it is a file or a pipe, and no folder, disk or socket."""
    mode = path.stat().st_mode
    return stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def read_list(path: Path, base: Path | None = None) -> ListText:
    """Read a list of models. base: the start of its relative paths if it is no file, such as /dev/stdin.

    Raises UsageError.
    """
    try:
        content = _content(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read as a list of models: {error}") from error
    return _decoded(content, str(path), path.parent if path.is_file() else base or path.parent)


def _content(path: Path) -> bytes:
    if path.is_file():  # perhaps a link to a file of the kernel's that lets its reader wait for ever
        return read_at(path, 0, LARGEST_LIST_BYTES + 1)
    with open(path, "rb") as file:
        return file.read(LARGEST_LIST_BYTES + 1)


def read_standard_input(base: Path) -> ListText:
    """Read a list of models from standard input. Raises UsageError."""
    return _decoded(sys.stdin.buffer.read(LARGEST_LIST_BYTES + 1), "standard input", base)


def _decoded(content: bytes, origin: str, folder: Path) -> ListText:
    problem = "cannot be read as a list of models"
    if len(content) > LARGEST_LIST_BYTES:
        raise UsageError(f"{origin}: {problem}: larger than {LARGEST_LIST_BYTES:,} bytes")
    mark, encoding = next((known for known in _MARKS if content.startswith(known[0])), (b"", "utf-8"))
    # A line in another encoding is refused alone: it holds NOT_UTF8 then.
    errors = "replace" if encoding == "utf-8" else "strict"
    try:
        text = content[len(mark) :].decode(encoding, errors)
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{origin}: {problem}: its byte order mark says {encoding}, its text is another: {error}"
        ) from error
    if "\0" in text:
        advice = "name a checkpoint by its folder; a list in UTF-16 needs a byte order mark"
        raise UsageError(f"{origin}: {problem}, as it is no text; {advice}")
    lines = text.count("\n") + text.count("\r") - text.count("\r\n")
    if lines > MAX_LINES:
        raise UsageError(f"{origin}: {problem}: has {lines:,} lines, expected at most {MAX_LINES:,}")
    return ListText(text, origin, folder, encoding)
