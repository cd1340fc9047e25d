"""`survey nightly --on systemd`: units that systemd itself reads, installed and removed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.system_tools import needs

from jobs.nightly import schedulers as nightly
from jobs.nightly.job import Job
from jobs.nightly.machine import JobMachine
from jobs.nightly.schedulers import systemd
from survey.errors import UsageError


@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_systemd_itself_finds_nothing_wrong(
    machine: JobMachine, job: Callable[..., Job], tmp_path: Path, root: bool, zone: str | None
) -> None:
    needs("systemd-analyze")
    made = job(zone=zone)
    paths = []
    for name, text in systemd.files(made, replace(machine, root=root)).items():
        paths.append(tmp_path / name)
        paths[-1].write_text(text)
    manager = [] if root else ["--user"]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    ran = subprocess.run(["systemd-analyze", *manager, "verify", *paths], capture_output=True, text=True, env=environment)  # fmt: skip
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    command = [
        "systemd-analyze",
        "calendar",
        "--base-time",
        "2027-01-15 12:00:00 UTC",
        systemd.calendar(made),
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "TZ": "UTC", "LC_ALL": "C"}).stdout  # fmt: skip
    hour = "01:05:00" if zone else "02:05:00"
    assert f"Sat 2027-01-16 {hour} UTC" in said


def test_systemd_takes_no_program_with_quotes_in_its_path(
    machine: JobMachine, job: Callable[..., Job]
) -> None:
    with pytest.raises(UsageError, match="systemd takes no program with quotes"):
        nightly.unit("systemd", job(), replace(machine, program=machine.folder / "survey"))


def test_systemd_sees_a_broken_unit(tmp_path: Path) -> None:
    needs("systemd-analyze")
    (tmp_path / "x.service").write_text("[Service]\nType=oneshot\nExecStart=nothing/here\n")
    ran = subprocess.run(["systemd-analyze", "verify", tmp_path / "x.service"], capture_output=True)
    assert ran.returncode != 0


@pytest.mark.parametrize("root", [True, False])
def test_systemd_units_are_installed_listed_and_removed(
    machine: JobMachine, job: Callable[..., Job], commands_seen: Callable[[str, str], Path], root: bool
) -> None:
    ran = commands_seen("systemctl", "exit 0")
    there, made = replace(machine, root=root), job()
    there.units.mkdir()
    (there.units / "theirs.timer").write_text("theirs")
    for _ in range(2):
        nightly.install("systemd", made, there)
    assert sorted(path.name for path in there.units.iterdir()) == [f"{made.name}.service", f"{made.name}.timer", "theirs.timer"]  # fmt: skip
    (line,) = nightly.installed("systemd", there)
    assert line == f"{made.name}  {made.title}"
    nightly.remove("systemd", made, there)
    assert [path.name for path in there.units.iterdir()] == ["theirs.timer"]
    user = "" if root else "--user "
    calls = [f"{user}daemon-reload", f"{user}enable --now {made.name}.timer"]
    assert ran.read_text().splitlines() == [
        *calls,
        *calls,
        f"{user}disable --now {made.name}.timer",
        calls[0],
    ]


def test_if_systemd_does_not_run_the_rest_is_printed(
    machine: JobMachine, job: Callable[..., Job], commands_seen: Callable[[str, str], Path]
) -> None:
    commands_seen("systemctl", "echo 'System has not been booted with systemd' >&2; exit 1")
    with pytest.raises(
        UsageError, match=r"not been booted.*systemctl --user daemon-reload && systemctl --user enable"
    ):
        nightly.install("systemd", job(), machine)
    assert len(nightly.installed("systemd", machine)) == 1
