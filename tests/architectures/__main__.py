"""`make architectures`: survey a tiny checkpoint of every architecture of transformers, and compare with the truth.

Checkpoints are made once, in separate processes with limits of time and memory, and kept in a cache folder
(1.5 GB). docs/architectures.md is rewritten. The exit code is 1 if a miss has no explanation, or if there are
too many misses.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402 - the two folders above hold what is imported below
import transformers  # noqa: E402
from architectures.checkpoint import Case, Truth, cases, note, save, saved  # noqa: E402
from architectures.compare import misses  # noqa: E402
from architectures.page import Outcome, page, satisfied  # noqa: E402

LIMIT_S = 60.0
LIMIT_BYTES = 12 << 30  # of address space, of which PyTorch alone takes four


def main() -> int:
    parser = argparse.ArgumentParser(prog="make architectures", description=__doc__)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "centroid-survey"
    parser.add_argument("--folder", type=Path, default=cache / f"transformers-{transformers.__version__}")
    parser.add_argument("--only", default="", help="only cases whose name contains this; writes no page")
    parser.add_argument("--anew", action="store_true", help="make the checkpoints again")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    selected = [case for case in cases() if options.only in str(case)]
    missing = [case for case in selected if options.anew or saved(options.folder / str(case)) is None]
    _make(missing, options.folder, options.processes)
    outcomes = list(_outcomes(selected, options.folder))
    for outcome in outcomes:
        for problem in outcome.problems:
            print(f"{outcome.case}: {problem}")
    if not options.only:
        (ROOT / "docs").mkdir(exist_ok=True)
        (ROOT / "docs" / "architectures.md").write_text(page(outcomes), encoding="utf-8")
    print(f"{sum(outcome.truth.error is None for outcome in outcomes)} of {len(outcomes)} built")
    return 0 if satisfied(outcomes) else 1


def _outcomes(selected: list[Case], folder: Path) -> Iterator[Outcome]:
    for case in selected:
        truth = saved(folder / str(case)) or Truth(error="was not made")
        yield Outcome(case, truth, misses(folder / str(case), truth) if truth.error is None else [])


def _make(missing: list[Case], folder: Path, processes: int) -> None:
    """Make each case in a forked process, which inherits the imports of this one."""
    forked = multiprocessing.get_context("fork")
    running: dict[Case, tuple[BaseProcess, float]] = {}
    while missing or running:
        while missing and len(running) < processes:
            case = missing.pop()
            process = forked.Process(target=_save_within_limits, args=(case, folder / str(case)))
            process.start()
            running[case] = (process, time.monotonic())
        for case, (process, started) in list(running.items()):
            process.join(0.02)
            if process.is_alive() and time.monotonic() - started > LIMIT_S:
                process.kill()
                process.join()
            if not process.is_alive():
                del running[case]
                if process.exitcode:
                    note(
                        folder / str(case),
                        Truth(error=f"took more than {LIMIT_S:.0f} s or {LIMIT_BYTES >> 30} GB"),
                    )
                print(f"{case} made, {len(missing) + len(running)} to go", file=sys.stderr)


def _save_within_limits(case: Case, folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    save(case, folder)


if __name__ == "__main__":
    sys.exit(main())
