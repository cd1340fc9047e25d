"""Small models share a task of Ray's: which do, and what a lost worker costs those that shared it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.executors import ray_driver, ray_loop
from jobs.executors.progress import Silence
from jobs.executors.ray_session import RayOptions
from jobs.executors.ray_work import MOST_IN_BATCH, SMALL_BYTES, ModelWork, batch_size
from jobs.executors.ray_workload import RayTask
from jobs.planning.memory import task_memory_bytes
from jobs.tasks.outcome import Failed, Outcome
from survey.opening import open_checkpoint
from survey.records.settings import Settings
from survey.records.target import ModelRef, Target
from survey.records.tensors import ByteRange
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate

# Ray's own processes now and then fail to start; what fails for good fails three times.
# Ray's nodes leave sockets unclosed in this process.
pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.flaky(reruns=2, reruns_delay=5),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

Tasks = list[RayTask[ModelWork]]
COUNT, BAD = 40, "org/m3"


@pytest.fixture
def targets(checkpoint: Callable[..., Path]) -> list[Target]:
    """Forty of one matrix; a cluster would fetch them."""
    target = locate(lay_out(open_checkpoint(ModelRef("org/m", folder=checkpoint()), Settings())), "output")
    named = [replace(target.identity, repo=f"org/m{number}") for number in range(COUNT)]
    memory = task_memory_bytes(target, Settings())
    return [replace(target, identity=name, folder=None, memory_bytes=memory) for name in named]


def tasks_of(targets: list[Target], count: int) -> Tasks:
    """As many tasks, of these targets in turn."""
    chosen = [targets[number % len(targets)] for number in range(count)]
    return [RayTask(target.key, ModelWork(target, target.memory_bytes)) for target in chosen]


def changed(tasks: Tasks, number: int, **fields: Any) -> Tasks:
    """The same tasks, one of which has a target with other fields."""
    work = tasks[number].work
    tasks[number].work = replace(work, target=replace(work.target, **fields))
    return tasks


@pytest.mark.parametrize(
    ("count", "cpus", "size"),
    [
        pytest.param(1000, 2, MOST_IN_BATCH, id="many"),
        pytest.param(80, 2, 10, id="fewer towards the end"),
        pytest.param(9, 2, 1, id="the last ones"),
        pytest.param(1000, 500, 1, id="as many as the CPUs of a large cluster"),
        pytest.param(1, 0, 1, id="a cluster without CPUs"),
    ],
)
def test_small_models_share_tasks_so_that_all_workers_end_together(
    count: int, cpus: int, size: int, targets: list[Target]
) -> None:
    assert batch_size(tasks_of(targets, count), cpus) == size


def test_what_is_large_slow_or_was_lost_before_has_a_task_of_its_own(targets: list[Target]) -> None:
    large = replace(targets[0].spec, bytes=ByteRange(0, SMALL_BYTES))
    assert batch_size(changed(tasks_of(targets, 200), 0, spec=large), 2) == 1
    assert batch_size(changed(tasks_of(targets, 200), 5, spec=large), 2) == 5
    tokenizer = (("tokenizer.json", 7 << 20),)
    assert batch_size(changed(tasks_of(targets, 200), 4, tokenizer_files=tokenizer), 2) == 4
    assert batch_size(changed(tasks_of(targets, 200), 3, folder=Path("elsewhere")), 2) == 3
    again, alone = tasks_of(targets, 200), tasks_of(targets, 200)
    again[2].tries, alone[1].is_alone = 2, True
    assert (batch_size(again, 2), batch_size(alone, 2)) == (2, 1)


InTurn = Callable[[list[tuple[Target, int]], Settings, Any, None], list[Outcome]]


def describing(bad: str, *, dies: bool) -> InTurn:
    """In place of measuring in turn: says how many share the task; one of them kills its worker, or hangs."""

    def in_turn(
        targets: list[tuple[Target, int]], settings: Settings, coordinator: Any, commit_to: None
    ) -> list[Outcome]:
        import os
        import time

        import ray

        node = ray.get_runtime_context().get_node_id()
        for target, tries in targets:
            coordinator.started.remote(target.key, tries, node)
            if target.identity.repo == bad:
                time.sleep(1.0)  # its report has arrived
                os._exit(1) if dies else time.sleep(60)
        return [Failed(target, "described", str(len(targets))) for target, _ in targets]

    return in_turn


@pytest.mark.parametrize(
    ("fault", "reason", "tries"),
    [pytest.param("dies", "node-lost", 3, id="dies"), pytest.param("hangs", "timeout", 1, id="hangs")],
)
def test_one_model_that_takes_its_worker_along_costs_the_others_no_more_than_a_second_try(
    fault: str,
    reason: str,
    tries: int,
    ray_address: str,
    targets: list[Target],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_turn = describing(BAD, dies=fault == "dies")

    def alone(target: Target, number: int, *others: Any) -> Outcome:
        return in_turn([(target, number)], *others)[0]

    monkeypatch.setattr(ray_driver, "measure_in_turn_on_node", in_turn)
    monkeypatch.setattr(ray_driver, "measure_on_node", alone)
    monkeypatch.setattr(ray_loop, "GRACE_S", 2.0)
    settings = Settings(device="cpu", timeout_s=1.0)
    ended = list(ray_driver.run_on_ray(targets, settings, Silence(), RayOptions(address=ray_address)))
    by_repo = {outcome.target.identity.repo: (outcome, number) for outcome, number in ended}
    assert len(ended) == len(by_repo) == COUNT
    bad, number = by_repo.pop(BAD)
    assert isinstance(bad, Failed)
    assert (bad.reason, number) == (reason, tries)
    others = [(outcome, number) for outcome, number in by_repo.values() if isinstance(outcome, Failed)]
    assert {outcome.reason for outcome, _ in others} == {"described"}
    # Those before it in its batch were done, and are done again alone; those after it had not started.
    assert sorted(name for name, (_, number) in by_repo.items() if number == 2) == [
        "org/m0",
        "org/m1",
        "org/m2",
    ]
    assert {number for _, number in others} == {1, 2}
    assert any(outcome.message == "4" for outcome, _ in others)  # of the next 35, for two CPUs
