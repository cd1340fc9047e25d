"""Unique rows that lie with the dead: see survey/dead_clouds.py."""

from __future__ import annotations

from survey.folded import Folded
from survey.measurement import Frozen


def frozen(folded: Folded) -> Frozen:
    """How many there are; None where nothing is dead."""
    return Frozen(frozen_rows=int(folded.frozen.sum()) if folded.members else None)
