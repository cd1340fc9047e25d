"""Which device `auto` takes, and what a missing one is answered with."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest
import torch

from survey.errors import NotRunnable, Unreachable
from survey.onepass import device
from survey.onepass.device import (
    Device,
    DeviceRows,
    auto_device,
    choose_device,
    device_of_products,
    device_of_rows,
)

GB = 1_000_000_000


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of four CPUs whose driver and torch say that there is a GPU."""
    monkeypatch.setattr(device, "GPU_DRIVERS", ("/dev/null",))
    monkeypatch.setattr(device, "cpus", lambda: 4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr(device, "_FAILED_ON_GPU", threading.Event())


@pytest.mark.parametrize(
    ("has_gpu", "local_bytes", "threads", "expected"),
    [
        pytest.param(False, 999 * GB, 4, Device("cpu", "no CUDA GPU"), id="no GPU"),
        pytest.param(
            True, 17 * GB, 4, Device("cpu", "a GPU pays from 64 GB in folders"), id="eight heads of 2 GB"
        ),
        pytest.param(True, 64 * GB, 4, Device("cuda", "64 GB in folders"), id="enough for four CPUs"),
        pytest.param(
            True, 64 * GB, 16, Device("cpu", "a GPU pays from 256 GB in folders"), id="not for sixteen"
        ),
        pytest.param(
            True, 0, 2, Device("cpu", "a GPU pays from 32 GB in folders"), id="models of the Hub alone"
        ),
    ],
)
def test_auto_takes_a_gpu_only_if_its_start_pays(
    has_gpu: bool, local_bytes: int, threads: int, expected: Device
) -> None:
    assert auto_device(has_gpu, local_bytes, threads) == expected


def test_where_no_driver_is_torch_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes seconds to load."""
    monkeypatch.setattr(device, "GPU_DRIVERS", ("/dev/no-such-driver",))
    monkeypatch.delitem(sys.modules, "survey.onepass.cuda.batches", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it fails
    assert choose_device("auto", local_bytes=999 * GB) == Device("cpu", "no CUDA GPU")
    assert choose_device("cpu") == Device("cpu", "requested")


@pytest.mark.usefixtures("with_gpu")
def test_if_a_gpu_would_not_pay_torch_is_not_asked_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "survey.onepass.cuda.batches", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert choose_device("auto", local_bytes=GB) == Device("cpu", "a GPU pays from 64 GB in folders")


@pytest.mark.usefixtures("with_gpu")
def test_a_gpu_in_use_already_takes_matrices_that_are_not_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "survey.onepass.cuda.batches", sys)
    assert choose_device("auto", matrix_bytes=2 * GB) == Device("cuda", "the GPU is in use already")
    assert choose_device("auto", matrix_bytes=GB // 10).name == "cpu"
    monkeypatch.delitem(sys.modules, "survey.onepass.cuda.batches")
    assert choose_device("auto", matrix_bytes=2 * GB).name == "cpu"


@pytest.mark.usefixtures("with_gpu")
@pytest.mark.parametrize(
    ("error", "next_device"),
    [
        pytest.param(
            RuntimeError("CUDA error: an illegal memory access was encountered"), "cpu", id="of CUDA"
        ),
        pytest.param(RuntimeError("CUDA out of memory"), "cpu", id="no memory"),
        pytest.param(Unreachable("network", "m", "the Hub does not answer"), "cuda", id="of the source"),
    ],
)
def test_a_gpu_on_which_the_last_pass_failed_is_not_in_use(
    error: Exception, next_device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "survey.onepass.cuda.batches", sys)
    with pytest.raises(type(error)), device.noted_on_gpu():
        raise error
    assert choose_device("auto", matrix_bytes=2 * GB).name == next_device
    with device.noted_on_gpu():
        pass  # somebody requested the GPU, and it works again
    assert choose_device("auto", matrix_bytes=2 * GB).name == "cuda"


@pytest.mark.usefixtures("with_gpu")
def test_a_requested_gpu_is_taken_whatever_the_bytes() -> None:
    assert choose_device("cuda") == Device("cuda", "requested")
    assert choose_device("cuda:1") == Device("cuda:1", "requested")


@pytest.mark.parametrize("requested", ["cuda", "cuda:3", "mps", "tpu"])
def test_a_requested_device_that_is_not_there_is_refused_by_name(
    requested: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(NotRunnable, match=f"device {requested}: is not available on this machine") as refused:
        choose_device(requested)
    assert refused.value.reason == "infeasible"


@pytest.mark.usefixtures("with_gpu")
def test_a_gpu_without_the_compiler_of_its_kernels_is_refused_and_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NotRunnable, match="needs Triton"):
        choose_device("cuda")
    lack = "cuda needs Triton, which torch for CUDA brings: pip install triton"
    assert choose_device("auto", local_bytes=999 * GB) == Device("cpu", lack)
    assert device_of_rows(DeviceRows(torch.ones(3, 4)), "auto") == Device("cpu", lack)


def test_a_tensor_on_a_gpu_is_measured_there_unless_another_device_is_requested(
    monkeypatch: pytest.MonkeyPatch, with_gpu: None
) -> None:
    monkeypatch.setattr(DeviceRows, "device", "cuda:1")
    rows = DeviceRows(torch.ones(3, 4))
    assert device_of_rows(rows, "auto") == Device("cuda:1", "the matrix lies there")
    assert device_of_rows(rows, "cpu") == Device("cpu", "requested")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of_rows(rows, "auto") == Device("cpu", "cuda is not available on this machine")


def test_rows_on_a_gpu_can_be_read_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "BATCH_BYTES", 100)
    tensor = torch.arange(70, dtype=torch.float32).view(10, 7)
    blocks: list[Any] = list(DeviceRows(tensor))
    assert len(blocks) == 4  # of three rows, as four take more than 100 bytes
    assert b"".join(blocks) == tensor.numpy().tobytes()


@pytest.mark.parametrize(
    ("shape", "has_gpu", "name"),
    [
        pytest.param((151_936, 4096), True, "cuda", id="a large head, with a GPU"),
        pytest.param((151_936, 4096), False, "cpu", id="a large head, without one"),
        pytest.param((30_522, 384), True, "cpu", id="a small one, done before a GPU has started"),
    ],
)
def test_products_of_rows_are_added_up_on_a_gpu_if_that_pays(
    shape: tuple[int, int], has_gpu: bool, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "cpus", lambda: 4)
    monkeypatch.setattr(device, "has_cuda", lambda: has_gpu)
    assert device_of_products("auto", *shape).name == name


@pytest.mark.parametrize(("requested", "name"), [("cpu", "cpu"), ("mps", "cpu"), ("cuda", "cuda")])
def test_a_requested_device_adds_up_products_if_it_has_float64(
    requested: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_lack_of", lambda kind: None)
    assert device_of_products(requested, 10, 4).name == name
