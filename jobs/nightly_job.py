"""One nightly run, whoever starts it: a `survey run` with absolute paths, its hour and its environment."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import shutil
import sysconfig
import zoneinfo
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, time, tzinfo
from pathlib import Path
from urllib.parse import urlsplit

from jobs.model_list import read_models
from survey import version
from survey.errors import UsageError

PREFIX = "survey-nightly-"

# What a run reads from its environment and what may stand in a unit that others can read. Secrets
# (HF_TOKEN, AWS_SECRET_ACCESS_KEY, …) are not among them: each scheduler says where they belong.
EVERYWHERE = (
    *("HF_ENDPOINT", "RAY_ADDRESS", "RAY_AUTH_MODE"),
    *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"),
)
ON_THIS_MACHINE = (
    *EVERYWHERE,
    *("HF_HOME", "HF_HUB_CACHE", "HF_TOKEN_PATH", "RAY_AUTH_TOKEN_PATH", "RAY_TMPDIR", "SSL_CERT_FILE"),
    *("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy"),
    *("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "GOOGLE_APPLICATION_CREDENTIALS"),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where units are made and installed.

    zone: the clock that cron goes by. config, state: our own folders of the user. units: systemd's
    folder for root or for the user. folder: where the command was given.
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
        """Where secrets belong that a unit must not show."""
        return self.config / "nightly.env"

    @property
    def secret_names(self) -> str:
        """What belongs there: the token, and variables that hold a password."""
        with_password = [name for name in ON_THIS_MACHINE if _has_password(self.environment.get(name, ""))]
        return ", ".join(["HF_TOKEN=...", *(f"{name}=... (it holds a password)" for name in with_password)])


@dataclass(frozen=True, slots=True)
class Job:
    """What runs every night. zone: None is the scheduler's own. image, package: who brings `survey`
    along where this machine's program is not at hand (kubernetes, github)."""

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
        """Tells units apart: one for each list and catalog. Good as a Kubernetes name, too."""
        digest = hashlib.sha256(f"{self.models}\n{self.catalog}".encode()).hexdigest()[:8]
        stem = re.sub(r"[^a-z0-9]+", "-", self.models.stem.lower()).strip("-")[:20].strip("-")
        return f"{PREFIX}{stem or 'list'}-{digest}"

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

    def requirement(self) -> str:
        """What pip installs where there is no environment of ours."""
        extra = "[s3]" if self.catalog.startswith("s3://") else ""
        return self.package or f"centroid-survey{extra}=={version()}"


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
    """A job whose list can be read and whose hour exists; raises UsageError."""
    for text in (str(models), catalog, str(log or ""), image or "", package or "", *options):
        _refuse_unwritable(text, repr(text))
    if not models.is_file():
        raise UsageError(f"no such list of models: {models}")
    read_models([str(models)], Path.cwd())
    return Job(
        _absolute(models),
        _absolute_catalog(catalog),
        tuple(options),
        _hour(at),
        _zone(zone),
        _absolute(log) if log else None,
        image,
        package,
    )


def key_job(models: Path, catalog: str) -> Job:
    """As much of a job as names its unit; the list itself may be gone by now."""
    return Job(_absolute(models), _absolute_catalog(catalog), (), time(), None)


def this_machine(environment: Mapping[str, str]) -> Machine:
    """Raises UsageError where the `survey` command cannot be found."""
    home, root = Path.home(), os.geteuid() == 0
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    state = Path(environment.get("XDG_STATE_HOME") or home / ".local/state")
    return Machine(
        environment,
        _program(environment),
        _system_zone(),
        config / "centroid-survey",
        state / "centroid-survey",
        Path("/etc/systemd/system") if root else config / "systemd/user",
        root,
        Path.cwd(),
    )


def carried(environment: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """The variables that the unit may show; one that holds a password (a proxy's) is left out."""
    found = {name: environment[name] for name in names if environment.get(name)}
    for name, value in found.items():
        _refuse_unwritable(value, name)
    return {name: value for name, value in found.items() if not _has_password(value)}


def machine_environment(machine: Machine) -> dict[str, str]:
    """The environment of a run on this machine; schedulers themselves give next to none."""
    path = f"{machine.program.parent}:/usr/local/bin:/usr/bin:/bin"
    return {"PATH": path, **carried(machine.environment, ON_THIS_MACHINE)}


def log_file(job: Job, machine: Machine) -> Path:
    return job.log or machine.state / f"{job.name}.log"


def prepare_folders(job: Job, machine: Machine) -> list[str]:
    """Make what the unit needs: the log's folder, and a file for secrets that only its owner reads."""
    log_file(job, machine).parent.mkdir(parents=True, exist_ok=True)
    machine.state.mkdir(parents=True, exist_ok=True)
    machine.config.mkdir(parents=True, exist_ok=True)
    file = machine.env_file
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text("# Secrets for `survey nightly`, one NAME=value a line.\n# HF_TOKEN=\n")
    if file.stat().st_mode & 0o077:
        raise UsageError(f"{file} holds secrets and others may read it: chmod 600 {file}")
    return [f"secrets such as HF_TOKEN=… belong into {file}", f"the log is {log_file(job, machine)}"]


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path.expanduser()))  # links stay: who moves one means the job, too


def _absolute_catalog(catalog: str) -> str:
    return catalog if "://" in catalog else str(_absolute(Path(catalog)))


def _program(environment: Mapping[str, str]) -> Path:
    beside = Path(sysconfig.get_path("scripts")) / "survey"
    found = beside if beside.is_file() else shutil.which("survey", path=environment.get("PATH"))
    if found is None:
        raise UsageError("the `survey` command is not installed in this environment: pip install it first")
    return _absolute(Path(found))


def _system_zone() -> tzinfo:
    """The machine's zone, whatever TZ says to this process: cron's daemon does not see our TZ."""
    try:
        with open("/etc/localtime", "rb") as file:
            return zoneinfo.ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return UTC


def _hour(text: str) -> time:
    found = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", text)
    if found is None:
        raise UsageError(f"--at {text}: write a time of day such as 02:00")
    return time(int(found[1]), int(found[2]))


def _zone(name: str | None) -> str | None:
    if name is None:
        return None
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = zoneinfo.available_timezones()
        near = difflib.get_close_matches(name, known, n=3)
        advice = f"; did you mean {', '.join(near)}?" if near else "; write one such as Europe/Berlin"
        missing = "" if known else " (this machine has no time zones: pip install tzdata)"
        raise UsageError(f"--timezone {name}: no such time zone{advice}{missing}") from None
    return name


def _refuse_unwritable(text: str, what: str) -> None:
    """No format of ours can hold a line break; a backslash at the end joins lines in systemd's."""
    if re.search(r"[\x00-\x1f\x7f\x85\u2028\u2029]|\\$", text):
        raise UsageError(f"{what}: control characters or a last backslash cannot be written into a unit")


def _has_password(value: str) -> bool:
    try:
        return "@" in urlsplit(value).netloc
    except ValueError:
        return "@" in value
