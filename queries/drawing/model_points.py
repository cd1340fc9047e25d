"""The points of charts that compare models: a record for each model, and the colours of their families."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import altair as alt

_SCHEME: Literal["tableau20"] = "tableau20"


@dataclass(frozen=True, slots=True)
class ModelPoint:
    """One model in the charts that compare models.

    ratio: centroid length / mean row length. angle: degrees between the dead and the live centroid; None if
    no row is dead. dead: rows. relative: length of the dead centroid, the live one's being 1. card: a link.
    """

    repo: str
    family: str
    ratio: float
    angle: float | None
    dead: int
    relative: float | None
    card: str


def family_colour(families: Sequence[str], *, legend: bool = True) -> alt.Color:
    """The colour of a family: the same in every chart of a page."""
    scale = alt.Scale(scheme=_SCHEME, domain=sorted(families))
    return alt.Color("family:N", scale=scale, title=None, legend=alt.Undefined if legend else None)


def families_of(points: Sequence[ModelPoint]) -> list[str]:
    """The families of the models, in order."""
    return sorted({point.family for point in points})
