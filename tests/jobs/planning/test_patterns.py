"""A revision with a `*`: what it stands for, and how much that may be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import Ran
from support.little_models import little

from jobs.demo.checkpoints import write
from jobs.demo.hub.local_hub import LocalHub
from jobs.planning import model_planner

Survey = Callable[..., Ran]
BRANCHES = 12


@pytest.fixture
def summary(hub: LocalHub, survey: Survey, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Surveys models of a repository with twelve branches and another; returns the summary."""
    write(little("m"), tmp_path / "m")
    sha = hub.add_repo("org/many", tmp_path / "m")
    hub.add_repo("org/other", tmp_path / "m")
    hub.repos["org/many"].branches.update({f"step{number}": sha for number in range(BRANCHES)})

    def run(*models: str) -> dict[str, Any]:
        survey("run", *models, "--catalog", "c", "--endpoint", hub.endpoint, "--executor", "serial",
               "--no-tokens", "--summary", "out.json")  # fmt: skip
        outcome: dict[str, Any] = json.loads(Path("out.json").read_text())
        return outcome

    return run


def test_a_pattern_that_stands_for_too_many_revisions_is_refused(
    summary: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_planner, "MAX_MATCHES", BRANCHES - 1)
    outcome = summary("org/many@step*", "org/other")
    (failure,) = [attempt for attempt in outcome["attempts"] if attempt["status"] == "failed"]
    assert failure["reason"] == "revision-not-found"
    assert "12 branches and tags match, expected at most 11" in failure["message"]
    assert outcome["measured"] == 1  # the other model


def test_a_pattern_of_as_many_is_surveyed(
    summary: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_planner, "MAX_MATCHES", BRANCHES)
    outcome = summary("org/many@step*", "org/other")
    assert (outcome["measured"], outcome["failed"]) == (2, 0)
    assert sum(attempt["repo"] == "org/many" for attempt in outcome["attempts"]) == BRANCHES
