"""Folders whose content runs, such as a cache of compiled code: only from where no other user can put any."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

ROOT = 0
_ALL_USERS = ["0", "0", "4294967295"]  # of /proc/self/uid_map: each user of the machine is one here, too


def is_own(folder: Path) -> bool:
    """Whether a folder, those above it and the links to it are of users who could replace this program, too.

    A folder in which everybody may write is not, unless everybody may write where this program lies.
    """
    program = Path(__file__).parent
    trusted = {ROOT, os.geteuid(), program.stat().st_uid, *_users_without_number()}
    try:
        steps = {*_steps(folder.absolute()), *_steps(folder.resolve())}
        return {step.lstat().st_uid for step in steps} <= trusted and (
            not folder.stat().st_mode & stat.S_IWOTH or bool(program.stat().st_mode & stat.S_IWOTH)
        )
    except OSError:
        return False


def own_temporary_folder(name: str) -> Path | None:
    """A folder of this user's below the temporary one, which stays for later processes; None if it fails."""
    folder = Path(tempfile.gettempdir(), f"{name}-{os.geteuid()}")
    with suppress(OSError):
        folder.mkdir(0o700)
    try:
        status = folder.lstat()
    except OSError:
        return None
    is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    return folder if is_ours and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) else None


def _steps(folder: Path) -> tuple[Path, ...]:
    return (folder, *folder.parents)


def _users_without_number() -> set[int]:
    """The owner that the machine's folders seem to have in a container without rights."""
    try:
        if Path("/proc/self/uid_map").read_text().split() == _ALL_USERS:
            return set()
        return {int(Path("/proc/sys/kernel/overflowuid").read_text())}
    except (OSError, ValueError):  # not Linux
        return set()
