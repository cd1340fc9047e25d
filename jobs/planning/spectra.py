"""What a run reads for the spectra that stored rows lack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jobs.planning.memory import task_memory_bytes
from jobs.planning.plan import PlanCriteria, Unchanged
from survey.checkpoints.checkpoint import Checkpoint
from survey.errors import SurveyError
from survey.records.settings import Settings
from survey.records.target import ModelRef
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate


def with_spectra(
    unchanged: Sequence[Unchanged],
    model: ModelRef,
    checkpoint: Checkpoint,
    criteria: PlanCriteria,
    settings: Settings,
) -> list[Unchanged]:
    """The same, each with what to read for its spectrum if it lacks one, or why nothing can be read."""
    return [
        _with_spectrum(item, model, checkpoint, criteria, settings)
        if criteria.reads_for_spectrum(item.key)
        else item
        for item in unchanged
    ]


def _with_spectrum(
    item: Unchanged, model: ModelRef, checkpoint: Checkpoint, criteria: PlanCriteria, settings: Settings
) -> Unchanged:
    try:
        target = locate(lay_out(checkpoint), item.matrix)
    except SurveyError as error:
        return replace(item, spectrum_problem=str(error))
    planned = replace(
        target,
        pattern=model.pattern,
        listed_in=model.listed_in,
        memory_bytes=task_memory_bytes(target, settings),
        spectrum_bytes=criteria.spectrum_bytes(target),
        planning=checkpoint.traffic,
        only_spectrum=True,
    )
    return replace(item, for_spectrum=planned)
