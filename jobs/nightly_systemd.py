"""A nightly run as a oneshot service of systemd and its timer."""

from __future__ import annotations

import shlex
import subprocess

from jobs.nightly_job import PREFIX, Job, Machine, log_file, machine_environment, prepare_folders
from survey.errors import UsageError


def unit(job: Job, machine: Machine) -> str:
    """Both files, each below a comment with its path."""
    return "\n".join(f"# {machine.units / name}\n{text}" for name, text in files(job, machine).items())


def files(job: Job, machine: Machine) -> dict[str, str]:
    """The texts of the service and the timer by file name."""
    program, log = str(machine.program), _percent(str(log_file(job, machine)))
    if set(program) & set("'\"\\"):
        raise UsageError(f"{program}: systemd takes no program with quotes or backslashes in its path")
    environment = [f"{name}={value}" for name, value in machine_environment(machine).items()]
    arguments = job.command("", str(job.models), job.catalog)[1:]
    # A service that is still running is not started again: a oneshot never overlaps itself.
    network = "Wants=network-online.target\nAfter=network-online.target\n" if machine.root else ""
    service = f"""\
[Unit]
Description={_percent(job.title)}
{network}
[Service]
Type=oneshot
{"".join(f"Environment={_quoted(item)}{chr(10)}" for item in environment)}\
# Secrets belong into this file, mode 600: {machine.secret_names}
EnvironmentFile=-{_percent(str(machine.env_file))}
ExecStart={_quoted(program)} {" ".join(_quoted(item).replace("$", "$$") for item in arguments)}
# The log's folder must exist.
StandardOutput=append:{log}
StandardError=append:{log}
"""
    timer = f"""\
[Unit]
Description={_percent(job.title)}

[Timer]
OnCalendar={calendar(job)}
# A night that was missed is made up for as soon as the machine runs.
Persistent=true

[Install]
WantedBy=timers.target
"""
    return {f"{job.name}.service": service, f"{job.name}.timer": timer}


def calendar(job: Job) -> str:
    return f"*-*-* {job.at:%H:%M}:00" + (f" {job.zone}" if job.zone else "")


def install(job: Job, machine: Machine) -> list[str]:
    """Write the files and start the timer; raises UsageError where systemd does not answer."""
    done = prepare_folders(job, machine)
    machine.units.mkdir(parents=True, exist_ok=True)
    for name, text in files(job, machine).items():
        (machine.units / name).write_text(text, encoding="utf-8")
        done.append(f"wrote {machine.units / name}")
    calls = [("daemon-reload",), ("enable", "--now", f"{job.name}.timer")]
    for number, arguments in enumerate(calls):
        if problem := _call(machine, *arguments):
            left = " && ".join(shlex.join(_systemctl(machine, *call)) for call in calls[number:])
            raise UsageError(f"the units lie in {machine.units}, but {problem}; once systemd runs: {left}")
    if not machine.root:
        done.append("to have it run while you are logged out: loginctl enable-linger")
    return done


def installed(machine: Machine) -> list[str]:
    found = []
    for path in sorted(machine.units.glob(f"{PREFIX}*.timer")):
        lines = path.read_text(encoding="utf-8").splitlines()
        (title,) = [line for line in lines if line.startswith("Description=")][:1] or [""]
        found.append(f"{path.stem}  {title.removeprefix('Description=').replace('%%', '%')}")
    return found


def remove(name: str, machine: Machine) -> bool:
    paths = [machine.units / f"{name}{suffix}" for suffix in (".timer", ".service")]
    there = [path for path in paths if path.exists()]
    if there:
        _call(machine, "disable", "--now", f"{name}.timer")  # where systemd is down, nothing is enabled
    for path in there:
        path.unlink()
    if there:
        _call(machine, "daemon-reload")
    return bool(there)


def _systemctl(machine: Machine, *arguments: str) -> list[str]:
    return ["systemctl", *(() if machine.root else ("--user",)), *arguments]


def _call(machine: Machine, *arguments: str) -> str | None:
    """What went wrong, if anything did."""
    command = _systemctl(machine, *arguments)
    try:
        ran = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        return "there is no systemctl here"
    return f"`{shlex.join(command)}` said: {ran.stderr.strip()}" if ran.returncode else None


def _percent(text: str) -> str:
    """% begins a specifier everywhere in a unit file."""
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    escaped = _percent(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
