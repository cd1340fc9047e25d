"""The home folder that `~` stands for; in containers, a user without a name has none."""

from __future__ import annotations

import os
from pathlib import Path

from survey.errors import UsageError

# Folders of caches and settings. A relative one lies in the working folder, and some caches hold code. By
# XDG's rule it counts as not set.
_FOLDERS = (
    *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"),
    *("NUMBA_CACHE_DIR", "TRITON_CACHE_DIR", "TRITON_HOME"),
)
NOWHERE = "/nonexistent"  # as Debian's users without a home have it


def refuse_home_in_working_folder() -> None:
    """Before libraries look for their files in `~`: if there is no home, let none lie in the working folder.

    To Python `~` is then a relative path. A downloaded folder may hold a folder of that name with numba's
    cache of pickles or with settings of AWS, which name a program to run.
    """
    if not os.path.isabs(os.path.expanduser("~")):
        os.environ["HOME"] = NOWHERE
    for name in _FOLDERS:
        if not os.path.isabs(os.environ.get(name, "/")):
            del os.environ[name]


def home() -> Path:
    """The home folder of this user. Raises UsageError if there is none."""
    return expanded("~")


def expanded(path: Path | str) -> Path:
    """A path with its `~` replaced by the home folder. Raises UsageError if there is none."""
    is_own = str(path).split("/")[0] == "~"
    try:
        if is_own and os.environ.get("HOME") == NOWHERE:
            raise RuntimeError
        return Path(path).expanduser()
    except RuntimeError as error:
        problem = "this user has no home folder" if is_own else "there is no such user with a home folder"
        raise UsageError(f"{path}: {problem}: set HOME, or write the full path") from error
