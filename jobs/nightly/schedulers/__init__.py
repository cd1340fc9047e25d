"""Install `survey run` in a scheduler of the system, for every night; this program has no daemon.

To support another scheduler: a module here with the functions of Scheduler, its line in SCHEDULERS, and its
name in the choices of `--on` in `survey/cli/nightly.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from jobs.nightly.job import Job
from jobs.nightly.machine import JobMachine
from jobs.nightly.schedulers import cron, github, kubernetes, systemd
from jobs.nightly.unit_files import one_at_a_time
from survey.errors import UsageError


class Scheduler(Protocol):
    """The functions that a scheduler's module has.

    Installing a job twice leaves one unit; removing it leaves everything else as it was. All texts that they
    return are for people to read. Each raises UsageError if the scheduler cannot do it.
    """

    def unit(self, job: Job, machine: JobMachine) -> str:
        """The text of the job's unit, as the scheduler's file or table holds it."""

    def install(self, job: Job, machine: JobMachine) -> list[str]:
        """Install the unit, or replace the one of the same name; returns notes on what to do next."""

    def installed(self, machine: JobMachine) -> list[str]:
        """A line for each unit that `survey nightly` made, which begins with its name."""

    def remove(self, name: str, machine: JobMachine) -> bool:
        """Remove the unit of this name; False if there is none."""


SCHEDULERS: Mapping[str, Scheduler] = MappingProxyType(
    {
        "cron": cron,
        "systemd": systemd,
        "kubernetes": kubernetes,
        "github": github,
    }
)


# Options of some schedulers alone.
_OPTIONS_OF = {"log": ("cron", "systemd"), "image": ("kubernetes",), "package": ("github",)}


def unit(scheduler: str, job: Job, machine: JobMachine) -> str:
    """The text of a job's unit. Raises UsageError if the scheduler could not run the job."""
    for field, schedulers in _OPTIONS_OF.items():
        if getattr(job, field) is not None and scheduler not in schedulers:
            raise UsageError(f"--{field} is for {' and '.join(schedulers)}, not for {scheduler}")
    return SCHEDULERS[scheduler].unit(job, machine)


def install(scheduler: str, job: Job, machine: JobMachine) -> list[str]:
    """Install a job's unit, or replace the earlier one; returns notes on what to do next."""
    unit(scheduler, job, machine)
    with one_at_a_time(machine):
        return SCHEDULERS[scheduler].install(job, machine)


def installed(scheduler: str, machine: JobMachine) -> list[str]:
    """A line for each unit that `survey nightly` made, which begins with its name."""
    return SCHEDULERS[scheduler].installed(machine)


def remove(scheduler: str, job: Job, machine: JobMachine) -> str:
    """Remove the unit of the job's list and catalog; returns its name."""
    name = github.workflow_name(job, machine) if scheduler == "github" else job.name
    with one_at_a_time(machine):
        removed = SCHEDULERS[scheduler].remove(name, machine)
    if not removed:
        others = installed(scheduler, machine)
        listed = "".join(f"\n  {line}" for line in others) or " no unit of ours at all"
        raise UsageError(f"no unit for {job.models} into {job.catalog}; there is{listed}")
    return name
