"""What the driver does when Ray's workers do not behave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from conftest import Ran, little
from rayjob import RAYJOB

from catalog.place import place_to_read
from catalog.read import Reader
from jobs.demo.checkpoints import write
from jobs.demo.hub import Fault, LocalHub, Shape, Stall
from jobs.outcome import Failed
from jobs.progress import Silence
from survey.locate import lay_out, locate
from survey.matrix import open_checkpoint
from survey.records import ModelRef, Settings, Target

Survey = Callable[..., Ran]


def asked(sql: str) -> list[tuple[object, ...]]:
    with Reader(place_to_read("c")) as reader:
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
    assert asked("SELECT repo FROM models") == [("org/quick",)]
    assert asked("SELECT repo, reason FROM attempts ORDER BY repo") == [
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
    assert asked("SELECT DISTINCT reason, count(*) FROM attempts GROUP BY ALL") == [("interrupted", 2)]


def workers() -> set[int]:
    """The processes that run a measuring task now."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"ray::measure" in path.read_bytes():
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found


def test_a_killed_worker_is_replaced_and_at_last_given_up(
    slow: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = workers()
    run = start("run", "org/stuck", "org/quick", "--catalog", "c", "--endpoint", slow.endpoint, cwd=tmp_path)
    for tries in (1, 2, 3):
        wait_for(lambda: list(tmp_path.glob("c/rows/*.parquet")) != [], "the quick model")
        wait_for(lambda tries=tries: slow.faults[0].hits >= tries, f"try {tries}")  # type: ignore[misc]
        for process in workers() - before:
            os.kill(process, signal.SIGKILL)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 1, err
    assert "raylet" not in out
    assert "1 measured, 0 unchanged, 1 failed" in out
    assert asked("SELECT repo, status, reason, tries FROM attempts ORDER BY repo")[1] == (
        "org/stuck",
        "failed",
        "node-lost",
        3,
    )
    assert asked("SELECT repo, dead_count FROM models") == [("org/quick", 10)]


def test_a_model_that_needs_more_memory_than_any_node_has_is_refused(
    slow: LocalHub, survey: Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("survey.memory.PROCESS_BYTES", 1 << 50)
    ran = survey("run", "org/quick", "--catalog", "c", "--endpoint", slow.endpoint)
    assert ran.code == 1
    assert "infeasible" in ran.out
    assert "needs 1125899.9 GB of memory, the largest node has" in ran.out


@pytest.mark.parametrize("executor", ["serial", "ray"])
def test_a_model_has_a_deadline(hub: LocalHub, survey: Survey, tmp_path: Path, executor: str) -> None:
    write(little("slow"), tmp_path / "slow")
    hub.add_repo("org/slow", tmp_path / "slow")
    hub.shape = Shape(latency_s=0.6)
    ran = survey(
        "run",
        "org/slow",
        "--catalog",
        "c",
        "--endpoint",
        hub.endpoint,
        "--timeout",
        "1",
        "--executor",
        executor,
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


# ------------------------------------------------------------------------------------------ GPUs


def ray_nodes(*nodes: dict[str, int]) -> Iterator[str]:
    """The address of a Ray whose nodes say that they have these; its GPUs are only declared."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(shutdown_at_exit=False)
    try:
        for resources in nodes:
            cluster.add_node(**resources, memory=8 << 30, object_store_memory=100_000_000)
        yield cluster.address
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(scope="module")
def with_gpu() -> Iterator[str]:
    yield from ray_nodes({"num_cpus": 2, "num_gpus": 1}, {"num_cpus": 2})


@pytest.fixture(scope="module")
def without_gpu() -> Iterator[str]:
    yield from ray_nodes({"num_cpus": 2})


@pytest.fixture
def targets(checkpoint: Callable[..., Path]) -> list[Target]:
    """Eight of one matrix; a cluster would fetch them."""
    found = open_checkpoint(ModelRef("org/m", folder=checkpoint()), Settings())
    target = locate(found, lay_out(found), "output", 8)
    named = [replace(target.identity, repo=f"org/m{number}") for number in range(8)]
    return [replace(target, identity=identity, folder=None) for identity in named]


def placed(
    address: str, targets: list[Target], device: str, monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, Any]]:
    """What each task saw of its node, in place of measuring."""
    from jobs import cluster
    from jobs.cluster_join import RayOptions

    def look(target: Target, settings: Settings, desk: Any, commit_to: None) -> Failed:
        import json
        import os
        import time

        import ray

        began = time.time()
        context = ray.get_runtime_context()
        desk.started.remote(target.key, context.get_node_id())
        time.sleep(1)
        seen = {
            "gpus": ray.get_gpu_ids(), "visible": os.environ.get("CUDA_VISIBLE_DEVICES"), "process": os.getpid(),
            "node": context.get_node_id(), "share": context.get_assigned_resources().get("GPU", 0),
            "memory": context.get_assigned_resources().get("memory"), "from": began, "to": time.time(),
        }  # fmt: skip
        return Failed(target, "looked", json.dumps(seen))

    monkeypatch.setattr(cluster, "measure_on_node", look)
    options = RayOptions(address=address)
    ended = list(cluster.run_on_ray(targets, Settings(device=device), Silence(), options))
    assert sorted(outcome.target.key for outcome, _ in ended) == sorted(target.key for target in targets)
    assert {tries for _, tries in ended} == {1}
    failed = [outcome for outcome, _ in ended if isinstance(outcome, Failed)]
    if {outcome.reason for outcome in failed} == {"infeasible"}:
        return []
    return [json.loads(outcome.message) for outcome in failed]


def test_models_share_a_gpu_by_memory_while_other_nodes_work_too(
    with_gpu: str, targets: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = placed(with_gpu, targets, "auto", monkeypatch)
    on_gpu = [task for task in seen if task["gpus"]]
    assert {task["share"] for task in on_gpu} == {0.04}  # 0.6 of 16 GB
    assert {(tuple(task["gpus"]), task["visible"]) for task in on_gpu} == {((0,), "0")}
    assert any(one["from"] < other["from"] < one["to"] for one in on_gpu for other in on_gpu)
    assert len({task["process"] for task in on_gpu}) == len(on_gpu)  # a new process for each
    assert len({task["node"] for task in on_gpu}) == 1
    assert len({task["node"] for task in seen}) == 2
    assert 0 < len(on_gpu) < len(seen)
    assert {task["memory"] for task in seen} == {targets[0].memory_bytes}


def test_a_big_model_has_a_gpu_to_itself(
    with_gpu: str, targets: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("survey.memory.GPU_CONTEXT_BYTES", 40 << 30)
    seen = placed(with_gpu, targets[:3], "cuda", monkeypatch)
    assert {task["share"] for task in seen} == {1}
    seen.sort(key=lambda task: float(task["from"]))
    assert all(one["to"] <= other["from"] for one, other in pairwise(seen))


def test_a_cluster_without_gpus_needs_no_option(
    without_gpu: str, targets: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = placed(without_gpu, targets[:3], "auto", monkeypatch)
    assert [task["gpus"] for task in seen] == [[], [], []]
    assert placed(without_gpu, targets[:3], "cuda", monkeypatch) == []


# --------------------------------------------------------------------------------------- recipes

RECIPES = Path(__file__).parents[2] / "jobs" / "clusters"


def test_the_recipe_for_plain_machines_is_what_ray_up_takes() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(yaml.safe_load((RECIPES / "ray-up.yaml").read_text()))
    validate_config(prepared)
    assert prepared["max_workers"] == len(prepared["provider"]["worker_ips"]) == 2


def test_the_recipe_for_slurm_is_a_script_with_a_valid_command() -> None:
    from ray.scripts.symmetric_run import curate_and_validate_ray_start_args

    script = (RECIPES / "slurm.sh").read_text()
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    ray_part, separator, command = script.partition("symmetric-run ")[2].partition(" -- \\\n")
    assert separator
    assert curate_and_validate_ray_start_args(ray_part.split()) == []
    assert command.split()[:2] == ["survey", "run"]


def rayjob() -> dict[str, Any]:
    job: dict[str, Any] = yaml.safe_load((RECIPES / "kuberay-rayjob.yaml").read_text())
    return job


def test_the_recipe_for_kubernetes_has_the_fields_of_a_rayjob() -> None:
    jsonschema.validate(rayjob(), RAYJOB)


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ((), "entryPoint", "survey run"),
        (("rayClusterSpec",), "rayversion", "2.60.0"),
        (("rayClusterSpec", "authOptions"), "mode", "Token"),
        (("rayClusterSpec", "headGroupSpec"), "rayStartParams", {"num-cpus": 0}),
        (("rayClusterSpec", "workerGroupSpecs", 0), "replicas", "4"),
        (("rayClusterSpec", "workerGroupSpecs", 0, "template"), "containers", []),
    ],
)
def test_a_field_that_a_rayjob_does_not_have_is_noticed(
    path: tuple[Any, ...], name: str, value: object
) -> None:
    job = rayjob()
    place = job["spec"]
    for step in path:
        place = place[step]
    place[name] = value
    with pytest.raises(jsonschema.ValidationError, match=str(name)):
        jsonschema.validate(job, RAYJOB)


def test_the_recipe_for_kubernetes_has_valid_pods() -> None:
    import kubernetes_validate

    job = rayjob()
    groups = [
        job["spec"]["rayClusterSpec"]["headGroupSpec"],
        *job["spec"]["rayClusterSpec"]["workerGroupSpecs"],
    ]
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p"},
            "spec": group["template"]["spec"],
        }
        kubernetes_validate.validate(pod, "1.33", strict=True)


@pytest.mark.parametrize("name", ["ray-up.yaml", "slurm.sh", "kuberay-rayjob.yaml"])
def test_the_command_of_a_recipe_is_one_of_ours(name: str) -> None:
    from survey.cli.measuring import run

    text = (RECIPES / name).read_text().replace("\\\n", " ")
    (line,) = [line for line in text.splitlines() if "survey run " in line]
    arguments = line.partition("survey run ")[2].rstrip("'").split()
    parsed = run.make_context("run", arguments)
    assert parsed.params["models"]
    assert parsed.params["uri"]
