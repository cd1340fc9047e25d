"""`survey nightly --install`: many at once, each for itself, and nothing lost of what is others'."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobs.nightly import schedulers as nightly
from jobs.nightly import unit_files as nightly_files
from jobs.nightly.job import Job
from jobs.nightly.machine import JobMachine, this_machine
from jobs.nightly.schedulers import github
from survey.errors import UsageError

# A crontab that takes its time, as one on a busy disk.
SLOW_CRONTAB = """\
if [ "$1" = - ]; then sleep 0.2; cat >"$at.new"; mv "$at.new" "$at"; elif [ -s "$at" ]; then cat "$at"; sleep 0.2; \
else echo "no crontab for me" >&2; exit 1; fi"""


def test_six_at_once_install_six(
    tmp_path: Path, commands_seen: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = commands_seen("crontab", SLOW_CRONTAB).with_name("crontab.kept")
    kept.write_text("1 1 * * * mine\n")
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    (tmp_path / "models.txt").write_text("org/model\n")
    command = [
        this_machine(os.environ).program,
        "nightly",
        "models.txt",
        "--at",
        "2:00",
        "--on",
        "cron",
        "--install",
    ]
    started = [
        subprocess.Popen(
            [*command, "--catalog", f"c{n}"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for n in range(6)
    ]
    ended = [(process.communicate(timeout=120), process.returncode) for process in started]
    assert [code for _, code in ended] == [0] * 6, ended
    text = kept.read_text()
    assert text.startswith("1 1 * * * mine\n")
    assert sorted(re.findall(r"--catalog \S+/(c\d)", text)) == [f"c{n}" for n in range(6)]
    assert len(re.findall("^# BEGIN survey-nightly-", text, re.MULTILINE)) == 6


@pytest.mark.parametrize(
    ("scheduler", "suffixes"), [("systemd", (".timer", ".service")), ("github", (".yml",))]
)
def test_six_at_once_write_six_units(
    machine: JobMachine,
    job: Callable[..., Job],
    commands_seen: Callable[[str, str], Path],
    scheduler: str,
    suffixes: tuple[str, ...],
) -> None:
    commands_seen("systemctl", "sleep 0.05")
    jobs = [job(scheduler, catalog=f"s3://bucket/{number % 6}") for number in range(12)]  # each of them twice
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda made: nightly.install(scheduler, made, machine), jobs))
    folder = machine.units if scheduler == "systemd" else machine.folder / ".github/workflows"
    names = {github.workflow_name(made, machine) if scheduler == "github" else made.name for made in jobs}
    assert {path.name for path in folder.iterdir()} == {
        f"{name}{suffix}" for name in names for suffix in suffixes
    }
    assert len(nightly.installed(scheduler, machine)) == 6


# Each is a catalog of its own: names that schedulers read in their own ways, and names that would leave a line.
AWKWARD = [
    "a%b",
    "a'b",
    'a"b',
    "a b$HOME",
    "${{ github.token }}-c",
    "$(touch here)",
    "`touch here`",
    "a\\b;touch here",
]
HOSTILE = [
    "x\n* * * * * touch here",
    "x\r* * * * * touch here",
    "x\x85touch here",
    "x\u2028ExecStart=touch here",
]


@pytest.mark.parametrize("scheduler", ["cron", "systemd", "github"])
def test_awkward_and_hostile_names_at_once_lose_nothing_and_inject_nothing(
    machine: JobMachine, job: Callable[..., Job], commands_seen: Callable[[str, str], Path], scheduler: str
) -> None:
    kept = commands_seen("crontab", SLOW_CRONTAB.replace("0.2", "0.02")).with_name("crontab.kept")
    commands_seen("systemctl", "sleep 0.05")

    def install(name: str) -> str | None:
        try:
            prefix = "s3://bucket/" if scheduler == "github" else "/c/"
            nightly.install(scheduler, job(scheduler, catalog=prefix + name), machine)
        except UsageError:
            return None
        return name

    with ThreadPoolExecutor(12) as pool:
        installed = [name for name in pool.map(install, [*AWKWARD, *HOSTILE]) if name is not None]
    assert not set(installed) & set(HOSTILE)
    assert len(installed) > len(AWKWARD) / 2
    assert len(nightly.installed(scheduler, machine)) == len(installed)
    folder = machine.units if scheduler == "systemd" else machine.folder / ".github/workflows"
    units = [kept] if scheduler == "cron" else list(folder.iterdir())
    lines = [line.lstrip() for unit in units for line in unit.read_text().split("\n")]
    assert not [line for line in lines if line.startswith(("touch here", "* * * * *", "ExecStart=touch"))]


def test_an_installation_that_is_stuck_is_named(
    machine: JobMachine,
    job: Callable[..., Job],
    commands_seen: Callable[[str, str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = commands_seen("crontab", "exit 0")
    monkeypatch.setattr(nightly_files, "LOCK_WAIT_S", 0.1)
    with (
        nightly_files.one_at_a_time(machine),
        pytest.raises(UsageError, match=r"install\.lock for a minute: is it stuck"),
    ):
        nightly.install("cron", job(), machine)
    assert not calls.exists()


def _link_to(target: Path) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def _pipe(path: Path) -> None:
    os.mkfifo(path, 0o600)


def _file_of_another_user(path: Path) -> None:
    path.write_text("touch here\n")
    path.chmod(0o600)
    os.chown(path, 65534, -1)


def _open_to_all(path: Path) -> None:
    path.parent.chmod(0o777)


def _folder_of_another_user(path: Path) -> None:
    os.chown(path.parent, 65534, -1)


# What another user may put where the folders are shared: the file, and how it is refused.
PLANTED: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "lock-is-a-link": ("install.lock", _link_to(Path("../precious")), "a link, expected a file"),
    "lock-is-a-pipe": ("install.lock", _pipe, "a FIFO, expected a file"),
    "lock-in-an-open-folder": ("install.lock", _open_to_all, "others may write there: chmod o-w"),
    "secrets-are-a-pipe": ("nightly.env", _pipe, "is no file"),
    "secrets-are-a-folder": ("nightly.env", Path.mkdir, "is no file"),
    "secrets-of-another-user": ("nightly.env", _file_of_another_user, "belongs to user 65534"),
    "secrets-in-an-open-folder": ("nightly.env", _open_to_all, "others may write there: chmod o-w"),
    "secrets-in-a-folder-of-another-user": ("nightly.env", _folder_of_another_user, "belongs to user 65534"),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize(("name", "plant", "problem"), PLANTED.values(), ids=PLANTED)
def test_what_another_user_put_into_a_shared_folder_is_neither_followed_nor_run(
    machine: JobMachine,
    job: Callable[..., Job],
    commands_seen: Callable[[str, str], Path],
    name: str,
    plant: Callable[[Path], None],
    problem: str,
) -> None:
    calls = commands_seen("crontab", "exit 0")
    folder = machine.state if name == "install.lock" else machine.config
    folder.mkdir(parents=True)
    (folder.parent / "precious").write_text("mine")
    plant(folder / name)
    with pytest.raises(UsageError, match=problem):
        nightly.install("cron", job(), machine)
    assert (folder.parent / "precious").read_text() == "mine"
    assert not calls.exists() or "-" not in calls.read_text().split()


def test_the_users_own_link_to_a_file_of_secrets_is_followed(
    machine: JobMachine, job: Callable[..., Job], commands_seen: Callable[[str, str], Path]
) -> None:
    commands_seen("crontab", "exit 1")
    machine.config.mkdir(parents=True)
    (machine.config.parent / "mine").write_text("HF_TOKEN=mine\n")
    (machine.config.parent / "mine").chmod(0o600)
    machine.env_file.symlink_to("../mine")
    nightly_files.prepare_folders(job(), machine)


def test_a_crontab_that_another_program_writes_over_is_written_again(
    machine: JobMachine, job: Callable[..., Job], commands_seen: Callable[[str, str], Path]
) -> None:
    """The first write is lost, as if somebody saved in `crontab -e` at that moment."""
    once = 'if [ "$1" = - ]; then if [ -e "$at.lost" ]; then cat >"$at"; else touch "$at.lost"; fi; elif [ -s "$at" ]; then cat "$at"; fi'
    kept = commands_seen("crontab", once).with_name("crontab.kept")
    nightly.install("cron", job(), machine)
    assert job().name in kept.read_text()


def test_a_crontab_that_never_keeps_it_is_no_success(
    machine: JobMachine, job: Callable[..., Job], commands_seen: Callable[[str, str], Path]
) -> None:
    commands_seen("crontab", 'if [ "$1" = - ]; then cat >/dev/null; fi')
    with pytest.raises(UsageError, match="changed by another program 3 times"):
        nightly.install("cron", job(), machine)


def test_a_folder_that_cannot_be_made_is_one_line(
    machine: JobMachine, job: Callable[..., Job], commands_seen: Callable[[str, str], Path]
) -> None:
    commands_seen("crontab", "exit 0")
    machine.state.write_text("a file")
    with pytest.raises(UsageError, match=r"state: cannot be made: File exists"):
        nightly.install("cron", job(), machine)
