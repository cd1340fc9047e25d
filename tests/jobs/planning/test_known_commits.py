"""What a run asks of the Hub about models that were surveyed before, and what it says of those that moved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import Ran
from support.little_models import LITTLE, little

from catalog.read.reader import Reader
from catalog.store.open import open_for_reading
from jobs.demo.checkpoints import write
from jobs.demo.hub.local_hub import Fault, LocalHub, Status

Survey = Callable[..., Ran]
NAMES = [f"org/m{number}" for number in range(6)]


def files(folder: Path, seed: int) -> dict[str, Path]:
    cloud = type(LITTLE)(**{name: getattr(LITTLE, name) for name in LITTLE.__slots__} | {"seed": seed})
    write(little("m", cloud=cloud), folder / str(seed))
    return {path.name: path for path in (folder / str(seed)).iterdir()}


@pytest.fixture
def again(hub: LocalHub, survey: Survey) -> Callable[..., Ran]:
    """Runs the survey; afterwards the Hub's log holds what this run asked."""

    def run(*models: str, code: int = 0) -> Ran:
        hub.clear_log()
        ran = survey("run", *models, "--catalog", "c", "--endpoint", hub.endpoint, "--executor", "serial",
                     "--no-tokens", "--summary", "out.json")  # fmt: skip
        assert ran.code == code, ran.out
        return ran

    return run


@pytest.fixture
def surveyed(hub: LocalHub, again: Callable[..., Ran], tmp_path: Path) -> LocalHub:
    """Six models of one author, and more that nobody asked for."""
    for seed, name in enumerate(NAMES):
        hub.add_repo(name, files(tmp_path, seed))
    hub.add_repo("org/other", {"config.json": b"{}"})
    again(*NAMES)
    return hub


def requested_paths(hub: LocalHub) -> list[str]:
    return [entry.path for entry in hub.log]


def gone() -> list[str]:
    changes: dict[str, Any] = json.loads(Path("out.json").read_text())["changes"]
    return [f"{item['repo']}@{item['revision']}" for item in changes["gone"]]


def test_many_models_of_an_author_cost_one_request(surveyed: LocalHub, again: Callable[..., Ran]) -> None:
    assert "0 measured, 6 unchanged, 0 failed" in again(*NAMES).out
    assert requested_paths(surveyed) == ["/api/models"]


def test_few_models_of_an_author_cost_a_light_request_each(
    surveyed: LocalHub, again: Callable[..., Ran]
) -> None:
    again(*NAMES[:4])
    assert sorted(requested_paths(surveyed)) == [f"/api/models/{name}" for name in NAMES[:4]]
    assert {entry.query["expand"][0] for entry in surveyed.log} == {"sha"}


def test_a_moved_commit_is_seen_in_the_listing_and_read_in_full(
    surveyed: LocalHub, again: Callable[..., Ran], tmp_path: Path
) -> None:
    surveyed.commit("org/m3", files(tmp_path, 99))
    assert "1 measured, 5 unchanged, 0 failed" in again(*NAMES).out
    assert requested_paths(surveyed)[:2] == ["/api/models", "/api/models/org/m3"]
    assert not any("org/m2" in path for path in requested_paths(surveyed))


@pytest.mark.parametrize("trouble", ["it is long", "it fails", "it says nothing"])
def test_if_the_listing_does_not_tell_each_model_is_requested(
    surveyed: LocalHub, again: Callable[..., Ran], trouble: str
) -> None:
    if trouble == "it is long":
        surveyed.page_size = 1
    elif trouble == "it fails":
        surveyed.faults.append(Fault(Status(403), times=1))
    else:
        surveyed.faults.append(Fault(Status(200, {"Content-Type": "application/json"}, b"[]"), times=1))
    assert "0 measured, 6 unchanged, 0 failed" in again(*NAMES).out
    each = [path for path in requested_paths(surveyed) if path != "/api/models"]
    assert len(each) >= 4
    assert len(requested_paths(surveyed)) <= 6 + 2


def test_a_model_that_was_disabled_is_not_taken_for_unchanged(
    surveyed: LocalHub, again: Callable[..., Ran]
) -> None:
    surveyed.repos["org/m1"].disabled = True
    assert "0 measured, 5 unchanged, 1 failed" in again(*NAMES, code=1).out
    assert gone() == ["org/m1@main"]


def test_all_steps_of_a_pattern_cost_one_request(
    hub: LocalHub, again: Callable[..., Ran], tmp_path: Path
) -> None:
    hub.add_repo("org/steps", files(tmp_path, 1), branch="step1")
    hub.commit("org/steps", files(tmp_path, 2), branch="step2")
    hub.tag("org/steps", "step2-copy", hub.repos["org/steps"].branches["step2"])
    again("org/steps@step*")
    assert "0 measured, 2 unchanged, 0 failed" in again("org/steps@step*").out
    assert requested_paths(hub) == ["/api/models/org/steps/refs"]


def test_a_step_that_vanished_is_reported_once(
    hub: LocalHub, again: Callable[..., Ran], tmp_path: Path
) -> None:
    hub.add_repo("org/steps", files(tmp_path, 1), branch="step1")
    hub.commit("org/steps", files(tmp_path, 2), branch="step2")
    again("org/steps@step*")
    del hub.repos["org/steps"].branches["step1"]
    hub.faults.append(Fault(Status(403), path_contains="refs", times=1))
    again("org/steps@step*", code=1)
    assert gone() == []  # nobody knows
    assert "gone: org/steps@step1" in again("org/steps@step*").out
    assert gone() == ["org/steps@step1"]
    again("org/steps@step*")
    assert gone() == []
    with Reader(open_for_reading("c")) as reader:  # what was measured stays
        assert reader.ask("SELECT count(*) FROM models_history").rows == [(2,)]
