"""Standard streams in every state: closed, on a full disk, with an encoding that lacks a character."""

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
    """stderr whose writes never fail: a run goes on after its terminal was closed."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2

    def isatty(self) -> bool:
        return os.isatty(2)

    def write(self, data: object) -> int:
        left = memoryview(data).cast("B")  # type: ignore[arg-type]  # any buffer of bytes
        count = len(left)
        with contextlib.suppress(OSError):
            while left:  # a pipe that is almost full accepts a part
                left = left[os.write(2, left) :]
        return count


def open_streams() -> None:
    """Open the standard streams that are closed: else the next file to be opened would get their number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # For reading only, so that writing to it fails as before: lost output must not count as printed.
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
    """Print one line on stderr. Names of files and models in it may hold anything, so they are escaped."""
    click.echo(f"survey: {printable(redacted(storable(problem)))}", err=True)


def spelled_out(text: str) -> str:
    """The text with those characters escaped that would steer a terminal or fake its output."""
    return "\n".join(line if line.isprintable() else printable(line) for line in text.split("\n"))


def printed() -> bool:
    """Flush stdout; False if not all that was written to it arrived."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):  # ValueError: closed
        return False
    return True


def was_printing(error: OSError) -> bool:
    """Whether an error that names no file came from a print, or from the flush at a command's end."""
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
    """Discard all further output: what is still buffered would fail again when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):  # stdout has no file descriptor, as in a test
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - it stays open until the process ends


def show_all_characters() -> None:
    """From now on, print a character that stdout cannot encode as an escape."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
