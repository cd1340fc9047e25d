"""A model on a local Hub, planned and read as a task does it, and the requests that the Hub then got."""

from __future__ import annotations

from typing import Any

from support.checkpoints import EMBED, HEAD, single, stored

from jobs.demo.hub.local_hub import LocalHub
from survey.checkpoints.checkpoint import Checkpoint
from survey.hub.repositories import resolve
from survey.opening import Matrix
from survey.records.settings import RetryPolicy, Settings
from survey.records.target import Target
from survey.records.tensors import ByteRange
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate

TOKEN, STRANGER = "hf_a-token-that-nobody-may-see", "hf_a-stranger"
TABLE, OUTPUT = stored(500, 16, seed=1), stored(500, 16)  # 32,000 bytes each
OTHER = stored(500, 16, seed=2)
MODEL = single({EMBED: TABLE, HEAD: OUTPUT})
TRIES = 4


def located(checkpoint: Checkpoint, connections: int) -> Target:
    return locate(lay_out(checkpoint), "output")


def settings(hub: LocalHub, connections: int = 1, token: str | None = None) -> Settings:
    retry_policy = RetryPolicy(tries=TRIES, first_wait_s=0.01, longest_wait_s=0.05)
    return Settings(endpoint=hub.endpoint, token=token, connections=connections, retry_policy=retry_policy)


def planned(hub: LocalHub, repo: str = "org/model", **options: Any) -> Target:
    """What a plan hands to a task; the hub's log is empty afterwards."""
    target = located(resolve(repo, None, settings(hub, **options)), 1)
    hub.clear_log()
    return target


def read(matrix: Matrix) -> bytes:
    return b"".join(bytes(block) for block in matrix.blocks())


def request_log(hub: LocalHub) -> list[str]:
    """The requests in short: HEAD, and the ranges of the matrix that the CDN got."""
    return [entry.method if entry.server == "hub" else str(entry.range) for entry in hub.log]


def span(target: Target, start: int = 0) -> str:
    return ByteRange(target.spec.bytes.start + start, target.spec.bytes.stop).http_header()
