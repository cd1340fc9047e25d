"""The device of a task: what its executor chose, unless the machine of the task cannot use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.checkpoints import single, stored, write
from support.deliveries import delivered
from support.scaled_matrices import factors, in_8_bits, matrix

from jobs.executors import serial
from jobs.executors.progress import Silence
from jobs.planning.memory import gpu_host_bytes
from jobs.tasks.measure_one import measure_one
from jobs.tasks.outcome import Delivered
from survey.api import measure
from survey.hub.throttle import LocalThrottle
from survey.onepass.device import Device
from survey.opening import Matrix, open_checkpoint
from survey.records.measured_columns import Measurement
from survey.records.settings import Settings
from survey.records.target import ModelRef
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tensors = {"model.embed_tokens.weight": stored(6, 4), "lm_head.weight": stored(6, 4, seed=1)}
    return write(tmp_path / "model", single(tensors))


def device_of(outcome: Delivered) -> tuple[Any, Any]:
    assert outcome.tables is not None
    row = outcome.tables.row.to_pylist()[0]
    return row["device"], row["device_reason"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param(Settings(device="cpu"), ("cpu", "requested"), id="requested"),
        pytest.param(Settings(), ("cpu", "no CUDA GPU"), id="nobody chose"),
        pytest.param(
            Settings(device="cpu", device_reason="the GPUs were taken"),
            ("cpu", "the GPUs were taken"),
            id="its executor chose the CPU",
        ),
        pytest.param(
            Settings(device="cuda", device_reason="64 GB in folders"),
            ("cpu", "device cuda: is not available on this machine → choose another --device"),
            id="its executor chose a GPU that torch does not see",
        ),
    ],
)
def test_a_row_says_what_measured_it_and_why(
    settings: Settings, expected: tuple[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of(delivered(folder, settings)) == expected


@pytest.mark.parametrize(
    ("device", "is_scaled", "reason"),
    [
        pytest.param(
            "cuda", True, "a matrix with a scale, or quantised, is measured on the CPU", id="a scale"
        ),
        pytest.param("mps", False, "mps has no float64", id="Apple's GPU"),
        pytest.param("cpu", True, "requested", id="the CPU, with a scale"),
    ],
)
def test_a_row_does_not_name_a_device_that_did_nothing(
    device: str, is_scaled: bool, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("survey.onepass.device._lack_of", lambda kind: None)
    tensors = {"lm_head.weight": matrix("F8_E4M3", in_8_bits("F8_E4M3", 30, 8))}
    if is_scaled:
        tensors["lm_head.weight_scale"] = factors(1)[1]
    folder = write(tmp_path / "model", single(tensors))
    assert device_of(delivered(folder, Settings(device=device))) == ("cpu", reason)


def test_a_run_of_one_process_chooses_once_by_the_bytes_of_all_its_folders(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[int] = []

    def choose(requested: str, local_bytes: int) -> Device:
        chosen.append(local_bytes)
        return Device("cpu", "so many bytes")

    monkeypatch.setattr(serial, "choose_device", choose)
    settings = Settings()
    target = locate(lay_out(open_checkpoint(ModelRef(str(folder), folder=folder), settings)), "output")
    outcomes = [one for one, _ in serial.run_serially([target] * 3, settings, LocalThrottle(), Silence())]
    assert chosen == [3 * 6 * 4 * 4]
    assert {device_of(one) for one in outcomes if isinstance(one, Delivered)} == {("cpu", "so many bytes")}


def test_a_gpu_for_which_the_memory_does_not_suffice_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings()
    target = locate(lay_out(open_checkpoint(ModelRef(str(folder), folder=folder), settings)), "output")
    needed = target.memory_bytes + gpu_host_bytes(target.spec)
    monkeypatch.setattr(serial, "choose_device", lambda *_, **__: Device("cuda", "64 GB in folders"))
    monkeypatch.setattr(serial, "memory_bytes", lambda: needed - 1)
    [(outcome, _)] = serial.run_serially([target], settings, LocalThrottle(), Silence())
    assert isinstance(outcome, Delivered)
    assert device_of(outcome) == ("cpu", f"a GPU needs {needed / 1e9:.1f} GB of memory")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        pytest.param(
            "64 GB in folders", ("cpu", "the GPU had too little memory left"), id="nobody requested it"
        ),
        pytest.param("requested", "out-of-memory", id="requested"),
    ],
)
def test_a_gpu_that_is_full_is_left_for_the_cpu_unless_it_was_requested(
    reason: str, expected: object, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(matrix: Matrix, *, device: str, **others: Any) -> Measurement:
        if device == "cuda":
            next(matrix.blocks())  # the CPU's pass begins with the first block again
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 64.00 MiB")
        return measure(matrix, device=device, **others)

    monkeypatch.setattr("jobs.tasks.spectrum.measure", full)
    monkeypatch.setattr("jobs.tasks.measure_one.choose_device", lambda name: Device(name, "requested"))
    settings = Settings(device="cuda", device_reason=reason)
    target = locate(lay_out(open_checkpoint(ModelRef(str(folder), folder=folder), settings)), "output")
    outcome = measure_one(target, settings, LocalThrottle(), lambda count: None)
    assert (device_of(outcome) if isinstance(outcome, Delivered) else outcome.reason) == expected
