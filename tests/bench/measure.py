"""The pass: every default column, against the notebook's way and against copying the bytes.

The peer is what the notebook did to a matrix that is loaded already: `W.float()`, its mean, its row
norms. This does much more (hashes, identical rows, exponents, float64) and holds none of it. CPU
seconds a GB are what other work on the machine does not change.

python -m tests.bench.measure
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

import survey

ROWS, DIMS = 151_936, 2_560  # of Qwen3-4B
HOLES = (814, 704, 306, 228, 11, 10, 6, 5, 4, 4, 3, 3, 2)
REPEATS = 5


def matrix(dtype: torch.dtype) -> torch.Tensor:
    """Random rows with 2,100 dead ones in 13 black holes."""
    made = torch.empty(ROWS, DIMS, dtype=dtype).normal_(0, 0.02, generator=torch.Generator().manual_seed(0))
    start = 100
    for population in HOLES:
        made[start : start + population] = made[start].clone()
        start += population
    return made


def notebook(weight: torch.Tensor) -> None:
    wide = weight.float()
    wide.mean(dim=0)
    torch.norm(wide, dim=1)


def best_s(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of the fastest of a few runs: noise only ever adds."""
    taken, busy = [], []
    for _ in range(REPEATS):
        start, start_cpu = time.perf_counter(), time.process_time()
        work()
        taken.append(time.perf_counter() - start)
        busy.append(time.process_time() - start_cpu)
    return min(taken), min(busy)


def main() -> None:
    print(f"the pass over {ROWS:,} × {DIMS:,}, {torch.get_num_threads()} threads, best of {REPEATS}")
    print(
        f"{'dtype':<6}{'ours s':>9}{'GB/s':>7}{'CPU s/GB':>10}{'notebook s':>12}{'CPU s/GB':>10}{'× faster':>10}"
        f"{'memcpy s':>10}{'of memcpy':>11}"
    )
    for code, dtype in (("BF16", torch.bfloat16), ("F16", torch.float16), ("F32", torch.float32)):
        weight = matrix(dtype)
        gigabytes = weight.numel() * weight.element_size() / 1e9
        ours, our_cpu = best_s(lambda weight=weight: survey.measure(weight, device="cpu"))  # type: ignore[misc]
        theirs, their_cpu = best_s(lambda weight=weight: notebook(weight))  # type: ignore[misc]
        target = torch.empty_like(weight)
        copied, _ = best_s(lambda weight=weight, target=target: target.copy_(weight))  # type: ignore[misc]
        print(
            f"{code:<6}{ours:>9.2f}{gigabytes / ours:>7.2f}{our_cpu / gigabytes:>10.2f}{theirs:>12.2f}"
            f"{their_cpu / gigabytes:>10.2f}{theirs / ours:>10.1f}{copied:>10.3f}{ours / copied:>10.0f}×"
        )


if __name__ == "__main__":
    main()
