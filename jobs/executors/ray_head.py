"""The head node of an embedded Ray, in a process of its own, so that it comes up while the driver plans.

    python -m jobs.executors.ray_head FOLDER CPUS MEMORY_BYTES STORE_BYTES

It prints the node's address, or the problem, as one line of JSON, and ends Ray once its stdin is closed. A
thread of the driver could not start it: Ray's processes end with their thread and inherit the working folder,
which all threads share. And nothing stops a thread that waits for them.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, TextIO

from ray._private.node import Node
from ray._private.parameter import RayParams


class LeanNode(Node):
    """A node without what tasks do not need: each of Ray's services in Python takes 0.5 to 1 CPU-second."""

    def start_api_server(self, **_: Any) -> None:  # Any: as Ray has them
        """No dashboard, which would also send statistics of use."""
        self._webui_url = ""


def main() -> None:
    folder, cpus, memory_bytes, store_bytes = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints is no answer
    try:
        node = LeanNode(
            RayParams(
                node_ip_address="127.0.0.1",
                num_cpus=int(cpus),
                memory=int(memory_bytes),
                object_store_memory=int(store_bytes),
                temp_dir=folder,
                include_dashboard=False,
                # Not Ray's fixed one: if another Ray has it, the agent tries for 3 s to get it.
                dashboard_agent_listen_port=0,
                include_log_monitor=False,  # type: ignore[arg-type]  # Ray's annotation is wrong
                no_monitor=True,  # of an autoscaler
            ),
            head=True,
            shutdown_at_exit=False,
            spawn_reaper=True,
        )
    except Exception as error:  # noqa: BLE001 - Ray raises many kinds, plain Exception among them
        _answer(answers, problem=" ".join(str(error).split()) or type(error).__name__)
        return
    try:
        _answer(answers, address=node.gcs_address)
        sys.stdin.buffer.read()
    finally:
        node.kill_all_processes(check_alive=False, allow_graceful=True)


def _answer(answers: TextIO, **fields: str) -> None:
    answers.write(json.dumps(fields) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
