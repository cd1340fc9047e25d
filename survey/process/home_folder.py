"""What `~` stands for; containers run as users without a name, whom no home is known of."""

from __future__ import annotations

from pathlib import Path

from survey.errors import UsageError


def home() -> Path:
    """The home of this user. Raises UsageError where there is none."""
    return expanded("~")


def expanded(path: Path | str) -> Path:
    """A path whose `~` is replaced. Raises UsageError where it stands for nobody's home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        what = "this user has no home" if str(path).split("/")[0] == "~" else "there is no such user's home"
        raise UsageError(f"{path}: {what}: set HOME, or write the full path") from error
