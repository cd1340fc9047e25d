"""A run that is stopped: by whom does not matter, nor where its tasks run."""

from __future__ import annotations

import json
import os
import pkgutil
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
from jobs.demo.hub.local_hub import Fault, LocalHub, Stall
from survey.errors import UsageError

# Ray's own processes now and then fail to start; what fails for good fails three times.
pytestmark = [pytest.mark.timeout(240), pytest.mark.flaky(reruns=2, reruns_delay=5)]

RUN_S = 90
NAMES = ("m0", "m1", "stalled", "m3")
# A shell that starts the tests in the background lets them, and all that they start, ignore SIGINT.
LISTENING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
PROGRAM = [sys.executable, "-c", f"{LISTENING}; from survey.cli import entry; entry()"]
IGNORING = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); {PROGRAM[-1]}"


@pytest.fixture
def start(hub: LocalHub, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """A run of four models, whose third never comes, in a session of its own."""
    for name in NAMES:
        write(little(name), tmp_path / "served" / name)
        hub.add_repo(f"org/{name}", tmp_path / "served" / name)
    hub.faults.append(Fault(Stall(RUN_S, 800), server="cdn", path_contains="stalled", skip=1, times=None))

    def begin(executor: str, program: str = PROGRAM[-1]) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program, "run", *(f"org/{name}" for name in NAMES), "--catalog", "c", "--endpoint",
                   hub.endpoint, "--executor", executor, "--summary", "s.json"]  # fmt: skip
        started = subprocess.Popen(
            command,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        # m0 is there, and what is stalled has been asked for.
        end = time.monotonic() + RUN_S
        while not (list((tmp_path / "c/rows").glob("*m0*")) and asked_for_stalled(hub)):
            assert started.poll() is None, started.communicate()
            assert time.monotonic() < end
            time.sleep(0.05)
        return started

    return begin


def asked_for_stalled(hub: LocalHub) -> bool:
    return sum("stalled" in request.path for request in hub.requests("cdn")) > 1


def in_session(leader: int) -> list[str]:
    """The processes of a session that are left, but for those that are ending."""
    listed = subprocess.run(
        ["ps", "-eo", "sess=,stat=,args="], capture_output=True, text=True, check=True
    ).stdout
    words = [line.split(None, 2) for line in listed.splitlines()]
    return [args for sid, state, args in words if int(sid) == leader and not state.startswith("Z")]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sessions are listed as Linux does")
@pytest.mark.parametrize(
    ("executor", "name", "to_all"),
    [
        ("ray", "SIGTERM", False),
        ("ray", "SIGTERM", True),  # as timeout(1) does it; terminals signal the group, too
        ("ray", "SIGHUP", True),
        ("serial", "SIGINT", True),
        ("serial", "SIGTERM", False),
        ("serial", "SIGHUP", False),
    ],
)
def test_a_stopped_run_records_what_it_did_and_what_it_did_not(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, executor: str, name: str, to_all: bool
) -> None:
    run = start(executor)
    (os.killpg if to_all else os.kill)(run.pid, getattr(signal, name))
    out, err = run.communicate(timeout=30)
    assert run.returncode == 130, err
    assert "interrupted; run again for the rest" in out
    assert "Traceback" not in err
    with Reader(open_for_reading(str(tmp_path / "c"))) as reader:
        attempts = dict(reader.ask("SELECT repo, coalesce(reason, status) FROM attempts").rows)
        measured = {repo for (repo,) in reader.ask("SELECT repo FROM models").rows}
    assert attempts.keys() == {f"org/{model}" for model in NAMES}
    assert attempts["org/stalled"] == "interrupted"
    assert {repo for repo, ended in attempts.items() if ended == "measured"} == measured
    summary = json.loads((tmp_path / "s.json").read_text())
    assert (summary["interrupted"], summary["measured"]) == (True, len(measured))
    assert in_session(run.pid) == []


# What a run does before it holds the catalog, and the models that it knows of by then.
EARLY: dict[str, tuple[str, list[str]]] = {
    "its libraries are loaded": ("survey.cli.run._empty_result", []),
    "its list is read": ("jobs.planning.model_list.read_models", []),
    "the catalog is opened": ("catalog.store.open.open_for_writing", ["org/m0", "org/m1"]),
    "the catalog is taken": ("jobs.run.driver.catalog_lock", ["org/m0", "org/m1"]),
    "the catalog is read": ("jobs.run.driver.read_catalog", ["org/m0", "org/m1"]),
}


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
@pytest.mark.parametrize("moment", EARLY)
def test_a_run_that_is_stopped_before_it_plans_says_so(
    survey: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, moment: str, name: str
) -> None:
    function, models = EARLY[moment]
    original = pkgutil.resolve_name(function)

    def signalled(*arguments: object, **options: object) -> object:
        signal.raise_signal(getattr(signal, name))
        return original(*arguments, **options)

    monkeypatch.setattr(function, signalled)
    ran = survey("run", "org/m0", "org/m1", "--catalog", "c", "--endpoint", "http://127.0.0.1:9",
                 "--executor", "serial", "--summary", "s.json")  # fmt: skip
    assert (ran.code, ran.err) == (130, "")
    assert "interrupted; run again for the rest" in ran.out
    summary = json.loads(Path("s.json").read_text())
    assert (summary["interrupted"], summary["measured"]) == (True, 0)
    assert [(item["repo"], item["reason"]) for item in summary["attempts"]] == [
        (model, "interrupted") for model in models
    ]


# Moments between the commit of a row and the record of its outcome: a function that is called then, and
# whether the task, and not the driver, commits.
AFTER_A_COMMIT: dict[str, tuple[str, bool]] = {
    "the driver has committed it": ("jobs.run.driver.committed", False),
    "its outcome is being recorded": ("jobs.run.ledger.attempt_of_task", False),
    "its task has committed it": ("jobs.tasks.delivery.commit", True),
    "its outcome is on its way": ("jobs.executors.progress.Silence.finished", True),
}


def signal_after(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    """Let a function end with a SIGINT to this process."""
    original = pkgutil.resolve_name(function)

    def signalled(*arguments: object, **options: object) -> object:
        answer = original(*arguments, **options)
        signal.raise_signal(signal.SIGINT)
        return answer

    monkeypatch.setattr(function, signalled)


def ended_attempts(summary: str) -> dict[str, str]:
    attempts = json.loads(Path(summary).read_text())["attempts"]
    return {item["repo"]: item["reason"] or item["status"] for item in attempts}


@pytest.mark.parametrize(
    ("moment", "executor"),
    [*((moment, "serial") for moment in AFTER_A_COMMIT), ("the driver has committed it", "ray")],
)
def test_a_row_that_was_committed_before_the_stop_is_reported_as_measured(
    survey: Callable[..., Ran],
    checkpoint: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    executor: str,
) -> None:
    function, commits_in_task = AFTER_A_COMMIT[moment]
    monkeypatch.setattr("catalog.store.local.LocalFolder.commits_in_task", commits_in_task)
    signal_after(monkeypatch, function)
    models = [str(checkpoint("a")), str(checkpoint("b"))]
    ran = survey("run", *models, "--catalog", "c", "--executor", executor, "--summary", "s.json")
    assert ran.code == 130, ran.err
    assert "1 measured, 0 unchanged, 1 failed — interrupted" in ran.out
    with Reader(open_for_reading("c")) as reader:
        ((row,),) = reader.ask("SELECT repo FROM models").rows
        recorded = dict(reader.ask("SELECT repo, coalesce(reason, status) FROM attempts").rows)
    (other,) = {*models} - {row}
    assert recorded == ended_attempts("s.json") == {row: "measured", other: "interrupted"}


def test_a_row_of_an_earlier_run_does_not_count_as_measured(
    survey: Callable[..., Ran], checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["run", str(model := checkpoint()), "--catalog", "c", "--executor", "serial"]
    assert survey(*command).code == 0
    signal_after(monkeypatch, "jobs.tasks.spectrum.measure")
    assert survey(*command, "--resurvey", "--summary", "s.json").code == 130
    assert ended_attempts("s.json") == {str(model): "interrupted"}


def test_if_the_catalog_cannot_be_read_after_a_stop_the_summary_says_so(
    survey: Callable[..., Ran], checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object) -> None:
        raise UsageError("the catalog c cannot be read: Input/output error")

    signal_after(monkeypatch, "jobs.run.driver.committed")
    monkeypatch.setattr("jobs.run.committed_rows.Reader", unreadable)
    ran = survey("run", checkpoint(), "--catalog", "c", "--executor", "serial", "--summary", "s.json")
    (attempt,) = json.loads(Path("s.json").read_text())["attempts"]
    assert (ran.code, attempt["reason"]) == (130, "interrupted")
    assert "whether its row was committed is unknown" in attempt["message"]


def test_a_signal_while_libraries_are_loaded_waits_for_them(tmp_path: Path) -> None:
    """In a process of its own, in which none is loaded yet."""
    program = f"""
import importlib.abc, signal, sys
class Loading(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "pyarrow.lib":
            signal.raise_signal(signal.SIGTERM)
sys.meta_path.insert(0, Loading())
{PROGRAM[-1]}
"""
    command = [sys.executable, "-c", program, "run", "org/m", "--endpoint", "http://127.0.0.1:9", "--summary", "s.json"]  # fmt: skip
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (130, "")
    assert json.loads((tmp_path / "s.json").read_text())["interrupted"]


def test_a_second_signal_ends_it_at_once(start: Callable[..., subprocess.Popen[str]]) -> None:
    """The first one is lost, as in a destructor."""
    run = start("serial", _DEAF)
    run.terminate()
    time.sleep(1.5)
    assert run.poll() is None
    run.terminate()
    run.communicate(timeout=20)
    assert run.returncode == 130


# The first KeyboardInterrupt is lost.
_DEAF = f"""
import survey.cli.stopping as stopping
call = stopping._Stop.__call__
def lost(self, number, frame):
    try:
        call(self, number, frame)
    except KeyboardInterrupt:
        pass
stopping._Stop.__call__ = lost
{PROGRAM[-1]}
"""


def test_a_hangup_that_is_ignored_stays_ignored(start: Callable[..., subprocess.Popen[str]]) -> None:
    run = start("serial", IGNORING)
    os.kill(run.pid, signal.SIGHUP)
    time.sleep(1)
    assert run.poll() is None
    run.terminate()
    run.communicate(timeout=20)
    assert run.returncode == 130
