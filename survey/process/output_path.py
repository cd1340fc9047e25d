"""Whether a command may write a file under a name. Light: every command loads this module."""

from __future__ import annotations

from pathlib import Path

from survey.errors import UsageError


def check_output_path(path: Path, option: str = "") -> None:
    """Raise UsageError if the folder into which a file is to be written is missing, or the name is a link's.

    A downloaded folder may hold links to files of yours, called as people call pictures. What is no file, as
    /dev/stdout leads to, is written to.

    option: the option of the command line that names the file, for the message.
    """
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {path.parent}".lstrip())
    if path.is_symlink() and (path.is_file() or not path.exists()) and not path.is_relative_to("/dev"):
        raise UsageError(f"{option} {path}: is a link to {path.readlink()}: name the file itself".lstrip())
