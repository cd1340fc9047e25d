"""The user's crontab: read it, take a block out, change it beside other programs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

from survey.errors import UsageError

BEGIN, END = "# BEGIN ", "# END "
WRITES = 3  # of one change, before other programs win


def read_crontab() -> str:
    """The crontab's text, empty if there is none. Raises UsageError."""
    ran = _call("-l")
    if ran.returncode and "no crontab" not in ran.stderr:
        raise UsageError(f"crontab -l: {ran.stderr.strip()}")
    return "" if ran.returncode else ran.stdout


def edit_crontab(change: Callable[[str], str], holds: Callable[[str], bool]) -> None:
    """Change the crontab, then read it again: it has no lock that other programs respect.

    Raises UsageError if the change was overwritten each time.
    """
    for _ in range(WRITES):
        _write(change(read_crontab()))
        if holds(read_crontab()):
            return
    raise UsageError(f"your crontab was changed by another program {WRITES} times at that moment: try again")


def without_block(crontab: str, name: str) -> str:
    """The crontab without one block; everything else keeps its bytes.

    Raises UsageError if the block has no end.
    """
    begin = rf"^{re.escape(BEGIN + name)}(?: .*)?\n"
    if crontab and not crontab.endswith("\n"):
        crontab += "\n"
    block = re.search(
        rf"{begin}(?:(?!{re.escape(BEGIN)}).*\n)*?{re.escape(END + name)}\n", crontab, re.MULTILINE
    )
    if block is None and re.search(begin, crontab, re.MULTILINE):
        raise UsageError(f"your crontab holds `{BEGIN}{name}` and no `{END}{name}` after it: mend it first")
    return crontab if block is None else crontab[: block.start()] + crontab[block.end() :]


def _write(text: str) -> None:
    ran = _call("-", text)
    if ran.returncode:
        raise UsageError(f"crontab refused it: {ran.stderr.strip()}")


def _call(argument: str, text: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["crontab", argument],
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",  # other people's lines go through as they are
        )
    except FileNotFoundError:
        raise UsageError("there is no crontab command here: install cron, or use --on systemd") from None
