"""Ray clusters whose nodes are processes on this machine."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

# Ray takes half a minute by itself to believe that a node is dead.
QUICK_TO_NOTICE = {
    "initial_delay_ms": "1000",
    "period_ms": "1000",
    "timeout_ms": "2000",
    "failure_threshold": "3",
}

# Without Ray's monitors of logs and of autoscaling, which take a third of the CPU time of a node's start.
COMMON = {
    "memory": 8 << 30,
    "object_store_memory": 100_000_000,
    "include_dashboard": False,
    "include_log_monitor": False,
    "no_monitor": True,
}


@contextmanager
def cluster_of(*nodes: dict[str, Any]) -> Iterator[Cluster]:  # Any: arguments of add_node
    """A Ray whose nodes say that they have these resources; GPUs are only declared."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(shutdown_at_exit=False)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in QUICK_TO_NOTICE.items():
                patch.setenv(f"RAY_health_check_{name}", value)
            for resources in nodes:
                cluster.add_node(**COMMON | resources)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
