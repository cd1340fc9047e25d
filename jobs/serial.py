"""Run the tasks one after another in this process: for debugging, and where Ray is not wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from jobs.outcome import Outcome
from jobs.progress import Progress
from jobs.task import measure_one
from survey.pace import Pace
from survey.records import Settings, Target


def run_serially(
    targets: Sequence[Target], settings: Settings, pace: Pace, progress: Progress
) -> Iterator[tuple[Outcome, int]]:
    """Yield each target's outcome and the number of tries, as they end."""
    for target in targets:
        progress.started(target)
        outcome = measure_one(target, settings, pace, partial(progress.advanced, target.key))
        progress.finished(target.key)
        yield outcome, 1
