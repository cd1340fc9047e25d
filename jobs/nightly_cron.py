"""A nightly run as a block of the user's crontab."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from jobs.nightly_job import PREFIX, Job, Machine, log_file, machine_environment, prepare_folders
from survey.errors import UsageError

BEGIN, END = "# BEGIN ", "# END "
# Debian's cron refuses a crontab with a longer command (MAX_COMMAND is 1000, its end included).
LONGEST_COMMAND = 998


def unit(job: Job, machine: Machine) -> str:
    """The block; everything that the command needs is in its line.

    Variables set in a crontab would hold for all lines below, which are the user's own.
    """
    times = local_times(job, machine)
    command = _command(job, machine, guarded=len(times) > 1)
    if len(command) > LONGEST_COMMAND:
        raise UsageError(
            f"the command has {len(command)} characters and cron takes {LONGEST_COMMAND}: "
            "use shorter paths, or --on systemd"
        )
    secrets = machine.secret_names
    lines = [
        f"{BEGIN}{job.name} (by `survey nightly`)",
        f"# {job.title}",
        f"# Secrets belong into {machine.env_file}, mode 600: {secrets}",
        "# cron cannot catch up on a night when this machine was off; the next one measures what is missing.",
        *(_about_zones(job) if job.zone else ()),
        *(f"{minute} {hour} * * * {command}" for hour, minute in times),
        f"{END}{job.name}",
    ]
    return "\n".join(lines) + "\n"


def local_times(job: Job, machine: Machine) -> list[tuple[int, int]]:
    """Every hour and minute that this machine's clock can show when it is the job's hour there."""
    if job.zone is None:
        return [(job.at.hour, job.at.minute)]
    today, there = datetime.now(UTC).date(), ZoneInfo(job.zone)
    times = set()
    for days in range(366):
        moment = datetime.combine(today + timedelta(days=days), job.at, there).astimezone(UTC)
        if moment.astimezone(there).time() == job.at:  # clocks that jump over it do not show it
            here = moment.astimezone(machine.zone)
            times.add((here.hour, here.minute))
    return sorted(times)


def install(job: Job, machine: Machine) -> list[str]:
    """Put the block at the end of the user's crontab, in place of an earlier one of this name."""
    block = unit(job, machine)
    others = _without(_crontab(), job.name)
    done = prepare_folders(job, machine)
    _write_crontab(f"{others}{block}")
    return ["your crontab runs it, as long as the cron daemon runs", *done]


def installed(machine: Machine) -> list[str]:
    lines = _crontab().splitlines()
    return [
        f"{line.removeprefix(BEGIN).split()[0]}  {lines[number + 1].removeprefix('# ')}"
        for number, line in enumerate(lines[:-1])
        if line.startswith(BEGIN + PREFIX)
    ]


def remove(name: str, machine: Machine) -> bool:
    before = _crontab()
    after = _without(before, name)
    if after != before:
        _write_crontab(after)
    return after != before


def _command(job: Job, machine: Machine, *, guarded: bool) -> str:
    log, lock, env_file = log_file(job, machine), machine.state / f"{job.name}.lock", machine.env_file
    run = job.command(str(machine.program), str(job.models), job.catalog)
    # Without util-linux (macOS) the catalog's own lock alone keeps two runs apart.
    flock = shutil.which("flock")
    held = [flock, "--nonblock", str(lock)] if flock else []
    environment = [f"{name}={value}" for name, value in machine_environment(machine).items()]
    there = f'[ "$(TZ={job.zone} date +%H:%M)" = {job.at:%H:%M} ] || exit 0; ' if guarded else ""
    command = (
        f"{there}mkdir -p {shlex.join(sorted({str(log.parent), str(lock.parent)}))}; "
        f'e={shlex.quote(str(env_file))}; set -a; [ ! -f "$e" ] || . "$e"; set +a; '
        f"exec {shlex.join(['env', *environment, *held, *run])} >>{shlex.quote(str(log))} 2>&1"
    )
    return command.replace("%", "\\%")  # a bare % ends the command and begins its input


def _about_zones(job: Job) -> list[str]:
    return [
        f"# cron goes by this machine's clock: it fires whenever that can mean {job.when}, and only the line",
        "# whose hour has come there runs. On the night when clocks there jump over that hour none does.",
    ]


def _crontab() -> str:
    ran = _call("-l")
    if ran.returncode and "no crontab" not in ran.stderr:
        raise UsageError(f"crontab -l: {ran.stderr.strip()}")
    return "" if ran.returncode else ran.stdout


def _write_crontab(text: str) -> None:
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


def _without(crontab: str, name: str) -> str:
    """The crontab less one block; whatever else stands there keeps its bytes."""
    begin = rf"^{re.escape(BEGIN + name)}(?: .*)?\n"
    if crontab and not crontab.endswith("\n"):
        crontab += "\n"
    found = re.search(
        rf"{begin}(?:(?!{re.escape(BEGIN)}).*\n)*?{re.escape(END + name)}\n", crontab, re.MULTILINE
    )
    if found is None and re.search(begin, crontab, re.MULTILINE):
        raise UsageError(f"your crontab holds `{BEGIN}{name}` and no `{END}{name}` after it: mend it first")
    return crontab if found is None else crontab[: found.start()] + crontab[found.end() :]
