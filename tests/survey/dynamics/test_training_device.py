"""The device that trains: the requested one, or the faster one of those that are there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.commands import Ran

from survey.dynamics import training_device
from survey.dynamics.config import training
from survey.dynamics.corpus import corpus_of
from survey.dynamics.training_device import device_of_training, seconds_of_steps
from survey.errors import NotRunnable

LITTLE = {"layers": 1, "heads": 2, "dim": 16, "ff": 32, "vocabulary": 60, "dead": 10, "batch": 4, "context": 8, "steps": 3}  # fmt: skip


def test_without_a_gpu_auto_is_the_cpu_and_nothing_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_device, "has_cuda", lambda: False)
    monkeypatch.setattr(training_device, "seconds_of_steps", None)
    assert device_of_training("auto", training("goldilocks", LITTLE)) == "cpu"


@pytest.mark.parametrize(("cpu_s", "cuda_s", "chosen"), [(1.0, 0.2, "cuda"), (0.1, 0.2, "cpu")])
def test_with_a_gpu_auto_is_what_was_faster(
    cpu_s: float, cuda_s: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = {"cpu": cpu_s, "cuda": cuda_s}
    monkeypatch.setattr(training_device, "has_cuda", lambda: True)
    monkeypatch.setattr(training_device, "seconds_of_steps", lambda config, corpus, device: taken[device])
    assert device_of_training("auto", training("goldilocks", LITTLE)) == chosen


def test_timed_steps_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = training("goldilocks", LITTLE)
    assert 0 < seconds_of_steps(config, corpus_of(config), "cpu") < 60
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(NotRunnable, match="is not available on this machine"):
        device_of_training(device, training("goldilocks", LITTLE))


def test_the_row_of_a_run_states_its_device(survey: Callable[..., Ran]) -> None:
    options = [word for name, value in LITTLE.items() for word in (f"--{name}", str(value))]
    assert survey("train", *options, "--device", "cpu", "--no-history", "--catalog", "c").code == 0
    ran = survey("sql", "SELECT device FROM training_runs", "--catalog", "c", "--format", "csv")
    assert ran.out.split() == ["device", "cpu"]
    refused = survey("train", "--sweep", "s.toml", "--device", "cuda")
    assert (refused.code, refused.err) == (
        2,
        "survey: --device is for one run: each run of a sweep has one CPU\n",
    )
