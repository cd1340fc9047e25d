"""The file of `survey run --summary`: checked before a run, written after it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from survey.cli.streams import say
from survey.errors import UsageError
from survey.process.output_path import check_output_path

if TYPE_CHECKING:
    from jobs.run.ledger import RunLedger


def check_summary(path: Path) -> None:
    """Check before a long run that the summary can be written. Raises UsageError."""
    check_output_path(path, "--summary")
    if path.is_dir() or not all(os.access(target, os.W_OK) for target in _paths_to_write(path)):
        raise UsageError(f"--summary {path}: cannot be written; name a file in a folder of yours")
    if path.is_file() and path.stat().st_size and _first_byte(path) != b"{":
        raise UsageError(f"--summary {path}: exists and is no summary of a run; name another file")


def write_summary(path: Path, result: RunLedger) -> int:
    """Write the summary whole or not at all. Returns the run's exit code, never 0 if writing failed."""
    from jobs.run.ledger import summary_json
    from survey.process.atomic_write import write_atomically

    text = summary_json(result)
    try:
        if path.is_file() or not path.exists():
            write_atomically(_file_to_write(path), text.encode())
        else:  # a pipe, or /dev/stdout
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        say(f"--summary {path}: {error.strerror}")
        return result.exit_code or 1
    return result.exit_code


def _first_byte(path: Path) -> bytes:
    with path.open("rb") as opened:
        return opened.read(1)


def _file_to_write(path: Path) -> Path:
    """The file itself; of a link that was planted since the check the link, which is replaced."""
    return Path(os.path.realpath(path)) if path.is_relative_to("/dev") else path


def _paths_to_write(path: Path) -> list[Path]:
    """The paths that must be writable: also a file's folder, as it is written beside itself first."""
    if path.exists() and not path.is_file():
        return [path]
    return [Path(os.path.realpath(path)).parent, *([path] if path.exists() else [])]
