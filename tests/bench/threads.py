"""The pass on 1, 2, … threads, against copying its bytes: what one more core brings, and what stays serial.

"main" is the share of the pass's CPU time that the calling thread takes: with every other core added, that
remains. "after" is what follows the pass (sorts, searches, exact sums). For 16 cores two figures are estimated: by
Amdahl's law from the times on one and on two threads, and from CPU time, if all but the main thread's is shared in
the pass, and what follows it by two alone. The second "÷ copy" is of CPU times, which other work on the machine
hardly changes.

python -m tests.bench.threads
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from survey.measures import measure_result
from survey.numerics.dtypes import FLOATS
from survey.onepass.fold import fold
from survey.process.machine import cpus
from tests.bench.measure import DIMS, REPEATS, ROWS, best_s, matrix

CORES = 16


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: of the pass, of what follows, of all CPUs, and of the main thread during the pass."""

    fold_s: float
    after_s: float
    fold_cpu_s: float
    after_cpu_s: float
    main_s: float

    @property
    def total_s(self) -> float:
        return self.fold_s + self.after_s


def timed(stored: memoryview, threads: int) -> Timing:
    """Of the fastest of a few runs, each figure by itself."""
    runs = []
    for _ in range(REPEATS):
        start, cpu, main = time.perf_counter(), time.process_time(), time.thread_time()
        with fold([stored], FLOATS["BF16"], (ROWS, DIMS), "cpu", threads=threads) as result:
            folded, folded_cpu, main_s = time.perf_counter(), time.process_time(), time.thread_time() - main
            measure_result(result, threads=threads)
            after_s, after_cpu_s = time.perf_counter() - folded, time.process_time() - folded_cpu
        runs.append((folded - start, after_s, folded_cpu - cpu, after_cpu_s, main_s))
    return Timing(*(min(column) for column in zip(*runs, strict=True)))


def main() -> None:
    weight = matrix(torch.bfloat16)
    stored = weight.view(torch.uint8).numpy().reshape(-1).data
    gigabytes = len(stored) / 1e9
    target = torch.empty_like(weight)
    copied, copied_cpu = best_s(lambda: target.copy_(weight))
    print(
        f"{ROWS:,} × {DIMS:,} BF16, best of {REPEATS}; copying takes {copied:.3f} s, {copied_cpu:.3f} of CPU time, "
        f"on {cpus()} CPUs"
    )
    print(
        f"{'threads':>7}{'pass s':>8}{'after s':>9}{'GB/s':>7}{'÷ copy':>8}{'CPU s':>7}{'after':>7}{'÷ copy':>8}{'main':>7}"
    )
    timings = {}
    for threads in [count for count in (1, 2, 4, 8, CORES) if count <= max(2, cpus())]:
        timings[threads] = item = timed(stored, threads)
        print(
            f"{threads:>7}{item.fold_s:>8.3f}{item.after_s:>9.3f}{gigabytes / item.total_s:>7.1f}"
            f"{item.total_s / copied:>8.1f}{item.fold_cpu_s:>7.3f}{item.after_cpu_s:>7.3f}"
            f"{(item.fold_cpu_s + item.after_cpu_s) / copied_cpu:>8.1f}{item.main_s / item.fold_cpu_s:>7.1%}"
        )
    one, two = timings[1], timings[2]
    shared = min(2 * (one.total_s - two.total_s), one.total_s)
    by_slope = one.total_s - shared + shared / CORES
    by_cpu = two.main_s + two.after_cpu_s / 2 + (two.fold_cpu_s - two.main_s) / CORES
    print(
        f"{CORES} cores, estimated: {gigabytes / by_slope:.1f} GB/s by the slope from one thread to two, "
        f"{gigabytes / by_cpu:.1f} by CPU time"
    )


if __name__ == "__main__":
    main()
