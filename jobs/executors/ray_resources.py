"""The CPUs and GPUs of the living nodes of a Ray cluster."""

from __future__ import annotations

from dataclasses import dataclass

import ray


@dataclass(frozen=True, slots=True)
class ClusterResources:
    """The sums over the living nodes.

    gpu_cpus: CPUs of the nodes with GPUs; a task on a GPU takes one of them, too.
    nodes: the resources of each node, by its id.
    """

    cpus: float
    gpus: float
    gpu_cpus: float
    nodes: dict[str, dict[str, float]]


def cluster_resources() -> ClusterResources:
    """The resources that Ray reports now."""
    alive = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
    resources = list(alive.values())
    return ClusterResources(
        cpus=sum(item.get("CPU", 0.0) for item in resources),
        gpus=sum(item.get("GPU", 0.0) for item in resources),
        gpu_cpus=sum(item.get("CPU", 0.0) for item in resources if item.get("GPU", 0.0) > 0),
        nodes=alive,
    )
