"""A Ray that the tests of a file share, if they need no fresh one.

Its nodes leave sockets unclosed in this process: such files ignore `unclosed <socket` (ResourceWarning).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.ray_clusters import cluster_of


@pytest.fixture(scope="module")
def ray_address() -> Iterator[str]:
    """The address of a node with two CPUs. To start a Ray takes 3 CPU-seconds, to join one a tenth of that."""
    with cluster_of({"num_cpus": 2}) as cluster:
        yield cluster.address


@pytest.fixture(params=["serial", "ray"])
def executor(request: pytest.FixtureRequest) -> list[str]:
    """The options of `survey run` for each executor; Ray is the one that the tests of a file share."""
    if request.param == "serial":
        return ["--executor", "serial"]
    return ["--executor", "ray", "--address", request.getfixturevalue("ray_address")]
