"""What goes wrong on a long night, one fault at a time.

Every run has a deadline, its tries are counted, and the catalog ends right, with nothing twice.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.commands import Ran
from support.little_models import little

from catalog.read.reader import Reader
from catalog.store.open import open_for_reading
from jobs.demo.checkpoints import write
from jobs.demo.hub.local_hub import (
    Fault,
    IgnoreRange,
    LocalHub,
    LoggedRequest,
    ReplyShape,
    ResetAfter,
    ShortBody,
    Stall,
    Status,
    WrongContentRange,
)

# Ray's own processes now and then fail to start; what fails for good fails three times.
# Ray's nodes leave sockets unclosed in this process.
pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.flaky(reruns=2, reruns_delay=5),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

RUN_S = 90  # no run may take longer

Survey = Callable[..., Ran]
Join = Callable[..., Ran]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def serve(hub: LocalHub, tmp_path: Path) -> Callable[..., list[str]]:
    """Puts little models on the Hub and returns their ids."""

    def put(names: Sequence[str]) -> list[str]:
        for name in names:
            write(little(name), tmp_path / "served" / name)
            hub.add_repo(f"org/{name}", tmp_path / "served" / name)
        return [f"org/{name}" for name in names]

    return put


@pytest.fixture
def join(hub: LocalHub, survey: Survey, ray_address: str) -> Join:
    """A run in this process, on the Ray that these tests share."""

    def run(models: Sequence[str], *options: str) -> Ran:
        began = time.monotonic()
        ran = survey(
            "run", *models, "--catalog", "c", "--endpoint", hub.endpoint, "--address", ray_address, *options
        )
        assert time.monotonic() - began < RUN_S
        return ran

    return run


def start(hub: LocalHub, models: Sequence[str], *options: str, **environment: str) -> subprocess.Popen[str]:
    """A run in a process of its own."""
    program = "from survey.cli import entry; entry()"
    arguments = ["run", *models, "--catalog", "c", "--endpoint", hub.endpoint, *options]
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment,
    )  # fmt: skip


def ended(run: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        out, err = run.communicate(timeout=RUN_S)
    finally:
        run.kill()
    return run.returncode, out, err


def rows_of(sql: str) -> list[tuple[object, ...]]:
    with Reader(open_for_reading("c")) as reader:
        return reader.ask(sql).rows


def rows() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("c/rows").glob("*.parquet")}


def unfinished() -> list[Path]:
    return list(Path("c").rglob("*.tmp"))


def wait_for(condition: Callable[[], bool], what: str, limit_s: float = 40) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"waited {limit_s} s for {what}"
        time.sleep(0.02)


def processes(marker: str) -> list[str]:
    """The command lines of what a run started, found by a variable of its environment."""
    commands = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if marker.encode() in environment.read_bytes():
                commands.append(environment.with_name("cmdline").read_text())
        except OSError:
            continue
    return commands


def test_out_of_memory_is_tried_once_more_with_twice_the_memory_and_then_recorded(
    hub: LocalHub,
    serve: Callable[..., list[str]],
    survey: Survey,
    join: Join,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray's own monitor kills the worker: its threshold is below what the machine uses already."""
    from jobs.executors.ray_driver import ModelWork, ModelWorkload
    from jobs.executors.ray_workload import RayTask

    reserved: list[int] = []
    launch = ModelWorkload.launch

    def spy(self: ModelWorkload, task: RayTask[ModelWork], *others: Any) -> Any:
        ref = launch(self, task, *others)
        reserved.extend([task.work.memory_bytes] * (ref is not None))
        return ref

    models = serve(["stuck"])
    hub.faults.append(Fault(Stall(120), server="cdn", skip=1, times=None))
    with monkeypatch.context() as patch:
        patch.setattr(ModelWorkload, "launch", spy)
        patch.setenv("RAY_memory_usage_threshold", "0.001")
        patch.setenv("RAY_memory_monitor_refresh_ms", "1500")
        ran = survey("run", *models, "--catalog", "c", "--endpoint", hub.endpoint)
    assert ran.code == 1, ran.err
    assert "0 measured, 0 unchanged, 1 failed" in ran.out
    assert reserved == [reserved[0], 2 * reserved[0]]
    assert rows_of("SELECT status, reason, tries FROM attempts") == [("failed", "out-of-memory", 2)]
    assert rows() == {}
    # With memory for it, the next run measures it.
    hub.faults.clear()
    ran = join(models)
    assert ran.code == 0, ran.err
    assert rows_of("SELECT repo, dead_count FROM models_history") == [("org/stuck", 10)]


@pytest.fixture(scope="module")
def killed() -> Iterator[list[str]]:
    """The markers of killed drivers, whose Rays have ended by themselves when the file's other tests are over.

    Agents whose control store died before their node try for a minute to report it, for which Ray has no setting.
    """
    markers: list[str] = []
    yield markers
    wait_for(lambda: not any(map(processes, markers)), "the killed driver's Ray to end", 100)


def test_a_driver_that_was_killed_is_run_again_and_does_the_rest(
    hub: LocalHub, serve: Callable[..., list[str]], folder: Path, join: Join, killed: list[str]
) -> None:
    models = serve([f"m{number}" for number in range(10)])
    hub.shape = ReplyShape(latency_s=0.15)
    marker = f"KILLED_RUN={folder.name}{time.monotonic_ns()}"
    run = start(hub, models, KILLED_RUN=marker.partition("=")[2], RAY_gcs_rpc_server_reconnect_timeout_s="5")
    wait_for(lambda: len(rows()) >= 3, "three models", 120)
    assert any("raylet" in line for line in processes(marker))
    run.send_signal(signal.SIGKILL)
    killed.append(marker)
    assert ended(run)[0] == -signal.SIGKILL
    # What a kill in the middle of a commit leaves behind.
    Path("c/rows/.half.parquet.1.tmp").write_bytes(b"PAR1 and then nothing")
    kept = rows()
    assert 3 <= len(kept) < 10
    hub.shape = ReplyShape()
    ran = join(models)
    assert ran.code == 0, ran.err
    assert f"{10 - len(kept)} measured, {len(kept)} unchanged, 0 failed" in ran.out
    assert kept.items() <= rows().items()
    assert unfinished() == []
    assert rows_of("SELECT count(*), count(DISTINCT repo), min(dead_count) FROM models_history") == [
        (10, 10, 10)
    ]
    assert rows_of("SELECT count(*) FROM tokens") == [(3000,)]


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """The catalog on a file system of its own, of 256 KiB."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or shutil.which("mount") is None:
        reason = "mounting a small file system needs root on Linux"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    catalog = folder / "c"
    catalog.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", catalog], capture_output=True)
    if made.returncode:
        reason = f"mount: {made.stderr.decode().strip()}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    try:
        yield catalog
    finally:
        subprocess.run(["umount", "-l", catalog], check=True)


def test_a_full_disk_loses_nothing_that_was_finished(
    hub: LocalHub,
    serve: Callable[..., list[str]],
    survey: Survey,
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models = serve([f"m{number}" for number in range(8)])
    command = ["run", *models, "--catalog", "c", "--endpoint", hub.endpoint, "--executor", "serial"]
    monkeypatch.setattr(
        "jobs.run.driver.ATTEMPTS_S", 0.0
    )  # written after each model, so it meets the full disk, too
    ran = survey(*command, "--summary", "summary.json")
    kept = rows()
    assert ran.code == 1
    assert f"{len(kept)} measured, 0 unchanged, {8 - len(kept)} failed" in ran.out
    assert json.loads(Path("summary.json").read_text())["measured"] == len(kept)
    assert 0 < len(kept) < 8
    assert "No space left on device" in ran.out + ran.err
    assert "Traceback" not in ran.out + ran.err
    assert unfinished() == []
    assert rows_of("SELECT count(*) FROM models") == [(len(kept),)]
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    ran = survey(*command)
    assert ran.code == 0, ran.err
    assert f"{8 - len(kept)} measured, {len(kept)} unchanged, 0 failed" in ran.out
    assert kept.items() <= rows().items()
    assert rows_of("SELECT count(*), count(DISTINCT repo) FROM models_history") == [(8, 8)]


def test_a_catalog_that_cannot_be_written_is_named_before_anything_is_fetched(
    hub: LocalHub, serve: Callable[..., list[str]], survey: Survey, small_disk: Path
) -> None:
    models = serve(["one"])
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    ran = survey("run", *models, "--catalog", "c", "--endpoint", hub.endpoint, "--executor", "serial")
    assert ran.code == 2
    assert re.search(r"the catalog \S*/c cannot be written: Read-only file system", ran.err)
    assert hub.log == []


def test_a_model_that_always_fails_holds_up_no_other(
    hub: LocalHub, serve: Callable[..., list[str]], join: Join
) -> None:
    good = [f"m{number}" for number in range(8)]
    models = serve(["bad", *good])
    hub.faults.append(Fault(ResetAfter(0), server="cdn", path_contains="bad", skip=1, times=None))
    ran = join(models, "--timeout", "10")
    assert ran.code == 1, ran.err
    assert "8 measured, 0 unchanged, 1 failed" in ran.out
    assert rows_of("SELECT repo, tries FROM attempts WHERE status = 'failed'") == [("org/bad", 1)]
    assert rows_of("SELECT count(*) FROM attempts WHERE tries = 1 AND status = 'measured'") == [(8,)]
    assert rows_of("SELECT count(DISTINCT repo), count(*) FROM models_history") == [(8, 8)]
    done = rows_of("SELECT repo FROM attempts ORDER BY finished_at")
    assert done[-1] == ("org/bad",)


# What the storage does to the model of that name while its matrix is read, and for how many requests.
PASSING = {
    "busy500": (Status(500), 2),
    "busy503": (Status(503), 2),
    "told429": (Status(429, {"Retry-After": "1"}), 2),
    "reset0": (ResetAfter(0), 2),
    "reset1000": (ResetAfter(1000), 3),
    "stall": (Stall(2, 800), 1),
    "whole": (IgnoreRange(), 2),
    "elsewhere": (WrongContentRange(64), 2),
    "short": (ShortBody(10), 2),
    "expired": (Status(403), 2),
}
STAYING = {"always-whole": IgnoreRange(), "always-refused": Status(403)}


def test_every_fault_of_the_network_in_one_night(
    hub: LocalHub, serve: Callable[..., list[str]], join: Join
) -> None:
    """Those that pass cost requests and no try; those that stay are told, and hold up no other."""
    models = serve([*PASSING, *STAYING, "quiet"])
    passing = {
        name: Fault(action, server="cdn", path_contains=f"org/{name}/", skip=1, times=times)
        for name, (action, times) in PASSING.items()
    }
    staying = [
        Fault(action, server="cdn", path_contains=f"org/{name}/", skip=1, times=None)
        for name, action in STAYING.items()
    ]
    hub.faults += [*passing.values(), *staying]
    ran = join(models)
    assert ran.code == 1, ran.err
    assert "11 measured, 0 unchanged, 2 failed" in ran.out
    assert {name: fault.hits for name, fault in passing.items()} == {
        name: times for name, (_, times) in PASSING.items()
    }
    assert rows_of("SELECT repo, reason, tries FROM attempts WHERE status = 'failed' ORDER BY repo") == [
        ("org/always-refused", "unauthorised", 1),
        ("org/always-whole", "network", 1),
    ]
    assert rows_of(
        "SELECT count(*), count(DISTINCT repo) FROM attempts WHERE status = 'measured' AND tries = 1"
    ) == [(11, 11)]
    assert rows_of(
        "SELECT count(*), count(DISTINCT repo), min(dead_count), max(dead_count) FROM models_history"
    ) == [(11, 11, 10, 10)]
    assert rows_of("SELECT count(*) FROM tokens") == [(3300,)]
    assert dict(rows_of("SELECT repo, retries FROM models WHERE retries > 0")) == {
        f"org/{name}": times
        for name, (_, times) in PASSING.items()
        if name != "stall"  # it went on in time
    }


class Clock(list[LoggedRequest]):
    """A log that knows when each request came."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def append(self, entry: LoggedRequest) -> None:
        self.times.append(time.monotonic())
        super().append(entry)


def test_when_the_hub_asks_one_model_to_wait_all_wait(
    hub: LocalHub, serve: Callable[..., list[str]], join: Join
) -> None:
    """Its Retry-After is 4 s; the others ask several times a second otherwise."""
    models = serve([f"m{number}" for number in range(8)])
    hub.log = log = Clock()
    hub.shape = ReplyShape(latency_s=0.1)
    slow_down = Status(429, {"Retry-After": "4"})
    hub.faults.append(Fault(slow_down, server="cdn", path_contains="m2", skip=1))
    ran = join(models)
    assert ran.code == 0, ran.err
    assert "8 measured" in ran.out
    (refusal,) = (number for number, entry in enumerate(log) if entry.status == 429)
    # What was on its way when the Hub said so still arrives.
    late = [entry for entry, when in zip(log, log.times, strict=True) if 0.5 < when - log.times[refusal] < 4]
    assert late == []
    after = [when for when in log.times if when - log.times[refusal] >= 4]
    assert len(after) >= 3  # which the others would have asked in the meantime
    assert rows_of("SELECT count(DISTINCT repo), sum(tries) FROM attempts") == [(8, 8)]
    assert rows_of("SELECT count(*) FROM models_history") == [(8,)]


def test_no_more_connections_at_a_time_than_allowed_while_planning_and_measuring(
    hub: LocalHub, serve: Callable[..., list[str]], join: Join
) -> None:
    models = serve([f"m{number}" for number in range(6)])
    hub.log = log = Clock()
    hub.shape = ReplyShape(latency_s=0.2)
    ran = join(models, "--connections", "2")
    assert ran.code == 0, ran.err
    assert "6 measured" in ran.out
    # Each is answered after 0.2 s: of three in less than that, the first was still under way.
    assert all(third - first > 0.19 for first, third in zip(log.times, log.times[2:], strict=False))


def test_a_branch_that_moves_meanwhile_is_measured_as_it_was_planned(
    hub: LocalHub, serve: Callable[..., list[str]], folder: Path, join: Join, ray_address: str
) -> None:
    models = serve(["moving"])
    first = hub.repos["org/moving"].branches["main"]
    hub.faults.append(Fault(Stall(2), server="cdn", skip=1))
    run = start(hub, models, "--address", ray_address)
    wait_for(lambda: hub.faults[0].hits == 1, "the fetch")
    write(little("moving", tied=False), folder / "moved")
    second = hub.commit("org/moving", folder / "moved")
    code, _, err = ended(run)
    assert code == 0, err
    assert rows_of("SELECT sha, tied FROM models_history") == [(first, True)]
    assert rows_of("SELECT sha, tries FROM attempts") == [(first, 1)]
    ran = join(models)
    assert ran.code == 0, ran.err
    assert "1 measured, 0 unchanged, 0 failed" in ran.out
    assert rows_of("SELECT sha, tied FROM models") == [(second, False)]
    assert sorted(rows_of("SELECT sha FROM models_history")) == sorted([(first,), (second,)])
