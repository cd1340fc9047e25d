"""A nightly run for any scheduler: a `survey run` with absolute paths, and its hour."""

from __future__ import annotations

import difflib
import hashlib
import re
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time
from pathlib import Path

from jobs.nightly.environment import refuse_secret
from jobs.nightly.machine import absolute_path
from jobs.nightly.quoting import one_line
from jobs.planning.model_list import read_models
from survey.errors import UsageError

UNIT_PREFIX = "survey-nightly-"


@dataclass(frozen=True, slots=True)
class Job:
    """A run that is repeated every night.

    zone: None is the scheduler's own. image, package: the source of the program on other machines
    (kubernetes, github).
    """

    models: Path
    catalog: str
    options: tuple[str, ...]
    at: time
    zone: str | None
    log: Path | None = None
    image: str | None = None
    package: str | None = None

    @property
    def name(self) -> str:
        """The unit's name, one for each list and catalog; Kubernetes accepts it, too."""
        key = f"{self.models}\n{self.catalog}".encode("utf-8", "surrogatepass")
        digest = hashlib.sha256(key).hexdigest()[:8]
        stem = re.sub(r"[^a-z0-9]+", "-", self.models.stem.lower()).strip("-")[:20].strip("-")
        return f"{UNIT_PREFIX}{stem or 'list'}-{digest}"

    @property
    def is_local(self) -> bool:
        return "://" not in self.catalog

    @property
    def when(self) -> str:
        return f"{self.at:%H:%M} {self.zone or 'local time'}"

    @property
    def title(self) -> str:
        return f"Centroid Survey, {self.when}: {self.models} into {self.catalog}"

    def command(self, program: str, models: str, catalog: str) -> list[str]:
        return [program, "run", models, "--catalog", catalog, *self.options]


def make_job(
    models: Path,
    catalog: str,
    at: str,
    zone: str | None,
    options: Sequence[str],
    *,
    log: Path | None = None,
    image: str | None = None,
    package: str | None = None,
) -> Job:
    """A job. Raises UsageError if its list is unreadable, its hour does not exist, or no unit can hold it."""
    if not models.is_file():
        raise UsageError(f"no such list of models: {models}; a unit reads it anew every night")
    read_models([str(models)], Path.cwd())
    job = Job(
        absolute_path(models),
        _absolute_catalog(catalog),
        tuple(options),
        _hour(at),
        _zone(zone),
        absolute_path(log) if log else None,
        image,
        package,
    )
    _check_texts(job)
    return job


def key_job(models: Path, catalog: str) -> Job:
    """The part of a job that names its unit; the list itself may no longer exist."""
    job = Job(absolute_path(models), _absolute_catalog(catalog), (), time(), None)
    _check_texts(job)
    return job


def _check_texts(job: Job) -> None:
    """Raise UsageError for a text that no unit can or may hold; it names the text's option."""
    given = {"MODELS": str(job.models), "--catalog": job.catalog, "--log": str(job.log or "")}
    given |= {"--image": job.image or "", "--package": job.package or ""}
    for what, text in (*given.items(), *(("an option of run", option) for option in job.options)):
        refuse_secret(text, what)
        one_line(text, what)


def _absolute_catalog(catalog: str) -> str:
    return catalog if "://" in catalog else str(absolute_path(Path(catalog)))


def _hour(text: str) -> time:
    match = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", text)
    if match is None:
        raise UsageError(f"--at {text}: write a time of day such as 02:00")
    return time(int(match[1]), int(match[2]))


def _zone(name: str | None) -> str | None:
    if name is None:
        return None
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = zoneinfo.available_timezones()
        similar = difflib.get_close_matches(name, known, n=3)
        advice = f"; did you mean {', '.join(similar)}?" if similar else "; write one such as Europe/Berlin"
        missing = "" if known else " (this machine has no time zones: pip install tzdata)"
        raise UsageError(f"--timezone {name}: no such time zone{advice}{missing}") from None
    return name
