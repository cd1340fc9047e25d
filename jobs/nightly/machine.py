"""The machine that a unit is made on: its program, its folders, its clock, its environment."""

from __future__ import annotations

import os
import shutil
import sysconfig
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from pathlib import Path

from jobs.nightly.environment import carried
from survey.errors import UsageError
from survey.process.home_folder import expanded, home


@dataclass(frozen=True, slots=True)
class JobMachine:
    """The machine that units are made and installed on.

    zone: of the clock that cron reads. config, state: this program's folders of this user. units: systemd's
    folder, of root or of the user. folder: the working folder of the command.
    """

    environment: Mapping[str, str] = field(repr=False)  # it may hold tokens
    program: Path
    zone: tzinfo
    config: Path
    state: Path
    units: Path
    root: bool
    folder: Path

    @property
    def env_file(self) -> Path:
        """The file for secrets, which a unit must not show."""
        return self.config / "nightly.env"

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a run on this machine; schedulers set almost none."""
        path = f"{self.program.parent}:/usr/local/bin:/usr/bin:/bin"
        return {"PATH": path, **carried(self.environment)}


def this_machine(environment: Mapping[str, str]) -> JobMachine:
    """Describe this machine. Raises UsageError if it has no `survey` command."""
    home_folder, root = home(), os.geteuid() == 0
    config = absolute_path(Path(environment.get("XDG_CONFIG_HOME") or home_folder / ".config"))
    state = absolute_path(Path(environment.get("XDG_STATE_HOME") or home_folder / ".local/state"))
    return JobMachine(
        environment,
        _program(environment),
        _system_zone(),
        config / "centroid-survey",
        state / "centroid-survey",
        Path("/etc/systemd/system") if root else config / "systemd/user",
        root,
        Path.cwd(),
    )


def absolute_path(path: Path) -> Path:
    """The absolute path with its links: whoever moves a link means to move the job, too."""
    return Path(os.path.abspath(expanded(path)))


def _program(environment: Mapping[str, str]) -> Path:
    beside = Path(sysconfig.get_path("scripts")) / "survey"
    program = beside if beside.is_file() else shutil.which("survey", path=environment.get("PATH"))
    if program is None:
        raise UsageError("the `survey` command is not installed in this environment: pip install it first")
    return absolute_path(Path(program))


def _system_zone() -> tzinfo:
    """The machine's zone, not this process's TZ, which cron's daemon does not see."""
    try:
        with open("/etc/localtime", "rb") as file:
            return zoneinfo.ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return UTC
