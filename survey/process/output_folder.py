"""The folder into which a command is to write a file. Light: every command loads this module."""

from __future__ import annotations

from pathlib import Path

from survey.errors import UsageError


def check_folder(path: Path, option: str = "") -> None:
    """Raise UsageError if the folder into which a file is to be written is missing.

    option: the option of the command line that names the file, for the message.
    """
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {path.parent}".lstrip())
