"""Which node and GPU a model is measured on, and who writes what: several nodes on one machine."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from support import s3
from support.commands import Ran
from support.little_models import little
from support.ray_clusters import cluster_of

from catalog.read.reader import Reader
from catalog.store.open import open_for_reading
from jobs.demo.checkpoints import write
from jobs.demo.hub.local_hub import Fault, LocalHub, Stall
from jobs.executors.progress import Silence
from jobs.executors.ray_shares import LARGE_BYTES
from jobs.planning.memory import CUDA_BYTES, gpu_host_bytes, task_memory_bytes
from jobs.tasks.outcome import Failed
from survey.opening import open_checkpoint
from survey.records.settings import Settings, SpectrumChoice
from survey.records.target import ModelRef, Target
from survey.records.tensors import ByteRange
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

# Ray's nodes leave sockets unclosed in this process.
# Ray's own processes now and then fail to start; what fails for good fails three times.
pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.flaky(reruns=2, reruns_delay=5),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

Survey = Callable[..., Ran]


@pytest.fixture(scope="module")
def with_gpu() -> Iterator[str]:
    with cluster_of({"num_cpus": 2, "num_gpus": 1}, {"num_cpus": 2}) as cluster:
        yield cluster.address


@pytest.fixture
def targets(checkpoint: Callable[..., Path]) -> list[Target]:
    """Eight of one matrix; a cluster would fetch them."""
    opened = open_checkpoint(ModelRef("org/m", folder=checkpoint()), Settings())
    target = locate(lay_out(opened), "output")
    named = [replace(target.identity, repo=f"org/m{number}") for number in range(8)]
    predicted = task_memory_bytes(target, Settings())
    return [replace(target, identity=identity, folder=None, memory_bytes=predicted) for identity in named]


def placed(
    address: str,
    targets: list[Target],
    device: str,
    monkeypatch: pytest.MonkeyPatch,
    together: int = 1,
    lasting_s: float = 1,
    spectrum: SpectrumChoice = "off",
) -> list[dict[str, Any]]:
    """What each task saw of its node, in place of measuring. together: each waits until so many have begun."""
    from jobs.executors import ray_driver
    from jobs.executors.ray_session import RayOptions

    begun = tempfile.mkdtemp()  # the nodes are on this machine

    def describe(target: Target, tries: int, settings: Settings, coordinator: Any, commit_to: None) -> Failed:
        import json
        import os
        import tempfile
        import time

        import ray

        began = time.time()
        context = ray.get_runtime_context()
        coordinator.started.remote(target.key, tries, context.get_node_id())
        os.close(tempfile.mkstemp(dir=begun)[0])
        while len(os.listdir(begun)) < together and time.time() - began < 20:
            time.sleep(0.02)
        time.sleep(lasting_s)
        environment = {
            "gpus": ray.get_gpu_ids(), "visible": os.environ.get("CUDA_VISIBLE_DEVICES"), "process": os.getpid(),
            "node": context.get_node_id(), "share": context.get_assigned_resources().get("GPU", 0),
            "memory": context.get_assigned_resources().get("memory"), "from": began, "to": time.time(),
            "device": settings.device, "reason": settings.device_reason,
            "spectra": settings.spectra and (settings.spectra.name or settings.spectra.reason),
        }  # fmt: skip
        return Failed(target, "described", json.dumps(environment))

    monkeypatch.setattr(ray_driver, "measure_on_node", describe)
    options = RayOptions(address=address)
    settings = Settings(device=device, spectrum=spectrum)
    ended = list(ray_driver.run_on_ray(targets, settings, Silence(), options))
    shutil.rmtree(begun)
    assert sorted(outcome.target.key for outcome, _ in ended) == sorted(target.key for target in targets)
    assert {tries for _, tries in ended} == {1}
    failed = [outcome for outcome, _ in ended if isinstance(outcome, Failed)]
    if {outcome.reason for outcome in failed} == {"infeasible"}:
        return []
    return [json.loads(outcome.message) for outcome in failed]


def test_models_share_a_gpu_by_memory_while_other_nodes_work_too(
    with_gpu: str, targets: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("survey.onepass.device.GPU_PAYS_BYTES", 0)
    tasks = placed(with_gpu, targets, "auto", monkeypatch)
    on_gpu = [task for task in tasks if task["gpus"]]
    assert {task["share"] for task in on_gpu} == {0.04}  # 0.6 of 16 GB
    assert {(tuple(task["gpus"]), task["visible"]) for task in on_gpu} == {((0,), "0")}
    assert any(one["from"] < other["from"] < one["to"] for one in on_gpu for other in on_gpu)
    assert len({task["process"] for task in on_gpu}) < len(on_gpu)  # one starts torch and CUDA once
    assert len({task["node"] for task in on_gpu}) == 1
    assert len({task["node"] for task in tasks}) == 2
    assert 0 < len(on_gpu) < len(tasks)
    on_cpu = [task for task in tasks if not task["gpus"]]
    assert {task["memory"] for task in on_cpu} == {targets[0].memory_bytes}
    assert {task["memory"] for task in on_gpu} == {targets[0].memory_bytes + gpu_host_bytes(targets[0].spec)}


def test_auto_leaves_a_gpu_alone_that_would_not_pay(
    with_gpu: str, targets: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = placed(with_gpu, targets[:3], "auto", monkeypatch, lasting_s=0.1)
    assert [task["gpus"] for task in tasks] == [[], [], []]
    assert {(task["device"], task["reason"]) for task in tasks} == {
        ("cpu", "a GPU pays from 64 GB in folders")
    }


def test_spectra_take_a_share_of_the_gpu_beside_passes_on_cpus(
    with_gpu: str, targets: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("survey.spectra.device.SMALL_PRODUCTS", 0)
    planned = [replace(target, spectrum_bytes=1 << 20) for target in targets]
    tasks = placed(with_gpu, planned, "auto", monkeypatch, spectrum="auto")
    on_gpu = [task for task in tasks if task["gpus"]]
    assert {task["device"] for task in tasks} == {"cpu"}
    assert {(task["share"], task["spectra"]) for task in on_gpu} == {(0.04, "cuda")}
    assert {task["memory"] for task in on_gpu} == {targets[0].memory_bytes + (1 << 20) + CUDA_BYTES}
    others = [task for task in tasks if not task["gpus"]]  # on the node without a GPU
    assert others
    assert {task["spectra"] for task in others} == {"the GPUs were taken"}
    both = placed(with_gpu, planned, "auto", monkeypatch, spectrum="on")
    assert {task["spectra"] for task in both} == {"cpu", "cuda"}


def test_a_big_model_has_a_gpu_to_itself(
    with_gpu: str, targets: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.planning.memory.GPU_CONTEXT_BYTES", 40 << 30)
    tasks = placed(with_gpu, targets[:3], "cuda", monkeypatch)
    assert {task["share"] for task in tasks} == {1}
    tasks.sort(key=lambda task: float(task["from"]))
    assert all(one["to"] <= other["from"] for one, other in pairwise(tasks))


def test_a_cluster_without_gpus_needs_no_option(
    ray_address: str, targets: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = placed(ray_address, targets[:3], "auto", monkeypatch)
    assert [task["gpus"] for task in tasks] == [[], [], []]
    assert placed(ray_address, targets[:3], "cuda", monkeypatch) == []


def most_at_once(tasks: list[dict[str, Any]]) -> int:
    """How many tasks ran at some time."""
    return max(sum(other["from"] <= one["from"] < other["to"] for other in tasks) for one in tasks)


def test_models_that_take_their_time_to_come_share_a_cpu(
    ray_address: str, targets: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert most_at_once(placed(ray_address, targets[:5], "cpu", monkeypatch)) == 2
    large = [
        replace(target, spec=replace(target.spec, bytes=ByteRange(0, LARGE_BYTES))) for target in targets[:5]
    ]
    # One of five at a time would begin with the others, or within two seconds.
    assert most_at_once(placed(ray_address, large, "auto", monkeypatch, together=4, lasting_s=2)) == 4


def test_a_training_whose_worker_dies_is_started_again_and_at_last_given_up(
    ray_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.executors import ray_sweep
    from jobs.executors.ray_session import RayOptions
    from jobs.single_results.sweep import SweepFailure
    from survey.dynamics.config import Training, training

    def train(run: Training, history: None, name: Any, tries: int, coordinator: Any) -> SweepFailure:
        import os

        if run.seed == 3:
            raise LookupError("our defect")
        if run.seed == 2 or (run.seed == 1 and tries == 1):
            os._exit(1)
        return SweepFailure(run, f"ended in try {tries}")

    monkeypatch.setattr(ray_sweep, "train_on_node", train)
    runs = [training("goldilocks", {"seed": seed}) for seed in range(4)]
    ended = ray_sweep.execute_on_ray([(run, None) for run in runs], RayOptions(address=ray_address))
    problems = {run.seed: outcome.problem for run, outcome in ended if isinstance(outcome, SweepFailure)}
    assert "LookupError: our defect" in problems.pop(3)
    assert problems == {
        0: "ended in try 1",
        1: "ended in try 2",
        2: "its worker was lost 3 times: its worker process died",
    }


# ------------------------------------------------------------------------- nodes that are different


def serve(hub: LocalHub, folder: Path, *names: str) -> list[str]:
    for name in names:
        write(little(name), folder / "served" / name)
        hub.add_repo(f"org/{name}", folder / "served" / name)
    return [f"org/{name}" for name in names]


def rows_of(uri: str, sql: str) -> list[tuple[Any, ...]]:
    with Reader(open_for_reading(uri)) as reader:
        return reader.ask(sql).rows


def test_a_model_whose_only_fitting_node_dies_is_refused_with_the_numbers(
    hub: LocalHub, survey: Survey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = serve(hub, tmp_path, "big")
    monkeypatch.setattr("jobs.planning.memory.PROCESS_BYTES", 4 << 30)
    stall = Fault(Stall(120), server="cdn", skip=1, times=None)
    hub.faults.append(stall)
    with cluster_of({"num_cpus": 1, "memory": 2 << 30}, {"num_cpus": 1}) as cluster:
        (large,) = cluster.worker_nodes

        def kill() -> None:
            while stall.hits == 0 and not hub.closing.wait(0.1):
                pass
            cluster.remove_node(large, allow_graceful=False)

        killer = threading.Thread(target=kill)
        killer.start()
        ran = survey(
            "run", *models, "--catalog", "c", "--endpoint", hub.endpoint, "--address", cluster.address
        )
        killer.join()
    assert ran.code == 1
    assert "0 measured, 0 unchanged, 1 failed" in ran.out
    said = " ".join(ran.out.split())
    assert re.search(r"needs 4\.[3-5] GB of memory, the largest node has 2\.1 GB", said)  # 4 GiB and some
    assert rows_of("c", "SELECT repo, status, reason, tries FROM attempts") == [
        ("org/big", "failed", "infeasible", 2)
    ]
    assert list(Path("c/rows").iterdir()) == []


@pytest.fixture(scope="module")
def store() -> Iterator[s3.S3]:
    with s3.serve() as served, pytest.MonkeyPatch.context() as patch:
        for name, value in s3.environment(served.url).items():
            patch.setenv(name, value)
        yield served


KEYS = ("first", "second")


@pytest.fixture(scope="module")
def with_keys(store: s3.S3) -> Iterator[Cluster]:
    """Two nodes with keys of their own to the store, so that it knows who wrote what."""
    nodes = [{"num_cpus": 1, "env_vars": {"AWS_ACCESS_KEY_ID": key}} for key in KEYS]
    with cluster_of(*nodes) as cluster:
        yield cluster


@pytest.fixture
def uri(store: s3.S3) -> str:
    """A catalog in a bucket of its own: one store keeps what another was given, and what a first try left."""
    bucket = f"catalog-{uuid4().hex}"
    s3.make_bucket(bucket)
    store.requests.clear()
    store.writers.clear()
    return f"s3://{bucket}/catalog"


def test_each_node_writes_its_rows_to_an_object_store_once(
    hub: LocalHub, store: s3.S3, with_keys: Cluster, uri: str, survey: Survey, tmp_path: Path
) -> None:
    """The store is busy, and loses an answer."""
    models = serve(hub, tmp_path, *(f"m{number}" for number in range(6)))
    store.faults += [
        s3.Fault("SlowDown", contains="/rows/", times=2),
        s3.Fault("lost", contains="/tokens/", times=1),
    ]
    command = ["run", *models, "--catalog", uri, "--endpoint", hub.endpoint, "--address", with_keys.address]
    ran = survey(*command)
    assert ran.code == 0, ran.err
    assert "6 measured, 0 unchanged, 0 failed" in ran.out
    again = survey(*command)
    assert "0 measured, 6 unchanged, 0 failed" in again.out
    assert rows_of(uri, "SELECT count(*), count(DISTINCT repo), min(dead_count) FROM models_history") == [
        (6, 6, 10)
    ]
    assert rows_of(uri, "SELECT count(*), count(DISTINCT repo) FROM tokens") == [(1800, 6)]
    assert rows_of(uri, "SELECT status, tries, count(*) FROM attempts GROUP BY ALL ORDER BY ALL") == [
        ("measured", 1, 6),
        ("unchanged", 0, 6),
    ]
    writers = {
        folder: {key for path, key in store.writers if f"/{folder}/" in path}
        for folder in ("rows", "tokens", "attempts")
    }
    assert writers == {"rows": set(KEYS), "tokens": set(KEYS), "attempts": {"key"}}
    assert store.puts("/rows/") == 6 + 2
    assert store.puts("/tokens/") == 6 + 1


def test_a_node_that_dies_writes_nothing_twice_to_an_object_store(
    hub: LocalHub, with_keys: Cluster, uri: str, survey: Survey, tmp_path: Path
) -> None:
    """The last test of this cluster."""
    models = serve(hub, tmp_path, "one", "two")
    stall = Fault(Stall(5), server="cdn", skip=2, times=2)
    hub.faults.append(stall)
    (other,) = with_keys.worker_nodes

    def kill() -> None:
        while stall.hits < 2 and not hub.closing.wait(0.1):
            pass
        with_keys.remove_node(other, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    ran = survey("run", *models, "--catalog", uri, "--endpoint", hub.endpoint, "--address", with_keys.address)
    killer.join()
    assert ran.code == 0, ran.err
    assert rows_of(uri, "SELECT repo FROM models_history ORDER BY repo") == [("org/one",), ("org/two",)]
    assert rows_of(uri, "SELECT count(*) FROM tokens") == [(600,)]
    assert rows_of(uri, "SELECT status, tries FROM attempts ORDER BY tries") == [
        ("measured", 1),
        ("measured", 2),
    ]
