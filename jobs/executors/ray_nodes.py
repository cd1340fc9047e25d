"""The nodes of a Ray cluster that may measure a target, and whether on a GPU.

Ray waits for ever for resources that no node has, so a task asks for no more than one of them has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobs.planning.memory import gpu_host_bytes, spectrum_host_bytes
from jobs.tasks.outcome import Failed, infeasible
from jobs.tasks.spectrum import without_spectrum
from survey.onepass.device import Device, auto_device
from survey.records.settings import Settings, SpectraDevice
from survey.records.target import Target
from survey.spectra.device import device_of_spectrum

Node = Mapping[str, float]  # its resources


def possible_nodes(target: Target, nodes: Mapping[str, Node], own: str) -> list[Node]:
    """The living nodes that see a target. own: the driver's; it alone is sure to see a folder."""
    return list(nodes.values()) if target.folder is None else [nodes.get(own, {})]


def largest_memory_bytes(nodes: Sequence[Node]) -> float:
    return max((node.get("memory", 0.0) for node in nodes), default=0.0)


def refusal_by(nodes: Sequence[Node], target: Target, device: str) -> Failed | None:
    """The failure of a target that none of these nodes can measure; None if one can. device: requested."""
    is_folder = target.folder is not None
    memory_bytes = largest_memory_bytes(nodes)
    if target.memory_bytes > memory_bytes:
        return infeasible(target, memory_bytes, "the driver's node" if is_folder else "the largest node")
    if is_folder and nodes[0].get("CPU", 0.0) < 1:
        return _refused(target, "only the driver's node sees the folder, and it has no CPU for tasks")
    if device != "cuda":
        return None
    with_gpu = _with_gpu(nodes)
    if not with_gpu:
        owner = "only the driver's node sees the folder, and it has no" if is_folder else "no node has a"
        return _refused(target, f"{owner} GPU, and a CPU for tasks beside it")
    memory_bytes = largest_memory_bytes(with_gpu)
    if target.memory_bytes > memory_bytes:
        return infeasible(target, memory_bytes, "the largest node with a GPU")
    return None


def auto_device_on(nodes: Sequence[Node], target: Target, memory_bytes: int, local_bytes: int) -> Device:
    """What `auto` chooses for a target. memory_bytes: what its task needs on the CPU. local_bytes: of all."""
    with_gpu = _with_gpu(nodes)
    chosen = auto_device(bool(with_gpu), local_bytes, int(sum(node.get("CPU", 0.0) for node in nodes)))
    needed = memory_bytes + gpu_host_bytes(target.spec)
    if chosen.name == "cuda" and needed > largest_memory_bytes(with_gpu):
        return Device("cpu", f"a GPU needs {needed / 1e9:.1f} GB of its node's memory")
    return chosen


def spectra_device_on(
    nodes: Sequence[Node], target: Target, settings: Settings, memory_bytes: int
) -> SpectraDevice | None:
    """The device of a target's spectrum, or why its row does without; None if none is to be computed.

    memory_bytes: what its task needs on the CPU, its spectrum left out.
    """
    if not target.spectrum_bytes:
        return None
    with_gpu = _with_gpu(nodes)
    device = device_of_spectrum(settings.spectrum, settings.device, target.spec, has_gpu=bool(with_gpu))
    if device is None:
        return None
    needed = memory_bytes + spectrum_host_bytes(target, device)
    largest = largest_memory_bytes(nodes if device.name == "cpu" else with_gpu)
    return device if needed <= largest else without_spectrum(needed, largest, "the largest node")


def _with_gpu(nodes: Sequence[Node]) -> list[Node]:
    return [node for node in nodes if node.get("GPU", 0.0) > 0 and node.get("CPU", 0.0) >= 1]


def _refused(target: Target, problem: str) -> Failed:
    return Failed(target, "infeasible", f"{target.identity.repo}: {problem}")
