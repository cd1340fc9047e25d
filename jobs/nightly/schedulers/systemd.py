"""A nightly run as a oneshot service of systemd and its timer."""

from __future__ import annotations

import shlex
import subprocess

from jobs.nightly.environment import secret_names
from jobs.nightly.job import UNIT_PREFIX, Job
from jobs.nightly.machine import JobMachine
from jobs.nightly.quoting import (
    comments,
    lines,
    systemd_command,
    systemd_pattern,
    systemd_value,
    systemd_word,
)
from jobs.nightly.unit_files import log_file, prepare_folders, write_unit
from survey.errors import UsageError


def unit(job: Job, machine: JobMachine) -> str:
    """The texts of both files, each below a comment with its path."""
    texts = files(job, machine).items()
    return "\n".join(lines(comments(str(machine.units / name))) + text for name, text in texts)


def files(job: Job, machine: JobMachine) -> dict[str, str]:
    """The texts of the service and the timer, by file name."""
    service, timer = lines(_service(job, machine)), lines(_timer(job))
    return {f"{job.name}.service": service, f"{job.name}.timer": timer}


def _service(job: Job, machine: JobMachine) -> list[str]:
    log = systemd_value(str(log_file(job, machine)))
    _, *arguments = job.command("", str(job.models), job.catalog)
    # systemd does not start a service that is still running: a oneshot never overlaps itself.
    network = ["Wants=network-online.target", "After=network-online.target"] if machine.root else []
    return [
        "[Unit]",
        f"Description={systemd_value(job.title)}",
        *network,
        "",
        "[Service]",
        "Type=oneshot",
        *(f"Environment={systemd_word(f'{name}={value}')}" for name, value in machine.variables.items()),
        *comments(
            f"Write secrets into this file, mode 600, one NAME=value a line: "
            f"{', '.join(secret_names(machine.environment))}. Its variables override those above."
        ),
        f"EnvironmentFile=-{systemd_pattern(str(machine.env_file))}",
        f"ExecStart={systemd_command(str(machine.program), arguments)}",
        *comments("The log's folder must exist."),
        f"StandardOutput=append:{log}",
        f"StandardError=append:{log}",
    ]


def _timer(job: Job) -> list[str]:
    return [
        "[Unit]",
        f"Description={systemd_value(job.title)}",
        "",
        "[Timer]",
        f"OnCalendar={calendar(job)}",
        *comments("A missed run starts as soon as the machine is up."),
        "Persistent=true",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]


def calendar(job: Job) -> str:
    return f"*-*-* {job.at:%H:%M}:00" + (f" {job.zone}" if job.zone else "")


def install(job: Job, machine: JobMachine) -> list[str]:
    """Write the files and start the timer. Raises UsageError if systemd does not answer."""
    notes = prepare_folders(job, machine)
    for name, text in files(job, machine).items():
        write_unit(machine.units / name, text)
        notes.append(f"wrote {machine.units / name}")
    calls = [("daemon-reload",), ("enable", "--now", f"{job.name}.timer")]
    for number, arguments in enumerate(calls):
        if problem := _call(machine, *arguments):
            left = " && ".join(shlex.join(_systemctl(machine, *call)) for call in calls[number:])
            raise UsageError(f"the units lie in {machine.units}, but {problem}; once systemd runs: {left}")
    if not machine.root:
        notes.append("so that it runs while you are logged out: loginctl enable-linger")
    return notes


def installed(machine: JobMachine) -> list[str]:
    """The name and description of each timer that `survey nightly` made."""
    timers = []
    for path in sorted(machine.units.glob(f"{UNIT_PREFIX}*.timer")):
        lines = path.read_text(encoding="utf-8").splitlines()
        (title,) = [line for line in lines if line.startswith("Description=")][:1] or [""]
        timers.append(f"{path.stem}  {title.removeprefix('Description=').replace('%%', '%')}")
    return timers


def remove(name: str, machine: JobMachine) -> bool:
    """Stop a timer and delete its two files."""
    paths = [machine.units / f"{name}{suffix}" for suffix in (".timer", ".service")]
    existing = [path for path in paths if path.exists()]
    if existing:
        _call(machine, "disable", "--now", f"{name}.timer")  # if systemd is down, nothing is enabled
    for path in existing:
        path.unlink()
    if existing:
        _call(machine, "daemon-reload")
    return bool(existing)


def _systemctl(machine: JobMachine, *arguments: str) -> list[str]:
    return ["systemctl", *(() if machine.root else ("--user",)), *arguments]


def _call(machine: JobMachine, *arguments: str) -> str | None:
    """Call systemctl; returns the problem, if there is one."""
    command = _systemctl(machine, *arguments)
    try:
        ran = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        return "there is no systemctl here"
    return f"`{shlex.join(command)}` said: {ran.stderr.strip()}" if ran.returncode else None
