"""A nightly run as a block of the user's crontab."""

from __future__ import annotations

import shlex
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from jobs.nightly.crontab import BEGIN, END, edit_crontab, read_crontab, without_block
from jobs.nightly.environment import secret_names
from jobs.nightly.job import UNIT_PREFIX, Job
from jobs.nightly.machine import JobMachine
from jobs.nightly.quoting import comments, crontab_command, lines, one_line
from jobs.nightly.unit_files import log_file, prepare_folders, write_unit
from survey.errors import UsageError

# Debian's cron refuses a crontab with a longer command (MAX_COMMAND is 1000, its end included).
LONGEST_COMMAND = 998


def unit(job: Job, machine: JobMachine) -> str:
    """The block. Everything that the command needs is in its line, or in a file that the line reads.

    Variables that a crontab sets would hold for all lines below, which are the user's own.
    """
    times = local_times(job, machine)
    command, variables = _command(job, machine, guarded=len(times) > 1)
    secrets = ", ".join(f"{name}=..." for name in secret_names(machine.environment))
    return lines(
        [
            f"{BEGIN}{job.name} (by `survey nightly`)",
            *comments(
                job.title,
                f"Write secrets into {machine.env_file}, mode 600, one NAME=value a line: {secrets}",
                "Variables in that file override those below.",
                "cron does not make up for a night when this machine was off; the next night fills the gap.",
            ),
            *(_about_variables(variables, machine) if variables else ()),
            *(_about_zones(job) if job.zone else ()),
            *(f"{minute} {hour} * * * {command}" for hour, minute in times),
            f"{END}{job.name}",
        ]
    )


def local_times(job: Job, machine: JobMachine) -> list[tuple[int, int]]:
    """Every hour and minute that this machine's clock can show at the job's hour in the job's time zone."""
    if job.zone is None:
        return [(job.at.hour, job.at.minute)]
    today, job_zone = datetime.now(UTC).date(), ZoneInfo(job.zone)
    times = set()
    for days in range(366):
        moment = datetime.combine(today + timedelta(days=days), job.at, job_zone).astimezone(UTC)
        if moment.astimezone(job_zone).time() == job.at:  # false if the clocks skip that hour on this day
            local = moment.astimezone(machine.zone)
            times.add((local.hour, local.minute))
    return sorted(times)


def install(job: Job, machine: JobMachine) -> list[str]:
    """Append the block to the user's crontab, without an earlier one of this name."""
    block = unit(job, machine)
    # A crontab that cannot be changed stops it before anything is written.
    without_block(read_crontab(), job.name)
    notes = prepare_folders(job, machine)
    _, variables = _command(job, machine, guarded=len(local_times(job, machine)) > 1)
    if variables:
        write_unit(variables, lines(_exports(machine)))
    edit_crontab(lambda crontab: without_block(crontab, job.name) + block, lambda crontab: block in crontab)
    return ["your crontab runs it, as long as the cron daemon runs", *notes]


def installed(machine: JobMachine) -> list[str]:
    """The name and title of each block that `survey nightly` made."""
    lines = read_crontab().splitlines()
    return [
        f"{line.removeprefix(BEGIN).split()[0]}  {lines[number + 1].removeprefix('# ')}"
        for number, line in enumerate(lines[:-1])
        if line.startswith(BEGIN + UNIT_PREFIX)
    ]


def remove(name: str, machine: JobMachine) -> bool:
    """Remove a block and its file of variables."""
    if without_block(read_crontab(), name) == read_crontab():
        return False
    edit_crontab(
        lambda crontab: without_block(crontab, name), lambda crontab: f"{BEGIN}{name} " not in crontab
    )
    _environment_file(name, machine).unlink(missing_ok=True)
    return True


def _command(job: Job, machine: JobMachine, *, guarded: bool) -> tuple[str, Path | None]:
    """The sixth field, and the file for the variables if they are too long for it.

    Raises UsageError if the command is too long for cron even so.
    """
    exports = "; ".join(_exports(machine))
    file = _environment_file(job.name, machine)
    command = _sixth_field(job, machine, exports, guarded=guarded)
    if len(command.encode()) <= LONGEST_COMMAND:
        return command, None
    command = _sixth_field(job, machine, f". {shlex.quote(str(file))}", guarded=guarded)
    if len(command.encode()) <= LONGEST_COMMAND:
        return command, file
    raise UsageError(
        f"the command has {len(command)} characters and cron takes {LONGEST_COMMAND}: "
        "use shorter paths, or --on systemd"
    )


def _sixth_field(job: Job, machine: JobMachine, environment: str, *, guarded: bool) -> str:
    log, lock = log_file(job, machine), machine.state / f"{job.name}.lock"
    run = job.command(str(machine.program), str(job.models), job.catalog)
    # Without util-linux (macOS) the catalog's own lock alone keeps two runs apart.
    flock = shutil.which("flock")
    locked = [flock, "--nonblock", str(lock)] if flock else []
    only_at_hour = f'[ "$(TZ={shlex.quote(job.zone or "")} date +%H:%M)" = {job.at:%H:%M} ] || exit 0; '
    folders = sorted({str(log.parent), str(lock.parent)})
    command = (
        f"{only_at_hour if guarded else ''}mkdir -p {shlex.join(folders)}; "
        f"{environment}; "
        f'e={shlex.quote(str(machine.env_file))}; set -a; [ ! -f "$e" ] || . "$e"; set +a; '
        f"exec {shlex.join([*locked, *run])} >>{shlex.quote(str(log))} 2>&1"
    )
    return crontab_command(one_line(command))


def _exports(machine: JobMachine) -> list[str]:
    """Shell commands that set the variables. (`env` would take a program with = in its path for one.)"""
    pairs = [one_line(f"{name}={value}") for name, value in machine.variables.items()]
    return [f"export {shlex.quote(pair)}" for pair in pairs]


def _environment_file(name: str, machine: JobMachine) -> Path:
    return machine.config / f"{name}.sh"


def _about_variables(file: Path, machine: JobMachine) -> list[str]:
    return comments(f"These variables are too long for cron's line, which reads {file}:", *_exports(machine))


def _about_zones(job: Job) -> list[str]:
    return comments(
        f"cron uses this machine's clock. A line fires at each local time that can be {job.when},",
        "and runs only if it is. On a night when the clocks there skip that hour, none runs.",
    )
