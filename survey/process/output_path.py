"""Whether a command may write a file under a name. Light: every command loads this module."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from survey.errors import UsageError
from survey.process.atomic_write import open_atomically

# The folder, or the mount of this one file, takes no other file under the name.
_NO_REPLACEMENT = frozenset((errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV))


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

    A file is replaced whole: on a full disk the earlier one stays, and so does the content that it has under
    another name (a hard link). If it cannot be replaced it is written in place, unless it has such a name.

    It raises, too, if the name has become that of a link to a file: in a folder that others may write to, one
    may be planted meanwhile.
    """
    status = _own_file(path)
    if status is not None or not os.path.lexists(path):
        try:
            with open_atomically(path) as opened:
                if status is not None:
                    os.fchmod(opened.fileno(), stat.S_IMODE(status.st_mode))
                opened.write(content)
            return
        except OSError as error:
            if status is None or error.errno not in _NO_REPLACEMENT:
                raise
    _write_in_place(path, content)


def _own_file(path: Path) -> os.stat_result | None:
    """The status of a file of this user's that may be written.

    None for anything else, and in /dev, whose names lead elsewhere.
    """
    try:
        status = path.lstat()
    except OSError:
        return None
    is_own = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
    return status if is_own and os.access(path, os.W_OK) and not path.is_relative_to("/dev") else None


def _write_in_place(path: Path, content: bytes) -> None:
    descriptor = _open_output(path)
    with os.fdopen(descriptor, "wb") as opened:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            if status.st_nlink > 1 and not path.is_relative_to("/dev"):
                raise OSError(errno.EMLINK, "it has a second name elsewhere, which would change, too")
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
