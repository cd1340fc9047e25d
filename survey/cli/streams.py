"""Standard streams as they may be: closed, on a full disk, with an encoding that lacks a character."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback

import click

from survey.errors import printable, storable
from survey.process.redaction import redacted


class _Unfailing(io.RawIOBase):
    """stderr that may be gone, such as the terminal of a run that goes on: complaints must not end it."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2

    def isatty(self) -> bool:
        return os.isatty(2)

    def write(self, data: object) -> int:
        left = memoryview(data).cast("B")  # type: ignore[arg-type]  # bytes, or what looks like them
        count = len(left)
        with contextlib.suppress(OSError):
            while left:  # a pipe that is almost full takes a part
                left = left[os.write(2, left) :]
        return count


def open_streams() -> None:
    """Before any file is opened: it would get the number of a standard stream that was closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Writing to it fails, as it would have: what cannot be printed must not count as printed.
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_Unfailing()), encoding, "backslashreplace", line_buffering=True, write_through=True
    )


def say(problem: str) -> None:
    """One line on stderr, whatever stands in it: names of files and of models are somebody else's words."""
    click.echo(f"survey: {printable(redacted(storable(problem)))}", err=True)


def spelled_out(text: str) -> str:
    """Lines whose characters neither steer a terminal nor fake its output."""
    return "\n".join(line if line.isprintable() else printable(line) for line in text.split("\n"))


def printed() -> bool:
    """Whether all that was written to stdout arrived."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):  # ValueError: closed
        return False
    return True


def was_printing(error: OSError) -> bool:
    """Whether an error that names no file came of a print, or of the flush at a command's end."""
    printers = {
        ("click.utils", "echo"),
        ("rich.console", "_write_buffer"),
        ("survey.cli.output", "_print_bytes"),
        ("survey.cli", "main"),
    }
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    innermost = (frames[-1].f_globals.get("__name__"), frames[-1].f_code.co_name)
    within = {(frame.f_globals.get("__name__"), frame.f_code.co_name) for frame in frames[1:]}
    return bool(within & printers) or innermost in printers


def give_up_stdout() -> None:
    """Nothing more is printed: what is still buffered would fail again at the interpreter's end."""
    with contextlib.suppress(OSError, ValueError):  # no file of the system, such as a test's
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the end


def show_all_characters() -> None:
    """From now on, text for people shows a character that stdout cannot encode as an escape."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
