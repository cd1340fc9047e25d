"""What the driver does when Ray's workers do not behave."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import Ran
from support.little_models import little

from catalog.read.reader import Reader
from catalog.store.open import open_for_reading
from jobs.demo.checkpoints import write
from jobs.demo.hub.local_hub import Fault, LocalHub, ReplyShape, Stall

# Ray's own processes now and then fail to start; what fails for good fails three times.
# Ray's nodes leave sockets unclosed in this process.
pytestmark = [
    pytest.mark.flaky(reruns=2, reruns_delay=5),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

Survey = Callable[..., Ran]


def rows_of(sql: str) -> list[tuple[object, ...]]:
    with Reader(open_for_reading("c")) as reader:
        return reader.ask(sql).rows


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """The command in a process of its own, as a person starts it."""
    return subprocess.Popen(
        [sys.executable, "-c", "from survey.cli import entry; entry()", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, preexec_fn=_heed_interrupts,
    )  # fmt: skip


def _heed_interrupts() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so would everything below it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(condition: Callable[[], bool], what: str, limit_s: float = 60) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"waited {limit_s} s for {what}"
        time.sleep(0.05)


@pytest.fixture
def slow(hub: LocalHub, tmp_path: Path) -> LocalHub:
    """One quick model, and one whose matrix never comes."""
    for name in ("quick", "stuck"):
        write(little(name), tmp_path / "served" / name)
        hub.add_repo(f"org/{name}", tmp_path / "served" / name)
    hub.faults.append(Fault(Stall(120), server="cdn", path_contains="stuck", skip=1, times=None))
    return hub


@pytest.mark.parametrize("executor", ["serial", "ray"])
def test_interrupted_it_keeps_what_is_finished(
    slow: LocalHub, tmp_path: Path, executor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = start("run", "org/quick", "org/stuck", "--catalog", "c", "--endpoint", slow.endpoint, "--executor", executor, cwd=tmp_path)  # fmt: skip
    wait_for(
        lambda: slow.faults[0].hits > 0 and len(list(tmp_path.glob("c/rows/*.parquet"))) == 1,
        "the quick model",
    )
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert "1 measured, 0 unchanged, 1 failed" in out
    assert rows_of("SELECT repo FROM models") == [("org/quick",)]
    assert rows_of("SELECT repo, reason FROM attempts ORDER BY repo") == [
        ("org/quick", None),
        ("org/stuck", "interrupted"),
    ]


def test_interrupted_while_planning_it_ends_at_once_and_says_what_was_stopped(
    slow: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    slow.faults.insert(0, Fault(Stall(120), path_contains="/api/models/org/stuck", times=None))
    run = start("run", "org/quick", "org/stuck", "--catalog", "c", "--endpoint", slow.endpoint, cwd=tmp_path)
    wait_for(lambda: slow.faults[0].hits > 0, "the plan to stall")
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=20)
    assert run.returncode == 130, err
    assert rows_of("SELECT DISTINCT reason, count(*) FROM attempts GROUP BY ALL") == [("interrupted", 2)]


def workers() -> set[int]:
    """The processes that run a measuring task now."""
    pids = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"ray::measure" in path.read_bytes():
                pids.add(int(path.parent.name))
        except OSError:
            continue
    return pids


def test_a_killed_worker_is_replaced_and_at_last_given_up(
    slow: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(little("once"), tmp_path / "served" / "once")
    slow.add_repo("org/once", tmp_path / "served" / "once")
    slow.faults.append(Fault(Stall(120), server="cdn", path_contains="once", skip=1))
    before = workers()
    run = start(
        "run",
        "org/stuck",
        "org/once",
        "org/quick",
        "--catalog",
        "c",
        "--endpoint",
        slow.endpoint,
        cwd=tmp_path,
    )
    for tries in (1, 2, 3):
        wait_for(lambda tries=tries: slow.faults[0].hits >= tries, f"try {tries}")  # type: ignore[misc]
        wait_for(lambda: slow.faults[1].hits == 1, "the other model")
        if tries > 1:  # whoever shares the node with it is killed with it once, and no oftener
            wait_for(lambda: len(list((tmp_path / "c/rows").glob("*.parquet"))) == 2, "the others' rows")
        for process in workers() - before:
            os.kill(process, signal.SIGKILL)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 1, err
    assert "raylet" not in out
    assert "2 measured, 0 unchanged, 1 failed" in out
    once, quick, stuck = rows_of("SELECT repo, status, reason, tries FROM attempts ORDER BY repo")
    assert once == ("org/once", "measured", None, 2)
    assert quick[:3] == ("org/quick", "measured", None)
    assert stuck == ("org/stuck", "failed", "node-lost", 3)
    assert rows_of("SELECT repo, dead_count FROM models_history ORDER BY repo") == [
        ("org/once", 10),
        ("org/quick", 10),
    ]
    assert rows_of("SELECT count(*) FROM tokens") == [(600,)]


def test_a_model_that_needs_more_memory_than_any_node_has_is_refused(
    slow: LocalHub, survey: Survey, ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.planning.memory.PROCESS_BYTES", 1 << 50)
    ran = survey("run", "org/quick", "--catalog", "c", "--endpoint", slow.endpoint, "--address", ray_address)
    assert ran.code == 1
    assert "infeasible" in ran.out
    assert re.search(
        r"needs 11259\d\d\.\d GB of memory, the largest node has \d", ran.out
    )  # 2⁵⁰ bytes and some


def test_a_model_has_a_deadline(hub: LocalHub, survey: Survey, tmp_path: Path, executor: list[str]) -> None:
    write(little("slow"), tmp_path / "slow")
    hub.add_repo("org/slow", tmp_path / "slow")
    hub.shape = ReplyShape(latency_s=0.6)
    ran = survey(
        "run",
        "org/slow",
        "--catalog",
        "c",
        "--endpoint",
        hub.endpoint,
        "--timeout",
        "1",
        *executor,
    )
    assert ran.code == 1
    assert "timeout" in ran.out
    assert "not finished after 1 s" in ran.out


def test_a_cluster_that_is_not_there_is_named(slow: LocalHub, survey: Survey) -> None:
    ran = survey(
        "run", "org/quick", "--catalog", "c", "--endpoint", slow.endpoint, "--address", "127.0.0.1:1"
    )
    assert ran.code == 2
    assert "cannot join the Ray cluster at 127.0.0.1:1" in ran.err
