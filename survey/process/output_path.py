"""Whether a command may write a file under a name. Light: every command loads this module."""

from __future__ import annotations

import errno
import os
import stat
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


def write_output(path: Path, content: bytes) -> None:
    """Write a file whose name was checked before a long computation. Raises OSError.

    It raises, too, if the name has become that of a link to a file: in a folder that others may write to, one
    may be planted meanwhile.
    """
    descriptor = _open_output(path)
    with os.fdopen(descriptor, "wb") as opened:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            opened.truncate(0)
        opened.write(content)


def _open_output(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    descriptor = os.open(path, flags)
    if stat.S_ISREG(os.fstat(descriptor).st_mode) and not path.is_relative_to("/dev"):
        os.close(descriptor)
        raise OSError(errno.ELOOP, "it became a link to another file while it was computed")
    return descriptor
