"""Joining a cluster that is there: from outside, as a job of it, and if something does not fit.

One node with a dashboard, a client server and Ray's token; the drivers are processes of their own.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.little_models import little
from support.planted_modules import imported, plant

from catalog.read.reader import Reader
from catalog.store.open import open_for_reading
from jobs.demo.checkpoints import write
from jobs.demo.hub.local_hub import LocalHub
from jobs.executors.ray_session import FORK_DIED, JOIN_TRIES, RayOptions, joined_cluster
from survey import VERSION
from survey.errors import UsageError

# Ray's own processes now and then fail to start; what fails for good fails three times.
pytestmark = [pytest.mark.timeout(240), pytest.mark.flaky(reruns=2, reruns_delay=5)]

RUN_S = 90  # no run may take longer
TOKEN = "hf_secretsecretsecretsecretsecret12"
RAY_TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}
COMMAND = "from survey.cli import entry; entry()"
# As many of the client server's children as the file says die at once, as they do in gRPC's fork handler.
# For such a child's log the server that forked it waits five times, for which Ray has no setting.
MORTAL = """
import os, pathlib
left, command = pathlib.Path(os.environ["DEATHS"]), pathlib.Path("/proc/self/cmdline").read_bytes()
if b"specific-server" in command and int(left.read_text()):
    left.write_text(str(int(left.read_text()) - 1))
    os._exit(1)
if b"ray.util.client.server" in command and b"specific-server" not in command:
    from ray.util.client.server import proxier
    proxier.LOGSTREAM_RETRIES = 1
"""


@dataclass(frozen=True)
class Head:
    """A cluster's only node. deaths: how many clients' servers are to die."""

    address: str
    outside: str
    dashboard: str
    session: Path
    deaths: Path
    hub: LocalHub

    def survey(self, *arguments: str, cwd: Path, program: str = COMMAND) -> tuple[int, str, str]:
        """The command in a process of its own."""
        command = [sys.executable, "-P", "-c", program, *arguments, "--endpoint", self.hub.endpoint]
        ran = subprocess.run(
            command, cwd=cwd, timeout=RUN_S, capture_output=True, text=True, env=os.environ | RAY_TOKEN
        )
        return ran.returncode, ran.stdout, ran.stderr

    def shows(self, path: str) -> str:
        """What the dashboard answers."""
        bearer = {"Authorization": f"Bearer {RAY_TOKEN['RAY_AUTH_TOKEN']}"}
        request = urllib.request.Request(f"{self.dashboard}/{path}", headers=bearer)
        with urllib.request.urlopen(request, timeout=20) as answer:
            text: str = answer.read().decode()
        return text


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (
            ConnectionError("Could not find any running Ray instance. Please specify\nthe one"),
            "Start one on this",
        ),
        (ConnectionError(f"{FORK_DIED[0]}:\nsee its log"), "Set GRPC_ENABLE_FORK_SUPPORT=0"),
        (RuntimeError("Version mismatch:\n  Ray: 2.1\n"), "Install the same Python and Ray"),
        (ConnectionError("ray client connection timeout"), "set RAY_AUTH_MODE=token"),
        (PermissionError(13, "Permission denied", "/root"), "Permission denied: '/root'"),
        (ValueError("no address"), "no address"),
    ],
    ids=["none here", "fork", "versions", "token", "a file", "a value"],
)
def test_whatever_ray_raises_is_one_line_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, error: Exception, advice: str
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr("jobs.executors.ray_session.init_ray", fail)
    monkeypatch.setattr("jobs.executors.ray_session.JOIN_TIMEOUTS", {})
    with pytest.raises(UsageError) as refused, joined_cluster(RayOptions("auto")):
        pass
    said = str(refused.value)
    assert said.startswith("cannot join the Ray cluster at auto: ")
    assert advice in said
    assert "\n" not in said


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    folder = tmp_path_factory.mktemp("head")
    (folder / "sitecustomize.py").write_text(MORTAL)
    (folder / "deaths").write_text("0")
    port, client, dashboard = free_port(), free_port(), free_port()
    environment = os.environ | RAY_TOKEN | {
        "PYTHONPATH": str(folder), "DEATHS": str(folder / "deaths"), "GRPC_ENABLE_FORK_SUPPORT": "0", "HF_TOKEN": TOKEN,
        "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "6",  # until it sees that a client's server is dead
    }  # fmt: skip
    with (
        tempfile.TemporaryDirectory(dir="/tmp", prefix="sv") as session,  # sockets want a short path
        LocalHub(users={TOKEN: frozenset({"org/private"})}) as hub,
        (folder / "log").open("wb") as log,
    ):
        for name in ("one", "two", "private"):
            write(little(name), folder / "served" / name)
            hub.add_repo(f"org/{name}", folder / "served" / name, private=name == "private")
        ray = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}",
             "--node-ip-address=127.0.0.1", f"--ray-client-server-port={client}", "--include-dashboard=true",
             f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={free_port()}", "--num-cpus=1",
             "--object-store-memory=100000000", "--disable-usage-stats", f"--temp-dir={session}"],
            env=environment, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{dashboard}"
            node = Head(
                f"127.0.0.1:{port}", f"ray://127.0.0.1:{client}", url, Path(session), folder / "deaths", hub
            )
            for listener in (client, dashboard):
                answers(listener)
            yield node
        finally:
            ray.terminate()
            ray.wait(timeout=60)


def answers(port: int, limit_s: float = 60) -> None:
    end = time.monotonic() + limit_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < end, f"nobody listens at port {port}"
            time.sleep(0.2)
        else:
            return


def rows_of(catalog: Path, sql: str) -> list[tuple[object, ...]]:
    with Reader(open_for_reading(str(catalog))) as reader:
        return reader.ask(sql).rows


def test_a_server_that_died_while_it_was_forked_is_asked_for_again(
    head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_CLIENT_RECONNECT_GRACE_PERIOD", "1")  # Ray waits for a dead one so long
    head.deaths.write_text("1")
    code, out, err = head.survey("run", "org/one", "--catalog", "c", "--address", head.outside, cwd=tmp_path)
    assert code == 0, err
    assert head.deaths.read_text() == "0"
    assert "1 measured" in out
    assert rows_of(tmp_path / "c", "SELECT repo, tries FROM attempts") == [("org/one", 1)]


@pytest.mark.parametrize("words", FORK_DIED)
def test_a_head_whose_servers_always_die_is_named(
    head: Head, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """In words of Ray's; a real one would take minutes."""
    asked_for: list[str] = []

    def init(address: str, **_: object) -> None:
        asked_for.append(address)
        raise ConnectionAbortedError(f"Initialization failure from server:\n{words}. See …")

    monkeypatch.setattr("ray.init", init)
    advice = f"(?s)cannot join .*{words}.*Set GRPC_ENABLE_FORK_SUPPORT=0"
    with pytest.raises(UsageError, match=advice), joined_cluster(RayOptions(head.outside)):
        pass
    assert asked_for == [head.outside] * JOIN_TRIES


@pytest.mark.parametrize("way", ["address", "outside"])
def test_another_version_of_ray_is_named_with_what_to_do(head: Head, tmp_path: Path, way: str) -> None:
    program = f"import ray; ray.__version__ = '2.50.0'; {COMMAND}"
    address = str(getattr(head, way))
    command = ["run", "org/one", "--catalog", "c", "--address", address]
    code, _, err = head.survey(*command, cwd=tmp_path, program=program)
    assert code == 2
    assert f"cannot join the Ray cluster at {address}" in err
    assert "2.50.0" in err
    assert "Install the same Python and Ray here as on the cluster" in err
    assert "Traceback" not in err


def test_another_version_of_this_package_is_named_with_what_to_do(head: Head, tmp_path: Path) -> None:
    program = f"import survey; survey.VERSION = '9.9'; {COMMAND}"
    command = ["run", "org/one", "--catalog", "c", "--address", head.address]
    code, _, err = head.survey(*command, cwd=tmp_path, program=program)
    assert code == 2
    assert f"has centroid-survey {VERSION}, this is 9.9: install the same there, or add --ship-code" in err


def test_a_job_of_the_cluster_measures_and_tells_nobody_the_token(head: Head, tmp_path: Path) -> None:
    """The token is in the head's environment, the job's driver runs there, Ray sets RAY_ADDRESS."""
    survey = Path(sys.executable).with_name("survey")
    run = [
        str(survey),
        "run",
        "org/private",
        "org/one",
        "--catalog",
        str(tmp_path / "c"),
        "--endpoint",
        head.hub.endpoint,
    ]
    head.hub.clear_log()
    ran = subprocess.run(
        [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", head.dashboard, "--", *run],
        cwd=tmp_path, timeout=RUN_S, capture_output=True, text=True, env=os.environ | RAY_TOKEN,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 measured, 0 unchanged, 0 failed" in ran.stdout
    assert rows_of(tmp_path / "c", "SELECT repo, tries FROM attempts ORDER BY repo") == [
        ("org/one", 1),
        ("org/private", 1),
    ]
    assert any(request.authorization for request in head.hub.requests("hub"))
    jobs = json.loads(head.shows("api/jobs/"))
    (job,) = (job for job in jobs if job["type"] == "SUBMISSION")
    assert job["status"] == "SUCCEEDED"
    shown = [head.shows(f"api/{path}") for path in ("jobs/", f"jobs/{job['submission_id']}/logs", "v0/tasks?detail=1",
                                                    "v0/actors?detail=1", "v0/workers?detail=1", "v0/runtime_envs?detail=1")]  # fmt: skip
    assert "measure" in shown[2]
    assert TOKEN not in ran.stdout + ran.stderr + "".join(shown)
    logs = [
        path for path in head.session.rglob("*") if path.suffix in (".log", ".out", ".err", ".json", ".txt")
    ]
    assert len(logs) > 10
    assert [path.name for path in logs if path.is_file() and TOKEN.encode() in path.read_bytes()] == []
    assert all(
        TOKEN.encode() not in path.read_bytes() for path in (tmp_path / "c").rglob("*") if path.is_file()
    )


@pytest.mark.parametrize("code", [[], ["--ship-code"]], ids=["installed", "shipped"])
@pytest.mark.parametrize("way", ["address", "outside"])
def test_no_python_of_the_working_folder_runs_on_a_cluster(
    head: Head, tmp_path: Path, way: str, code: list[str]
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    mark = plant(folder)
    command = ["run", "org/one", "--catalog", "c", "--address", str(getattr(head, way)), *code]
    ended, out, err = head.survey(*command, cwd=folder)
    assert imported(mark) == [], err
    assert ended == 0, out + err


def test_a_job_runs_no_python_of_the_folder_that_it_is_sent_from(head: Head, tmp_path: Path) -> None:
    mark = plant(tmp_path)
    survey = Path(sys.executable).with_name("survey")
    run = [survey, "run", "org/two", "--catalog", tmp_path / "c", "--endpoint", head.hub.endpoint]
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "ray.scripts.scripts", "job", "submit", "--address", head.dashboard, "--", *run],
        cwd=tmp_path, timeout=RUN_S, capture_output=True, text=True, env=os.environ | RAY_TOKEN,
    )  # fmt: skip
    assert imported(mark) == [], ran.stdout + ran.stderr
    assert ran.returncode == 0, ran.stdout + ran.stderr
