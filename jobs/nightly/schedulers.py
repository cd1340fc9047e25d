"""`survey run` every night, by a scheduler that people already have: no daemon of ours.

A scheduler's module prints its unit, installs it, lists what is installed, and removes it; installing
twice leaves one unit, and removing leaves everything else as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from jobs.nightly import cron as nightly_cron
from jobs.nightly import github as nightly_github
from jobs.nightly import kubernetes as nightly_kubernetes
from jobs.nightly import systemd as nightly_systemd
from jobs.nightly.files import one_at_a_time
from jobs.nightly.job import Job, JobMachine
from survey.errors import UsageError


class Scheduler(Protocol):
    """Raises UsageError where it cannot; what it returns is for people to read."""

    def unit(self, job: Job, machine: JobMachine) -> str:
        """The unit as its file or table has it."""

    def install(self, job: Job, machine: JobMachine) -> list[str]:
        """Put the unit in place; returns what was done and what is left to do."""

    def installed(self, machine: JobMachine) -> list[str]:
        """A line for each unit, its name first."""

    def remove(self, name: str, machine: JobMachine) -> bool:
        """Whether there was a unit of this name."""


SCHEDULERS: Mapping[str, Scheduler] = MappingProxyType(
    {
        "cron": nightly_cron,
        "systemd": nightly_systemd,
        "kubernetes": nightly_kubernetes,
        "github": nightly_github,
    }
)


# Options that mean something to some schedulers only.
_MEANT_FOR = {"log": ("cron", "systemd"), "image": ("kubernetes",), "package": ("github",)}


def unit(scheduler: str, job: Job, machine: JobMachine) -> str:
    """The unit's text; raises UsageError where the scheduler could not run the job."""
    for field, schedulers in _MEANT_FOR.items():
        if getattr(job, field) is not None and scheduler not in schedulers:
            raise UsageError(f"--{field} is for {' and '.join(schedulers)}, not for {scheduler}")
    return SCHEDULERS[scheduler].unit(job, machine)


def install(scheduler: str, job: Job, machine: JobMachine) -> list[str]:
    """Put the unit in place, in the stead of an earlier one; returns what people should know."""
    unit(scheduler, job, machine)
    with one_at_a_time(machine):
        return SCHEDULERS[scheduler].install(job, machine)


def installed(scheduler: str, machine: JobMachine) -> list[str]:
    """A line for each unit of ours, its name first."""
    return SCHEDULERS[scheduler].installed(machine)


def remove(scheduler: str, job: Job, machine: JobMachine) -> str:
    """Remove the unit of the job's list and catalog; returns its name."""
    name = nightly_github.workflow_name(job, machine) if scheduler == "github" else job.name
    with one_at_a_time(machine):
        removed = SCHEDULERS[scheduler].remove(name, machine)
    if not removed:
        others = installed(scheduler, machine)
        there = "".join(f"\n  {line}" for line in others) or " no unit of ours at all"
        raise UsageError(f"no unit for {job.models} into {job.catalog}; there is{there}")
    return name
