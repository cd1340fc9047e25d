"""The request for a run: its models, its executor, and the measures that a row must have to answer it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from catalog.read.measured import MeasuredRows
from jobs.planning.plan import PlanCriteria
from survey.measures import required_measures
from survey.records.settings import Settings
from survey.records.target import MatrixChoice, ModelRef

Executor = Literal["ray", "serial"]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The models to survey, and the executor. address: a Ray cluster; None starts an embedded one.

    connections: the limit of the whole run; None allows 16 for each running model.
    """

    models: Sequence[ModelRef]
    matrix: MatrixChoice = "output"
    resurvey: bool = False
    executor: Executor = "ray"
    address: str | None = None
    ship_code: bool = False
    connections: int | None = None

    @property
    def starts_ray(self) -> bool:
        """Whether the run starts an embedded Ray if there is something to measure."""
        return self.executor == "ray" and self.address in (None, "local")


def criteria_of(
    request: RunRequest, settings: Settings, measured: MeasuredRows, *, explain: bool = False
) -> PlanCriteria:
    """The criteria for the plan of a run. measured: the catalog's rows."""
    measures = required_measures(tokens=settings.tokens, reference=settings.reference is not None)
    return PlanCriteria(request.matrix, measures, measured, explain, not request.resurvey, settings.spectrum)
