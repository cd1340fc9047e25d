"""A target as the work of a Ray task, and which small ones share a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

from jobs.executors.ray_workload import RayTask
from survey.records.target import Target

# Ray's bookkeeping of a task takes 10 ms of CPU time: a smaller matrix with a small tokenizer not much more.
SMALL_BYTES, SMALL_TOKENIZER_BYTES = 8 << 20, 1 << 20
MOST_IN_BATCH = 16  # half a second's work, which a lost worker takes with it
BATCHES_LEFT = 4  # for each CPU, so that none is left with a long one at the end


@dataclass(slots=True)
class ModelWork:
    """One target; memory_bytes is what Ray reserves for it, the shares are set when it is launched."""

    target: Target
    memory_bytes: int
    was_out_of_memory: bool = False
    gpu_share: float = 0.0
    cpu_share: float = 1.0


def batch_size(waiting: Sequence[RayTask[ModelWork]], cpus: float) -> int:
    """How many of the first tasks share one: fewer towards the end, so that all workers end together."""
    most = min(MOST_IN_BATCH, int(len(waiting) / (BATCHES_LEFT * max(cpus, 1.0))))
    fitting = takewhile(lambda task: _is_small(task, like=waiting[0]), islice(waiting, most))
    return max(1, sum(1 for _ in fitting))


def batch_memory_bytes(batch: Sequence[RayTask[ModelWork]]) -> int:
    """What the largest takes, and the bytes of the next, which are fetched meanwhile."""
    return max(task.work.memory_bytes for task in batch) + SMALL_BYTES


def _is_small(task: RayTask[ModelWork], like: RayTask[ModelWork]) -> bool:
    """Whether a task may share one with others like it."""
    target = task.work.target
    is_like = (target.folder is None) == (like.work.target.folder is None)
    tokenizer_bytes = sum(size for _, size in target.tokenizer_files)
    is_small = len(target.spec.bytes) < SMALL_BYTES and tokenizer_bytes < SMALL_TOKENIZER_BYTES
    is_like = is_like and (target.spectrum_bytes > 0) == (like.work.target.spectrum_bytes > 0)
    return is_like and is_small and task.tries == 1 and not task.is_alone
