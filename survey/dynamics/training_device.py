"""The device that trains: a GPU if it is there and faster, which a few steps on each tell.

A small model is often faster on the CPU: each of its operations takes less time than its launch on a GPU.
"""

from __future__ import annotations

import time
from pathlib import Path

from survey.dynamics.config import Training
from survey.dynamics.corpus import Corpus, corpus_of
from survey.dynamics.training_run import TrainingRun
from survey.onepass.device import choose_device, has_cuda

WARM_STEPS, TIMED_STEPS = 2, 5
TRIED = ("cpu", "cuda")


def device_of_training(requested: str, config: Training) -> str:
    """The requested device; for `auto` the faster one. Raises NotRunnable if this machine lacks it."""
    if requested != "auto":
        return choose_device(requested).name
    if not has_cuda():
        return "cpu"
    corpus = corpus_of(config)
    return min(TRIED, key=lambda device: seconds_of_steps(config, corpus, device))


def seconds_of_steps(config: Training, corpus: Corpus, device: str) -> float:
    """Seconds of some steps on this device, after some that warm it up. Nothing is kept."""
    run = TrainingRun(config, corpus, Path("unsaved"), device)
    started = 0.0
    for step in range(WARM_STEPS + TIMED_STEPS):
        if step == WARM_STEPS:
            started = time.perf_counter()
        run.advance(observed=False)  # ends with the loss on the CPU, so a GPU has done the step
    return time.perf_counter() - started
