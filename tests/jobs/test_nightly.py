"""`survey nightly`: units for four schedulers, each judged by what will read it; cron's by cron itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import kubernetes_validate
import pytest
import yaml
from conftest import LITTLE, Ran, little

from catalog.place import place_to_read
from catalog.read import Reader
from jobs import nightly, nightly_cron, nightly_systemd
from jobs.demo.checkpoints import write
from jobs.demo.hub import LocalHub
from jobs.nightly_job import Job, Machine, make_job, this_machine
from survey.errors import SurveyError, UsageError

Survey = Callable[..., Ran]
SCHEDULERS = list(nightly.SCHEDULERS)
AWKWARD = """a b%c'd"e$HOME;f"""  # what shells, crontabs, unit files and YAML each read in their own way


def needs(*tools: str) -> None:
    """Skip where the machine lacks a tool; in CI, which installs them, that is a failure."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if missing := [tool for tool in tools if shutil.which(tool, path=path) is None]:
        reason = f"needs {', '.join(missing)}: `make debian` installs it as root on Debian"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder for what cron runs: its line holds eight paths, and pytest's own are long."""
    with tempfile.TemporaryDirectory(prefix="n") as folder:
        yield Path(folder)


@pytest.fixture
def machine(short_path: Path) -> Machine:
    """A user's machine in Greenwich whose program tells what it was called with."""
    return made_machine(short_path / AWKWARD)


def made_machine(folder: Path) -> Machine:
    (folder / ".git").mkdir(parents=True)
    program = folder.parent / "b%n ${X}" / "survey"
    program.parent.mkdir()
    program.write_text(
        f'#!{sys.executable}\nimport os, sys\nprint(sys.argv[1:], os.environ.get("HF_ENDPOINT"), os.environ.get("HF_TOKEN"))\n'
    )
    program.chmod(0o755)
    return Machine(
        {"HF_ENDPOINT": "https://hub.example/100%", "HF_TOKEN": "hf_secret", "HTTPS_PROXY": "http://me:word@proxy:1", "LANG": "C"},
        program,
        UTC,
        folder / "config",
        folder / "state",
        folder / "units",
        False,
        folder,
    )  # fmt: skip


@pytest.fixture
def job(machine: Machine) -> Callable[..., Job]:
    def make(scheduler: str = "cron", **changes: str | None) -> Job:
        models = machine.folder / "my models.txt"
        models.write_text("# mine\norg/model@main  # a branch\n")
        image = "registry.example/survey:1" if scheduler == "kubernetes" else None
        given = {"catalog": str(machine.folder / "my catalog"), "at": "02:05", "zone": None, **changes}
        return make_job(models, **given, options=("--matrix", "both"), image=image)  # type: ignore[arg-type]

    return make


# --------------------------------------------------------------------------------- every unit


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("catalog", [None, "s3://bucket/survey"])
@pytest.mark.parametrize("zone", [None, "America/New_York"])
def test_a_unit_names_what_the_run_needs_and_no_secret(
    machine: Machine, job: Callable[..., Job], scheduler: str, catalog: str | None, zone: str | None
) -> None:
    made = job(scheduler, zone=zone, **({"catalog": catalog} if catalog else {}))
    unit = nightly.unit(scheduler, made, machine)
    assert "hf_secret" not in unit + repr(machine)
    assert "me:word" not in unit
    assert "HF_TOKEN" in unit
    assert "https://hub.example/100" in unit
    assert "--matrix" in unit
    assert catalog is None or catalog in unit
    assert (zone or "") in unit


REFUSED = [
    ("no hour", ["models.txt", "--on", "cron"], "say when: --at HH:MM"),
    ("no list", ["--at", "2:00", "--on", "cron"], "name the list of models"),
    ("no such list", ["nothing.txt", "--at", "2:00", "--on", "cron"], "no such list of models: nothing.txt"),
    ("a list that is none", ["empty.txt", "--at", "2:00", "--on", "cron"], "no model in"),
    ("25 o'clock", ["models.txt", "--at", "25:00", "--on", "cron"], "--at 25:00: write a time of day such as 02:00"),
    ("a word for an hour", ["models.txt", "--at", "noon", "--on", "cron"], "--at noon: write a time"),
    ("no such zone", ["models.txt", "--at", "2:00", "--timezone", "Europe/Berln", "--on", "cron"], "did you mean Europe/Berlin"),
    ("a path for a zone", ["models.txt", "--at", "2:00", "--timezone", "../x", "--on", "cron"], "no such time zone"),
    ("no scheduler", ["models.txt", "--at", "2:00"], "Missing option '--on'"),
    ("another scheduler", ["models.txt", "--at", "2:00", "--on", "at"], "'at' is not one of"),
    ("two lists", ["models.txt", "more.txt", "--at", "2:00", "--on", "cron"], "a unit runs one list"),
    ("an option that run lacks", ["models.txt", "--at", "2:00", "--on", "cron", "--", "--fast"], "No such option '--fast'"),
    ("a second catalog", ["models.txt", "--at", "2:00", "--on", "cron", "--", "--catalog", "d"], "give --catalog before the --"),
    ("a log in a pod", ["models.txt", "--at", "2:00", "--on", "kubernetes", "--image", "i", "--log", "l"], "--log is for cron and systemd"),
    ("no image", ["models.txt", "--at", "2:00", "--on", "kubernetes"], "needs --image"),
    ("an image for cron", ["models.txt", "--at", "2:00", "--on", "cron", "--image", "i"], "--image is for kubernetes"),
    ("no repository", ["models.txt", "--at", "2:00", "--on", "github"], "lies in no git repository"),
    ("a folder in a pod", ["folders.txt", "--at", "2:00", "--on", "kubernetes", "--image", "i"], "a pod does not see it"),
    ("a line break", ["models.txt", "--at", "2:00", "--on", "cron", "--log", "a\nb"], "control characters"),
    ("a catalog that GitHub would compute", ["models.txt", "--at", "2:00", "--on", "cron", "--log", "a\\"], "a last backslash"),
    ("a line for cron that is too long", ["models.txt", "--at", "2:00", "--on", "cron", "--catalog", "c" * 900], "and cron takes 998"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_cannot_run_is_refused_now_and_not_at_night(
    survey: Survey, arguments: list[str], message: str
) -> None:
    Path("models.txt").write_text("org/model\n")
    Path("empty.txt").write_text("# nothing\n")
    Path("here").mkdir()
    Path("folders.txt").write_text("./here\n")
    ran = survey("nightly", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err


def test_the_command_prints_absolute_paths(survey: Survey, tmp_path: Path) -> None:
    Path("models.txt").write_text("org/model\n")
    ran = survey("nightly", "models.txt", "--at", "2:00", "--on", "cron")
    assert ran.code == 0
    assert f"{tmp_path}/models.txt --catalog {tmp_path}/survey-catalog" in ran.out
    assert f"{this_machine(os.environ).program} run" in ran.out
    assert this_machine(os.environ).program.is_absolute()


# --------------------------------------------------------------------------------------- cron


def commands(unit: str) -> list[str]:
    """The shell commands of a crontab's lines, as cron hands them on."""
    lines = [line for line in unit.splitlines() if not line.startswith("#")]
    assert all("%" not in line.replace("\\%", "") for line in lines)
    return [line.split(None, 5)[5].replace("\\%", "%") for line in lines]


def run_bare(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["/bin/sh", "-c", command], env={"PATH": "/usr/bin:/bin", "HOME": "/"}, capture_output=True, text=True)  # fmt: skip


def test_crons_line_runs_in_a_bare_environment(machine: Machine, job: Callable[..., Job]) -> None:
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


def test_crons_line_never_overlaps_itself(machine: Machine, job: Callable[..., Job]) -> None:
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
    machine: Machine, job: Callable[..., Job], zone: str | None, here: str, times: list[tuple[int, int]]
) -> None:
    assert nightly_cron.local_times(job(zone=zone), replace(machine, zone=ZoneInfo(here))) == times


@pytest.mark.parametrize(("minutes", "runs"), [(0, True), (60, False), (-60, False)])
def test_only_the_line_whose_hour_has_come_there_runs(
    machine: Machine, job: Callable[..., Job], minutes: int, runs: bool
) -> None:
    for _ in range(2):  # the minute may end between looking at the clock and running
        at = datetime.now(ZoneInfo("Europe/Berlin")) + timedelta(minutes=minutes)
        made = job(zone="Europe/Berlin", at=f"{at:%H:%M}")
        command, _ = commands(nightly.unit("cron", made, machine))
        assert run_bare(command).returncode == 0
        if (machine.state / f"{made.name}.log").exists() == runs:
            return
    pytest.fail("the guard went by another clock")


@pytest.fixture
def commands_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Puts a command of ours before the machine's own; it writes down its calls in the returned file."""
    folder = tmp_path / "first-in-path"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def stand_in(name: str, script: str) -> Path:
        seen = folder / f"{name}.seen"
        (folder / name).write_text(f'#!/bin/sh\necho "$*" >>{seen}\nat={folder}/{name}.kept\n{script}\n')
        (folder / name).chmod(0o755)
        return seen

    return stand_in


CRONTAB = """\
if [ "$1" = - ]; then cat >"$at"; elif [ -s "$at" ]; then cat "$at"; else echo "no crontab for me" >&2; exit 1; fi"""
THEIRS = "# my own\nMAILTO=me\n5 4 * * sun     echo \\% caf\u00e9"


@pytest.mark.parametrize("theirs", ["", THEIRS, THEIRS + "\n"], ids=["none", "no last newline", "some"])
def test_a_crontab_keeps_what_else_it_holds(
    machine: Machine, job: Callable[..., Job], commands_seen: Callable[[str, str], Path], theirs: str
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
    machine: Machine, job: Callable[..., Job], commands_seen: Callable[[str, str], Path]
) -> None:
    kept = commands_seen("crontab", CRONTAB).with_name("crontab.kept")
    broken = f"# BEGIN {job().name}\n* * * * * x\n1 1 * * * mine\n"
    kept.write_text(broken)
    with pytest.raises(UsageError, match="mend it first"):
        nightly.install("cron", job(), machine)
    assert kept.read_text() == broken


def test_secrets_get_a_file_of_their_own(
    machine: Machine, job: Callable[..., Job], commands_seen: Callable[[str, str], Path]
) -> None:
    commands_seen("crontab", CRONTAB)
    told = nightly.install("cron", job(), machine)
    assert any(str(machine.env_file) in line for line in told)
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
    at = datetime.now(ZoneInfo("Europe/Berlin")) + timedelta(seconds=75)  # at least 15 s from now
    install = [program, "nightly", *models, "--at", f"{at:%H:%M}", "--timezone", "Europe/Berlin", "--on", "cron", "--install", "--", "--executor", "serial"]  # fmt: skip
    isolated = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-c", CRON_DAEMON, "sh"]  # fmt: skip
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    deadline = time.monotonic() + 150
    with subprocess.Popen([*isolated, short_path, *install], cwd=short_path, env=environment) as daemon:
        try:
            while second not in shas(catalog) and time.monotonic() < deadline and daemon.poll() is None:
                time.sleep(0.5)
        finally:
            daemon.kill()
    logs = "".join(log.read_text() for log in (short_path / "state/centroid-survey").glob("*.log"))
    assert shas(catalog) == {first: 3, second: 1}, logs
    assert "member" not in logs
    assert "1 measured" in logs


def serve(hub: LocalHub, folder: Path, cloud: object) -> str:
    write(little("org/model", cloud=cloud), folder)  # type: ignore[arg-type]
    return hub.add_repo("org/model", folder, gated="manual")


def shas(catalog: Path) -> dict[str, int]:
    """Black holes by commit."""
    try:
        with Reader(place_to_read(str(catalog))) as reader:
            return dict(reader.ask("SELECT sha, black_hole_count FROM measured_rows").rows)  # type: ignore[arg-type]
    except SurveyError:  # caught in the middle of a commit
        return {}


# ------------------------------------------------------------------------------------ systemd


@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_systemd_itself_finds_nothing_wrong(
    machine: Machine, job: Callable[..., Job], tmp_path: Path, root: bool, zone: str | None
) -> None:
    needs("systemd-analyze")
    made = job(zone=zone)
    paths = []
    for name, text in nightly_systemd.files(made, replace(machine, root=root)).items():
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
        nightly_systemd.calendar(made),
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "TZ": "UTC", "LC_ALL": "C"}).stdout  # fmt: skip
    hour = "01:05:00" if zone else "02:05:00"
    assert f"Sat 2027-01-16 {hour} UTC" in said


def test_systemd_takes_no_program_with_quotes_in_its_path(machine: Machine, job: Callable[..., Job]) -> None:
    with pytest.raises(UsageError, match="systemd takes no program with quotes"):
        nightly.unit("systemd", job(), replace(machine, program=machine.folder / "survey"))


def test_systemd_sees_a_broken_unit(tmp_path: Path) -> None:
    needs("systemd-analyze")
    (tmp_path / "x.service").write_text("[Service]\nType=oneshot\nExecStart=nothing/here\n")
    ran = subprocess.run(["systemd-analyze", "verify", tmp_path / "x.service"], capture_output=True)
    assert ran.returncode != 0


@pytest.mark.parametrize("root", [True, False])
def test_systemd_units_are_installed_listed_and_removed(
    machine: Machine, job: Callable[..., Job], commands_seen: Callable[[str, str], Path], root: bool
) -> None:
    seen = commands_seen("systemctl", "exit 0")
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
    assert seen.read_text().splitlines() == [
        *calls,
        *calls,
        f"{user}disable --now {made.name}.timer",
        calls[0],
    ]


def test_where_systemd_does_not_run_the_rest_is_told(
    machine: Machine, job: Callable[..., Job], commands_seen: Callable[[str, str], Path]
) -> None:
    commands_seen("systemctl", "echo 'System has not been booted with systemd' >&2; exit 1")
    with pytest.raises(
        UsageError, match=r"not been booted.*systemctl --user daemon-reload && systemctl --user enable"
    ):
        nightly.install("systemd", job(), machine)
    assert len(nightly.installed("systemd", machine)) == 1


# --------------------------------------------------------------------- kubernetes and github


@pytest.mark.parametrize("version", ["1.27", "1.37"])
@pytest.mark.parametrize("catalog", [None, "s3://bucket/x"])
def test_kubernetes_schema_accepts_every_document(
    machine: Machine, job: Callable[..., Job], version: str, catalog: str | None
) -> None:
    made = job("kubernetes", zone="Europe/Berlin", **({"catalog": catalog} if catalog else {}))
    documents = list(yaml.safe_load_all(nightly.unit("kubernetes", made, machine)))
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)
    kinds = [document["kind"] for document in documents]
    assert kinds == ["ConfigMap", *([] if catalog else ["PersistentVolumeClaim"]), "CronJob"]
    spec = documents[-1]["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("5 2 * * *", "Europe/Berlin")
    assert (spec["concurrencyPolicy"], spec["startingDeadlineSeconds"]) == ("Forbid", 43_200)
    assert documents[0]["data"]["models.txt"] == made.models.read_text()
    (container,) = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["survey", "run", "/models/models.txt", "--catalog", catalog or "/disk/survey-catalog", "--matrix", "both"]  # fmt: skip
    broken = {**documents[-1], "spec": {**spec, "concurrencyPolicy": 3}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


def test_kubectl_applies_lists_and_deletes(
    machine: Machine, job: Callable[..., Job], commands_seen: Callable[[str, str], Path]
) -> None:
    script = 'case "$1" in apply) cat >"$at"; echo applied;; get) echo "a  a title of words";; delete) echo deleted;; esac'
    seen = commands_seen("kubectl", script)
    made = job("kubernetes")
    assert nightly.install("kubernetes", made, machine)[0] == "applied"
    assert seen.with_name("kubectl.kept").read_text() == nightly.unit("kubernetes", made, machine)
    assert nightly.installed("kubernetes", machine) == ["a  a title of words"]
    nightly.remove("kubernetes", made, machine)
    # Not the claim: it is the catalog.
    assert (
        seen.read_text().splitlines()[-1]
        == f"delete cronjob/{made.name} configmap/{made.name} --ignore-not-found"
    )


@pytest.mark.parametrize("scheduler", ["kubernetes", "cron"])
def test_a_missing_command_says_what_to_do(
    machine: Machine, job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, scheduler: str
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        UsageError, match=r"there is no kubectl here: print|there is no crontab command here: install"
    ):
        nightly.install(scheduler, job(scheduler), machine)


@pytest.mark.parametrize("catalog", [None, "s3://bucket/x"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_githubs_schema_accepts_the_workflow(
    machine: Machine, job: Callable[..., Job], catalog: str | None, zone: str | None
) -> None:
    made = job("github", zone=zone, **({"catalog": catalog} if catalog else {}))
    for _ in range(2):
        nightly.install("github", made, machine)
    (path,) = (machine.folder / ".github/workflows").iterdir()
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    ran = subprocess.run([*checker, path], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
    workflow = yaml.safe_load(path.read_text())
    assert workflow["on"]["schedule"] == [{"cron": "5 2 * * *", "timezone": zone or "Etc/UTC"}]
    assert workflow["concurrency"] == {"group": path.stem, "cancel-in-progress": False}
    steps = workflow["jobs"]["survey"]["steps"]
    (step,) = [step for step in steps if "survey run" in step.get("run", "")]
    assert step["env"]["HF_TOKEN"] == "${{ secrets.HF_TOKEN }}"
    ran = subprocess.run(["/bin/sh", "-c", f"survey() {{ printf '%s\\n' \"$@\"; }}; {step['run']}"], capture_output=True, text=True, env={"GITHUB_WORKSPACE": "/w"}, check=True)  # fmt: skip
    assert ran.stdout.splitlines() == ["run", "/w/my models.txt", "--catalog", catalog or "/w/my catalog", "--matrix", "both"]  # fmt: skip
    assert [line.split()[0] for line in nightly.installed("github", machine)] == [path.stem]
    nightly.remove("github", made, machine)
    assert not path.exists()


OUTSIDE = [
    ("a catalog elsewhere", {"catalog": "/somewhere/else"}, "lies outside the repository"),
    ("an expression", {"catalog": "s3://x/${{ secrets.A }}"}, "GitHub would evaluate it"),
]


@pytest.mark.parametrize(
    ("changes", "message"), [case[1:] for case in OUTSIDE], ids=[case[0] for case in OUTSIDE]
)
def test_what_github_cannot_run_is_refused(
    machine: Machine, job: Callable[..., Job], changes: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        nightly.unit("github", job("github", **changes), machine)
