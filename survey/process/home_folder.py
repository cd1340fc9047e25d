"""The home folder that `~` stands for; in containers, a user without a name has none."""

from __future__ import annotations

from pathlib import Path

from survey.errors import UsageError


def home() -> Path:
    """The home folder of this user. Raises UsageError if there is none."""
    return expanded("~")


def expanded(path: Path | str) -> Path:
    """A path with its `~` replaced by the home folder. Raises UsageError if there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        is_own = str(path).split("/")[0] == "~"
        problem = "this user has no home folder" if is_own else "there is no such user with a home folder"
        raise UsageError(f"{path}: {problem}: set HOME, or write the full path") from error
