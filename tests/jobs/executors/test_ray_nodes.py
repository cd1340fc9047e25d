"""A task asks for no more than one node has: Ray would wait for it for ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.checkpoints import HEAD, single, stored
from support.in_memory_checkpoint import HeldCheckpoint

from jobs.executors.ray_nodes import Node, auto_device_on, possible_nodes, refusal_by, spectra_device_on
from jobs.planning.memory import gpu_host_bytes
from survey.onepass.device import Device
from survey.records.settings import Settings, SpectrumChoice
from survey.records.target import Target
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate

GB = 1_000_000_000
SMALL: Node = {"CPU": 2.0, "memory": 2.0 * GB}
LARGE: Node = {"CPU": 2.0, "memory": 64.0 * GB}
SMALL_WITH_GPU: Node = {**SMALL, "GPU": 1.0}
LARGE_WITH_GPU: Node = {**LARGE, "GPU": 1.0}
ONLY_GPU: Node = {**LARGE, "GPU": 1.0, "CPU": 0.0}
PAYS = 999 * GB  # in folders


@pytest.fixture(scope="module")
def target() -> Target:
    """Of 1 GB, from the Hub."""
    located = locate(lay_out(HeldCheckpoint(single({HEAD: stored(6, 4)}))), "output")
    return replace(located, folder=None, memory_bytes=GB)


def in_folder(target: Target) -> Target:
    return replace(target, folder=Path("model"))


def test_a_folder_is_on_the_drivers_node_alone(target: Target) -> None:
    nodes = {"own": SMALL, "other": LARGE_WITH_GPU}
    assert possible_nodes(target, nodes, "own") == [SMALL, LARGE_WITH_GPU]
    assert possible_nodes(in_folder(target), nodes, "own") == [SMALL]
    assert possible_nodes(in_folder(target), nodes, "gone") == [{}]


@pytest.mark.parametrize(
    ("nodes", "device"),
    [
        pytest.param([SMALL_WITH_GPU], "cuda", id="one with a GPU"),
        pytest.param([LARGE, SMALL_WITH_GPU], "cuda", id="the smaller has the GPU"),
        pytest.param([SMALL], "auto", id="none has a GPU, and none is requested"),
    ],
)
def test_a_node_that_has_everything_is_enough(target: Target, nodes: list[Node], device: str) -> None:
    assert refusal_by(nodes, target, device) is None
    if len(nodes) == 1:
        assert refusal_by(nodes, in_folder(target), device) is None


@pytest.mark.parametrize(
    ("nodes", "device", "gigabytes", "problem"),
    [
        pytest.param([SMALL], "auto", 3, "3.0 GB of memory, the largest node has 2.0 GB", id="memory"),
        pytest.param([LARGE], "cuda", 1, "no node has a GPU, and a CPU for tasks beside it", id="no GPU"),
        pytest.param([ONLY_GPU], "cuda", 1, "no node has a GPU, and a CPU for tasks", id="a GPU without CPU"),
        pytest.param(
            [LARGE, SMALL_WITH_GPU], "cuda", 3, "3.0 GB of memory, the largest node with a GPU has 2.0 GB",
            id="the memory is on one, the GPU on another",
        ),
    ],
)  # fmt: skip
def test_what_no_node_has_at_once_is_refused(
    target: Target, nodes: list[Node], device: str, gigabytes: int, problem: str
) -> None:
    refused = refusal_by(nodes, replace(target, memory_bytes=gigabytes * GB), device)
    assert refused is not None
    assert (refused.reason, problem in refused.message) == ("infeasible", True), refused.message


def test_a_folder_whose_node_has_no_gpu_is_refused_whatever_others_have(target: Target) -> None:
    nodes = possible_nodes(in_folder(target), {"own": LARGE, "other": LARGE_WITH_GPU}, "own")
    refused = refusal_by(nodes, in_folder(target), "cuda")
    assert refused is not None
    assert "only the driver's node sees the folder, and it has no GPU" in refused.message


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        pytest.param([LARGE_WITH_GPU], Device("cuda", "999 GB in folders"), id="a GPU"),
        pytest.param([LARGE, LARGE_WITH_GPU], Device("cuda", "999 GB in folders"), id="one of two"),
        pytest.param([LARGE], Device("cpu", "no CUDA GPU"), id="none"),
        pytest.param([LARGE, ONLY_GPU], Device("cpu", "no CUDA GPU"), id="one that no task can use"),
    ],
)
def test_auto_takes_a_gpu_that_one_node_has_with_the_memory_for_it(
    target: Target, nodes: list[Node], expected: Device
) -> None:
    assert auto_device_on(nodes, target, GB, PAYS) == expected


def test_auto_leaves_a_gpu_whose_node_lacks_the_memory(target: Target) -> None:
    needed = GB + gpu_host_bytes(target.spec)
    assert needed > SMALL["memory"]
    expected = Device("cpu", f"a GPU needs {needed / 1e9:.1f} GB of its node's memory")
    assert auto_device_on([LARGE, SMALL_WITH_GPU], target, GB, PAYS) == expected
    enough = [{**SMALL_WITH_GPU, "memory": float(needed)}]
    assert auto_device_on(enough, target, GB, PAYS).name == "cuda"
    assert auto_device_on(enough, target, 2 * GB, PAYS).name == "cpu"  # a second try, with twice the memory


@pytest.mark.parametrize(
    ("nodes", "choice", "device", "expected"),
    [
        pytest.param([LARGE, LARGE_WITH_GPU], "auto", "auto", "cuda", id="a GPU"),
        pytest.param([LARGE], "auto", "auto", "none requested", id="auto knows GPUs alone"),
        pytest.param([LARGE, ONLY_GPU], "auto", "auto", "none requested", id="a GPU that no task can use"),
        pytest.param([SMALL, LARGE], "on", "auto", "cpu", id="a CPU"),
        pytest.param([LARGE_WITH_GPU], "on", "cpu", "cpu", id="the CPU is requested"),
        pytest.param([LARGE_WITH_GPU], "off", "cuda", "none requested", id="off"),
        pytest.param([SMALL], "on", "auto", "needs 4.0 GB of memory, the largest node has 2.0 GB", id="no room"),
        pytest.param(
            [LARGE, SMALL_WITH_GPU], "auto", "auto", "needs 6.1 GB of memory, the largest node has 2.0 GB",
            id="no room beside the GPU",
        ),
    ],
)  # fmt: skip
def test_a_spectrum_is_computed_where_one_node_has_a_device_and_the_memory_for_it(
    target: Target, nodes: list[Node], choice: SpectrumChoice, device: str, expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("survey.spectra.device.SMALL_PRODUCTS", 0)
    with_spectrum = replace(target, spectrum_bytes=3 * GB)
    chosen = spectra_device_on(nodes, with_spectrum, Settings(spectrum=choice, device=device), GB)
    assert ("none requested" if chosen is None else chosen.name or chosen.reason) == expected
    there_already = replace(target, spectrum_bytes=0)
    assert spectra_device_on(nodes, there_already, Settings(spectrum=choice, device=device), GB) is None
