"""Join a Ray: an embedded one, or a cluster, as one of its nodes or from outside."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from catalog.store.open import CatalogStore
from jobs.executors.ray_embedded import embedded
from jobs.executors.ray_init import init_ray
from jobs.executors.ray_start import HeadProcess
from jobs.executors.ray_worker import Coordinator, describe_node
from survey import version
from survey.errors import UsageError

MANY_TASKS = 1 << 30
LISTEN_S = 5.0  # for a connection to the head's port
JOIN_TRIES = 3  # each may take a minute
# The error messages of a cluster's head if its server for a client died while it was forked.
FORK_DIED = ("Starting Ray client server failed", "Proxy failed to Connect to backend")
NO_RAY_HERE = "Could not find any running Ray instance"  # at the address `auto`
PROBE_S = 60.0  # a first worker process on a busy node takes a while
# The limits of one of Ray's three tries to join from outside, and of the wait between them: a wrong token
# is reported after 9 s, not 30.
JOIN_TIMEOUTS = {"RAY_CLIENT_INITIAL_CONNECTION_TIMEOUT_S": "3", "RAY_CLIENT_MAX_CONNECTION_TIMEOUT_S": "3"}


@dataclass(frozen=True, slots=True)
class RayOptions:
    """The Ray to use, and what its tasks may do.

    address: of a cluster; None starts an embedded Ray. ship_code: send this program's packages to the nodes.
    connections: the limit over all nodes; None applies the settings' limit to each task.
    commit_to: the catalog that the tasks write to; None returns their tables to the driver. head: the
    embedded Ray to join, which may be on its way up; None starts one. tasks: how many there are to do.
    """

    address: str | None = None
    ship_code: bool = False
    connections: int | None = None
    commit_to: CatalogStore | None = None
    head: HeadProcess | None = None
    tasks: int = MANY_TASKS


@contextlib.contextmanager
def joined_cluster(options: RayOptions) -> Iterator[None]:
    """Connect this process to Ray, and disconnect afterwards.

    Raises UsageError if nothing answers, an embedded Ray does not come up, versions differ, a token is
    missing, or a node lacks this program's packages.
    """
    common: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if options.ship_code:
        # Folders: a `ray://` client cannot send a module.
        root = Path(__file__).parents[2]
        packages = [str(root / name) for name in ("survey", "catalog", "jobs")]
        common["runtime_env"] = {"py_modules": packages}
    if options.address in (None, "local"):
        with embedded(options.head or HeadProcess(), options.tasks, common):
            yield
        return
    try:
        _attach(options.address, common)
        _compare_versions()
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def coordinated_cluster(options: RayOptions) -> Iterator[Any]:  # Any: an actor's handle is untyped
    """Join a cluster and start a Coordinator on it. Raises UsageError if the cluster cannot be joined."""
    # Ray prints its raylet's messages whatever its options say; stdout is for results.
    with contextlib.redirect_stdout(sys.stderr), joined_cluster(options):
        # Beside the driver, so that no other node's death takes it away.
        here = pinned_to(ray.get_runtime_context().get_node_id())
        yield Coordinator.options(scheduling_strategy=here).remote()  # type: ignore[attr-defined]


def _attach(address: str, common: dict[str, Any]) -> None:
    _refuse_silence(address)
    for name, seconds in JOIN_TIMEOUTS.items():
        os.environ.setdefault(name, seconds)  # Ray reads them when it first becomes a client
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error says the same
            _init_with_retries(address, common)
    except (OSError, RayError, RuntimeError, ValueError, ImportError) as error:
        raise UsageError(f"cannot join the Ray cluster at {address}: {_advice(error)}") from error


def _init_with_retries(address: str, common: dict[str, Any]) -> None:
    """Connect, and try again if the head node failed to fork a server for this client.

    Ray's client server forks for each client while gRPC's threads run, and with grpcio from 1.81 on
    the child sometimes aborts in gRPC's own fork handler (`epoll_wait: Bad file descriptor`).
    GRPC_ENABLE_FORK_SUPPORT=0 on the head prevents it; a client can only try again.
    """
    for left in reversed(range(JOIN_TRIES)):
        try:
            init_ray(address=address, **common)
            return
        except ConnectionError as error:
            if left == 0 or not any(words in str(error) for words in FORK_DIED):
                raise


def outside() -> bool:
    """Whether this process is no node of the cluster: a `ray://` client."""
    return bool(ray.util.client.ray.is_connected())


def pinned_to(node: str) -> NodeAffinitySchedulingStrategy:
    """Run on this node or not at all."""
    return NodeAffinitySchedulingStrategy(node, soft=False)


def _refuse_silence(address: str) -> None:
    """Raise UsageError if nothing listens at an address: Ray would wait there for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=LISTEN_S).close()
    except OSError as error:
        raise UsageError(f"cannot join the Ray cluster at {address}: {error}. Is it running?") from error


def _advice(error: Exception) -> str:
    text = " ".join(str(error).split()).removesuffix(".")
    if "version" in text.lower():
        return f"{text}. Install the same Python and Ray here as on the cluster."
    if any(words in text for words in FORK_DIED):
        return f"{text}. Set GRPC_ENABLE_FORK_SUPPORT=0 where the head node is started."
    if NO_RAY_HERE in text:
        return f"{text}. Start one on this machine, or name the address of its head node."
    return (
        f"{text}. If the cluster asks for a token (Ray does by default), set RAY_AUTH_MODE=token and "
        "RAY_AUTH_TOKEN to what its head node has."
    )


def _compare_versions() -> None:
    """Raise UsageError if a node has another version of this package, or none."""
    probe = ray.remote(num_cpus=0, max_retries=0)(describe_node)
    probes = {
        node["NodeManagerAddress"]: probe.options(scheduling_strategy=pinned_to(node["NodeID"])).remote()
        for node in ray.nodes()
        if node["Alive"]
    }
    ours = version()
    for address, ref in probes.items():
        try:
            host, theirs = ray.get(ref, timeout=PROBE_S)
        except RayError as error:
            if "No module named" in str(error) or "ImportError" in str(error):
                raise UsageError(
                    f"the node {address} lacks centroid-survey {ours}: install it there, or add --ship-code"
                ) from error
            continue  # the driver handles a node that does not answer
        if theirs != ours:
            raise UsageError(
                f"the node {host} ({address}) has centroid-survey {theirs}, this is {ours}: "
                "install the same there, or add --ship-code"
            )
