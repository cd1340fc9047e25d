"""`survey nightly --on cron`: its lines, run as cron runs them, its crontab, and cron's own daemon."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from support.little_models import LITTLE, little
from support.system_tools import needs

from catalog.read.reader import Reader
from catalog.store.open import open_for_reading
from jobs.demo.checkpoints import write
from jobs.demo.hub.local_hub import LocalHub
from jobs.nightly import schedulers as nightly
from jobs.nightly.job import Job
from jobs.nightly.machine import JobMachine, this_machine
from jobs.nightly.schedulers import cron
from survey.errors import UsageError


def commands(unit: str) -> list[str]:
    """The shell commands of a crontab's lines, as cron hands them on."""
    lines = [line for line in unit.splitlines() if not line.startswith("#")]
    assert all("%" not in line.replace("\\%", "") for line in lines)
    return [line.split(None, 5)[5].replace("\\%", "%") for line in lines]


def run_bare(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["/bin/sh", "-c", command], env={"PATH": "/usr/bin:/bin", "HOME": "/"}, capture_output=True, text=True)  # fmt: skip


def test_crons_line_runs_in_a_bare_environment(machine: JobMachine, job: Callable[..., Job]) -> None:
    made = job()
    (command,) = commands(nightly.unit("cron", made, machine))
    machine.config.mkdir()
    machine.env_file.write_text("HF_TOKEN=hf_mine\n")
    for nights in (1, 2):
        ran = run_bare(command)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
        arguments = ["run", str(made.models), "--catalog", made.catalog, "--matrix", "both"]
        line = f"{arguments} https://hub.example/100% hf_mine\n"
        assert (machine.state / f"{made.name}.log").read_text() == line * nights


def test_crons_line_never_overlaps_itself(machine: JobMachine, job: Callable[..., Job]) -> None:
    needs("flock")
    made = job()
    (command,) = commands(nightly.unit("cron", made, machine))
    machine.state.mkdir()
    with subprocess.Popen(["flock", machine.state / f"{made.name}.lock", "sleep", "60"]) as holder:
        try:
            deadline = time.monotonic() + 20
            while run_bare(command).returncode == 0 and time.monotonic() < deadline:
                time.sleep(0.05)  # until flock has the lock
            before = (machine.state / f"{made.name}.log").read_text()
            assert run_bare(command).returncode == 1
            assert (machine.state / f"{made.name}.log").read_text() == before
        finally:
            subprocess.run(["flock", "--version"], check=True, capture_output=True)
            holder.kill()


ZONES = [
    ("the machine's own", None, "Europe/Berlin", [(2, 5)]),
    ("the same", "Europe/Berlin", "Europe/Berlin", [(2, 5)]),
    ("no summer time anywhere", "Asia/Tokyo", "UTC", [(17, 5)]),
    ("summer time there", "Europe/Berlin", "UTC", [(0, 5), (1, 5)]),
    ("summer time here", "UTC", "America/New_York", [(21, 5), (22, 5)]),
    ("a quarter of an hour", "Asia/Kathmandu", "UTC", [(20, 20)]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "here", "times"), [case[1:] for case in ZONES], ids=[case[0] for case in ZONES]
)
def test_cron_fires_whenever_it_can_be_that_time_there(
    machine: JobMachine, job: Callable[..., Job], zone: str | None, here: str, times: list[tuple[int, int]]
) -> None:
    assert cron.local_times(job(zone=zone), replace(machine, zone=ZoneInfo(here))) == times


@pytest.mark.parametrize(("minutes", "runs"), [(0, True), (60, False), (-60, False)])
def test_only_the_line_whose_hour_has_come_there_runs(
    machine: JobMachine, job: Callable[..., Job], minutes: int, runs: bool
) -> None:
    for _ in range(2):  # the minute may end between looking at the clock and running
        at = datetime.now(ZoneInfo("Europe/Berlin")) + timedelta(minutes=minutes)
        made = job(zone="Europe/Berlin", at=f"{at:%H:%M}")
        command, _ = commands(nightly.unit("cron", made, machine))
        assert run_bare(command).returncode == 0
        if (machine.state / f"{made.name}.log").exists() == runs:
            return
    pytest.fail("the guard went by another clock")


CRONTAB = """\
if [ "$1" = - ]; then cat >"$at"; elif [ -s "$at" ]; then cat "$at"; else echo "no crontab for me" >&2; exit 1; fi"""
THEIRS = "# my own\nMAILTO=me\n5 4 * * sun     echo \\% caf\u00e9"


@pytest.mark.parametrize("theirs", ["", THEIRS, THEIRS + "\n"], ids=["none", "no last newline", "some"])
def test_a_crontab_keeps_what_else_it_holds(
    machine: JobMachine, job: Callable[..., Job], commands_seen: Callable[[str, str], Path], theirs: str
) -> None:
    kept = commands_seen("crontab", CRONTAB).with_name("crontab.kept")
    kept.write_text(theirs)
    made, other = job(), job(catalog="s3://bucket/x")
    whole = theirs if theirs.endswith("\n") or not theirs else theirs + "\n"
    assert nightly.installed("cron", machine) == []
    nightly.install("cron", made, machine)
    nightly.install("cron", other, machine)
    nightly.install("cron", replace(made, at=other.at.replace(hour=4)), machine)
    assert kept.read_text().startswith(whole)
    assert kept.read_text().count("# BEGIN survey-nightly-") == 2
    listed = nightly.installed("cron", machine)
    assert [line.split()[0] for line in listed] == [other.name, made.name]
    assert "04:05 local time" in listed[1]
    assert nightly.remove("cron", made, machine) == made.name
    assert nightly.remove("cron", other, machine) == other.name
    assert kept.read_text() == whole
    with pytest.raises(UsageError, match="there is no unit of ours at all"):
        nightly.remove("cron", made, machine)


def test_a_block_that_lost_its_end_is_not_guessed_at(
    machine: JobMachine, job: Callable[..., Job], commands_seen: Callable[[str, str], Path]
) -> None:
    kept = commands_seen("crontab", CRONTAB).with_name("crontab.kept")
    broken = f"# BEGIN {job().name}\n* * * * * x\n1 1 * * * mine\n"
    kept.write_text(broken)
    with pytest.raises(UsageError, match="mend it first"):
        nightly.install("cron", job(), machine)
    assert kept.read_text() == broken


def test_secrets_get_a_file_of_their_own(
    machine: JobMachine, job: Callable[..., Job], commands_seen: Callable[[str, str], Path]
) -> None:
    commands_seen("crontab", CRONTAB)
    lines = nightly.install("cron", job(), machine)
    assert any(str(machine.env_file) in line for line in lines)
    assert machine.env_file.stat().st_mode & 0o777 == 0o600
    machine.env_file.write_text("HF_TOKEN=mine\n")
    nightly.install("cron", job(), machine)
    assert machine.env_file.read_text() == "HF_TOKEN=mine\n"
    machine.env_file.chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        nightly.install("cron", job(), machine)


CRON_DAEMON = """
set -e
mount --bind "$1/crontabs" /var/spool/cron/crontabs
mount --bind "$1/cron.d" /etc/cron.d
mount --bind /dev/null /etc/crontab
mount -t tmpfs tmpfs /run
shift
"$@"
exec cron -f
"""


def test_cron_fires_and_a_changed_revision_lands_in_the_catalog(
    hub: LocalHub, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real daemon, with a spool of its own: mounts that nobody else sees hide the machine's."""
    needs("cron", "crontab", "unshare", "flock")
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True).returncode:
        pytest.skip("needs a mount namespace of its own: run as root")
    hub.users = {"member": frozenset({"org/model"})}
    first = serve(hub, short_path / "first", LITTLE)
    (short_path / "models.txt").write_text("org/model\n")
    catalog, config = short_path / "catalog", short_path / "config/centroid-survey"
    config.mkdir(parents=True)
    (config / "nightly.env").touch(mode=0o600)
    (config / "nightly.env").write_text("HF_TOKEN=member\n")
    for name, value in {"XDG_CONFIG_HOME": short_path / "config", "XDG_STATE_HOME": short_path / "state", "HF_ENDPOINT": hub.endpoint}.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    program = this_machine(os.environ).program
    models = ["models.txt", "--catalog", str(catalog)]
    subprocess.run([program, "run", *models, "--executor", "serial"], cwd=short_path, check=True, env={**os.environ, "HF_TOKEN": "member"}, stdout=subprocess.DEVNULL)  # fmt: skip
    second = serve(hub, short_path / "second", replace(LITTLE, holes=(7,)))
    assert shas(catalog) == {first: 3}

    spool = short_path / "crontabs"
    spool.mkdir()
    shutil.chown(spool, group="crontab")
    spool.chmod(0o1730)
    (short_path / "cron.d").mkdir()

    def logs() -> str:
        return "".join(log.read_text() for log in (short_path / "state/centroid-survey").glob("*.log"))

    at = datetime.now(ZoneInfo("Europe/Berlin")) + timedelta(seconds=75)  # at least 15 s from now
    install = [program, "nightly", *models, "--at", f"{at:%H:%M}", "--timezone", "Europe/Berlin", "--on", "cron", "--install", "--", "--executor", "serial"]  # fmt: skip
    isolated = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-c", CRON_DAEMON, "sh"]  # fmt: skip
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    deadline = time.monotonic() + 150
    with subprocess.Popen([*isolated, short_path, *install], cwd=short_path, env=environment) as daemon:
        try:
            while "1 measured" not in logs() and time.monotonic() < deadline and daemon.poll() is None:
                time.sleep(0.2)
        finally:
            daemon.kill()
    assert "1 measured" in logs()
    assert shas(catalog) == {first: 3, second: 1}, logs()
    assert "member" not in logs()


def serve(hub: LocalHub, folder: Path, cloud: object) -> str:
    write(little("org/model", cloud=cloud), folder)  # type: ignore[arg-type]
    return hub.add_repo("org/model", folder, gated="manual")


def shas(catalog: Path) -> dict[str, int]:
    """Black holes by commit."""
    with Reader(open_for_reading(str(catalog))) as reader:
        return dict(reader.ask("SELECT sha, black_hole_count FROM measured_rows").rows)  # type: ignore[arg-type]
