"""A measured matrix, as a task delivers it to the catalog."""

from __future__ import annotations

from pathlib import Path

from jobs.outcome import Delivered
from jobs.task import measure_one
from survey.locate import lay_out, locate
from survey.matrix import open_checkpoint
from survey.pace import OwnPace
from survey.target import ModelRef, Settings

ON_CPU = Settings(device="cpu")


def delivered(folder: Path, settings: Settings = ON_CPU) -> Delivered:
    checkpoint = open_checkpoint(ModelRef(str(folder), folder=folder), settings)
    target = locate(checkpoint, lay_out(checkpoint), "output", settings.connections)
    outcome = measure_one(target, settings, OwnPace(), lambda count: None)
    assert isinstance(outcome, Delivered), outcome
    return outcome
