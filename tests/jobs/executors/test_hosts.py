"""A cluster of real hosts: networks, filesystems and processes of their own.

The driver is outside (`ray://`) unless a test says otherwise. Every run has a deadline: whatever
happens to a host, the driver ends, with the right catalog and nothing twice.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support import hosts
from support.little_models import little
from support.tls import certificate, relay

from catalog.read.reader import Reader
from catalog.store.open import open_for_reading
from jobs.demo.checkpoints import write
from jobs.demo.hub.local_hub import Fault, LocalHub, Stall
from jobs.executors.ray_session import JOIN_TIMEOUTS

# Ray's own processes now and then fail to start; what fails for good fails three times.
pytestmark = [pytest.mark.timeout(240), pytest.mark.flaky(reruns=2, reruns_delay=5)]

CLUSTER_PORT, CLIENT_PORT = 26379, 26380
ROOT = Path(__file__).parents[3]
PACKAGES = [ROOT / name for name in ("survey", "catalog", "jobs", "queries")]
TOKEN = "hf_secretsecretsecretsecretsecret12"
RAY_TOKEN = "a" * 64
RUN_S = 100  # no run may take longer
# gRPC's fork handler sometimes kills what Ray's client server forks, see `ray_session`. And Ray
# takes half a minute by itself to believe that a node is gone; here, ten seconds.
ENVIRONMENT = {
    "GRPC_ENABLE_FORK_SUPPORT": "0",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
}
NODES = """
import sys, time
from ray._raylet import GcsClient
client = GcsClient(sys.argv[1])
while sum(node.state == 0 for node in client.get_all_node_info().values()) != int(sys.argv[2]):
    time.sleep(0.2)
"""


class Cluster:
    """Two hosts, each a Ray node with one CPU, and a Hub that they can reach."""

    def __init__(
        self, folder: Path, hosts_by_name: dict[str, hosts.Host], hub: LocalHub, secured: str
    ) -> None:
        self.folder, self.hosts, self.hub = folder, hosts_by_name, hub
        self.secured = secured  # the Hub's URL by https: a token goes no other way to another machine
        self.address = f"ray://{hosts_by_name['head'].address}:{CLIENT_PORT}"

    def start(self) -> None:
        head = self.hosts["head"].address
        self._start("head", "--head", f"--port={CLUSTER_PORT}", f"--ray-client-server-port={CLIENT_PORT}",
                    "--include-dashboard=false")  # fmt: skip
        hosts.listening(head, CLIENT_PORT)
        self.start_second()

    def start_second(self) -> None:
        head = f"{self.hosts['head'].address}:{CLUSTER_PORT}"
        self._start("second", f"--address={head}")
        self.has_nodes(2)

    def has_nodes(self, count: int) -> None:
        """Wait until it has so many living nodes."""
        head = f"{self.hosts['head'].address}:{CLUSTER_PORT}"
        command = [hosts.PYTHON, "-c", NODES, head, str(count)]
        subprocess.run(command, timeout=60, capture_output=True, check=True)

    def _start(self, name: str, *arguments: str) -> None:
        host = self.hosts[name]
        settings = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        settings.append(f"SSL_CERT_FILE={self.folder / 'authority.pem'}")
        host.start(
            "env", *settings, hosts.PYTHON, "-m", "ray.scripts.scripts", "start", *arguments, f"--node-ip-address={host.address}",
            "--num-cpus=1", "--object-store-memory=100000000", f"--temp-dir={host.scratch}",
            "--disable-usage-stats", "--block", log=self.folder / f"{name}.log",
        )  # fmt: skip

    def survey(
        self, *arguments: str | Path, cwd: Path, host: hosts.Host | None = None
    ) -> subprocess.Popen[str]:
        """The command, in a process of its own, on a host or outside."""
        command = [hosts.PYTHON, "-c", "from survey.cli import entry; entry()", *map(str, arguments)]
        return subprocess.Popen(host.command("env", "-C", cwd, *command) if host else command,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd)  # fmt: skip


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    hosts.require()
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "hidden").mkdir()
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": RAY_TOKEN}
    try:
        # The drivers' folder is hidden: no node can see the catalog of another machine.
        with (
            hosts.network(["head", "second"], [folder / "hidden"]) as hosts_by_name,
            LocalHub(host=hosts.OURSELVES, users={TOKEN: frozenset({"org/private"})}) as hub,
            relay(certificate(folder, hosts.OURSELVES).server, *address_of(hub)) as secured,
        ):
            for name in ("one", "two", "three", "four", "private", "stuck"):
                write(little(name), folder / "served" / name)
                hub.add_repo(f"org/{name}", folder / "served" / name, private=name == "private")
            made = Cluster(folder, hosts_by_name, hub, secured)
            made.start()
            yield made
    finally:
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            os.environ.pop(name, None)


def address_of(hub: LocalHub) -> tuple[str, tuple[str, int]]:
    """The host that a relay listens on, and where it leads to."""
    parts = urlsplit(hub.endpoint)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, (parts.hostname, parts.port)


@pytest.fixture
def here(cluster: Cluster) -> Path:
    """A folder of the driver that no node can see; a test that is run again gets another."""
    cluster.hub.faults.clear()
    cluster.hub.clear_log()
    return Path(tempfile.mkdtemp(dir=cluster.folder / "hidden"))


def ended(run: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = run.communicate(timeout=RUN_S)
    return run.returncode, out, err


def rows_of(folder: Path, sql: str) -> list[tuple[object, ...]]:
    with Reader(open_for_reading(str(folder / "c"))) as reader:
        return reader.ask(sql).rows


def wait_for(condition: Callable[[], bool], what: str, limit_s: float = 60) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"waited {limit_s} s for {what}"
        time.sleep(0.05)


def test_models_spread_over_the_nodes_and_rows_come_to_the_driver(cluster: Cluster, here: Path) -> None:
    names = ["org/one", "org/two", "org/three", "org/four"]
    code, out, err = ended(cluster.survey("run", *names, "--catalog", "c", "--address", cluster.address,
                                          "--endpoint", cluster.hub.endpoint, cwd=here))  # fmt: skip
    assert code == 0, err
    assert "4 measured" in out
    assert rows_of(here, "SELECT repo FROM models ORDER BY repo") == [(name,) for name in sorted(names)]
    assert rows_of(here, "SELECT count(*) FROM tokens") == [(1200,)]
    assert {host for (host,) in rows_of(here, "SELECT DISTINCT host FROM models")} == {"head", "second"}


def test_a_driver_on_a_node_receives_the_rows_of_the_other(cluster: Cluster) -> None:
    """Its folder exists on its own host only: looked at from there."""
    head = cluster.hosts["head"]
    names = ["org/one", "org/two", "org/three", "org/four"]
    folder = Path("/dev/shm")
    run = cluster.survey("run", *names, "--catalog", "c", "--address", f"{head.address}:{CLUSTER_PORT}",
                         "--endpoint", cluster.hub.endpoint, cwd=folder, host=head)  # fmt: skip
    code, out, err = ended(run)
    assert code == 0, err
    assert "4 measured" in out
    sql = "SELECT count(*) AS models, count(DISTINCT host) AS hosts FROM models"
    _, printed, _ = ended(
        cluster.survey("sql", sql, "--catalog", "c", "--format", "csv", cwd=folder, host=head)
    )
    assert printed == "models,hosts\n4,2\n"


def test_a_folder_of_the_driver_that_no_node_can_see_is_refused(cluster: Cluster, here: Path) -> None:
    write(little("mine"), here / "mine")
    code, out, _ = ended(cluster.survey("run", "./mine", "org/one", "--catalog", "c", "--address", cluster.address,
                                        "--endpoint", cluster.hub.endpoint, cwd=here))  # fmt: skip
    assert code == 1
    assert "not-on-cluster" in out
    assert "1 measured, 0 unchanged, 1 failed" in out


def test_the_token_reaches_the_nodes_and_nobody_else(
    cluster: Cluster, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("SSL_CERT_FILE", str(cluster.folder / "authority.pem"))
    run = cluster.survey("run", "org/private", "--catalog", "c", "--address", cluster.address,
                         "--endpoint", cluster.secured, cwd=here)  # fmt: skip
    code, out, err = ended(run)
    assert code == 0, err
    assert not any(request.authorization for request in cluster.hub.requests("cdn"))
    assert TOKEN not in out + err
    assert all(TOKEN.encode() not in path.read_bytes() for path in (here / "c").rglob("*") if path.is_file())
    for host in cluster.hosts.values():
        grep = subprocess.run(host.command("grep", "-rl", TOKEN, host.scratch, "--include=*.log", "--include=*.out",
                                            "--include=*.err", "--include=*.txt", "--include=*.json"),
                               capture_output=True, text=True)  # fmt: skip
        assert grep.stdout == ""


def test_without_the_clusters_token_the_error_says_what_to_set(
    cluster: Cluster, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "b" * 64)
    for name in JOIN_TIMEOUTS:
        monkeypatch.setenv(name, "1")  # of Ray's three tries
    run = cluster.survey("run", "org/one", "--catalog", "c", "--address", cluster.address,
                         "--endpoint", cluster.hub.endpoint, cwd=here)  # fmt: skip
    code, _, err = ended(run)
    assert code == 2
    assert "cannot join the Ray cluster" in err
    assert "RAY_AUTH_MODE=token" in err


def test_nodes_without_the_package_are_named_and_can_be_sent_it(cluster: Cluster, here: Path) -> None:
    command = [
        "run",
        "org/one",
        "org/two",
        "--catalog",
        "c",
        "--address",
        cluster.address,
        "--endpoint",
        cluster.hub.endpoint,
    ]
    second = cluster.hosts["second"]
    for package in PACKAGES:
        subprocess.run(second.command("mount", "-t", "tmpfs", "none", package), check=True)
    try:
        code, _, err = ended(cluster.survey(*command, cwd=here))
        assert code == 2
        assert f"the node {second.address} lacks centroid-survey" in err
        assert "--ship-code" in err
        code, out, err = ended(cluster.survey(*command, "--ship-code", cwd=here))
        assert code == 0, err
        assert "2 measured" in out
        # A driver on the head sends it another way.
        head = cluster.hosts["head"]
        command[4:7] = ["shipped", "--address", f"{head.address}:{CLUSTER_PORT}"]
        run = cluster.survey(*command, "--ship-code", cwd=Path("/dev/shm"), host=head)
        code, out, err = ended(run)
        assert code == 0, err
        assert "2 measured" in out
    finally:
        for package in PACKAGES:
            subprocess.run(second.command("umount", package), check=True)


def both_fetch(cluster: Cluster, here: Path, stalls: int) -> subprocess.Popen[str]:
    """A run of two models, one on each node, whose downloads have just stalled for a while."""
    cluster.hub.faults.append(Fault(Stall(4), server="cdn", skip=2, times=stalls))
    run = cluster.survey("run", "org/one", "org/two", "--catalog", "c", "--address", cluster.address,
                         "--endpoint", cluster.hub.endpoint, cwd=here)  # fmt: skip
    wait_for(lambda: cluster.hub.faults[0].hits == 2, "both nodes to fetch")
    return run


def test_a_cable_that_is_out_for_a_moment_costs_no_try(cluster: Cluster, here: Path) -> None:
    run = both_fetch(cluster, here, stalls=2)
    cluster.hosts["second"].cut()
    time.sleep(2)
    cluster.hosts["second"].mend()
    code, out, err = ended(run)
    assert code == 0, err
    assert "2 measured" in out
    assert rows_of(here, "SELECT repo, host FROM models ORDER BY host") == rows_of(
        here, "SELECT repo, host FROM models_history ORDER BY host"
    )
    assert {host for (host,) in rows_of(here, "SELECT host FROM models")} == {"head", "second"}
    assert rows_of(here, "SELECT status, tries FROM attempts") == [("measured", 1)] * 2
    assert rows_of(here, "SELECT count(*) FROM tokens") == [(600,)]


def test_a_node_cut_off_from_the_network_is_left_behind_and_may_come_back(
    cluster: Cluster, here: Path
) -> None:
    """One cable is pulled until the other node has begun to do all the work."""
    second = cluster.hosts["second"]
    run = both_fetch(cluster, here, stalls=3)
    second.cut()
    try:
        wait_for(lambda: cluster.hub.faults[0].hits == 3, "the model to be fetched again")
    finally:
        second.mend()
    # What was cut off is awake again and delivers, too: nobody waits for it.
    code, out, err = ended(run)
    assert code == 0, err
    assert "2 measured" in out
    assert rows_of(here, "SELECT repo, host FROM models_history ORDER BY repo") == [
        ("org/one", "head"),
        ("org/two", "head"),
    ]
    assert sorted(rows_of(here, "SELECT status, tries FROM attempts")) == [("measured", 1), ("measured", 2)]
    assert rows_of(here, "SELECT count(*) FROM tokens") == [(600,)]
    second.stop()
    cluster.start_second()
    code, out, err = ended(cluster.survey("run", "org/three", "org/four", "--catalog", "c", "--address", cluster.address,
                                          "--endpoint", cluster.hub.endpoint, cwd=here))  # fmt: skip
    assert code == 0, err
    names = "('org/three', 'org/four')"
    assert {host for (host,) in rows_of(here, f"SELECT host FROM models WHERE repo IN {names}")} == {
        "head",
        "second",
    }


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_a_driver_that_dies_leaves_the_cluster_to_the_next_which_does_the_rest(
    cluster: Cluster, here: Path, name: str
) -> None:
    run = both_fetch(cluster, here, stalls=2)
    run.send_signal(getattr(signal, name))
    code, out, err = ended(run)
    if name == "SIGTERM":
        assert (code, "interrupted; run again for the rest" in out) == (130, True), err
        attempts = rows_of(here, "SELECT repo, reason FROM attempts ORDER BY repo")
        assert attempts == [("org/one", "interrupted"), ("org/two", "interrupted")]
    else:
        assert code == -signal.SIGKILL
    cluster.has_nodes(2)
    names = ["org/one", "org/two", "org/three"]
    code, out, err = ended(cluster.survey("run", *names, "--catalog", "c", "--address", cluster.address,
                                          "--endpoint", cluster.hub.endpoint, cwd=here))  # fmt: skip
    assert code == 0, err
    assert "3 measured, 0 unchanged, 0 failed" in out
    rows = rows_of(here, "SELECT repo FROM models_history ORDER BY repo")
    assert rows == [("org/one",), ("org/three",), ("org/two",)]
    assert rows_of(here, "SELECT count(*) FROM tokens") == [(900,)]


def test_a_node_that_dies_is_replaced_by_the_others(cluster: Cluster, here: Path) -> None:
    """The last test of this cluster: its second host loses its power."""
    run = both_fetch(cluster, here, stalls=2)
    cluster.hosts["second"].kill()
    code, out, err = ended(run)
    assert code == 0, err
    assert "2 measured" in out
    assert rows_of(here, "SELECT repo, host FROM models_history ORDER BY repo") == [
        ("org/one", "head"),
        ("org/two", "head"),
    ]
    assert sorted(rows_of(here, "SELECT status, tries FROM attempts")) == [("measured", 1), ("measured", 2)]
    assert rows_of(here, "SELECT count(*) FROM tokens") == [(600,)]
