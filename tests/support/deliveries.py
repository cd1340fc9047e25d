"""A measured matrix, as a task delivers it to the catalog."""

from __future__ import annotations

from pathlib import Path

from jobs.tasks.measure_one import measure_one
from jobs.tasks.outcome import Delivered
from survey.hub.throttle import LocalThrottle
from survey.opening import open_checkpoint
from survey.records.settings import Settings
from survey.records.target import ModelRef
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate

ON_CPU = Settings(device="cpu")


def delivered(folder: Path, settings: Settings = ON_CPU) -> Delivered:
    checkpoint = open_checkpoint(ModelRef(str(folder), folder=folder), settings)
    target = locate(lay_out(checkpoint), "output")
    outcome = measure_one(target, settings, LocalThrottle(), lambda count: None)
    assert isinstance(outcome, Delivered), outcome
    return outcome
