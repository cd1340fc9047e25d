"""Rows that were never trained, by their geometry alone: see survey/compact_population.py."""

from __future__ import annotations

from survey.folded import Folded, number
from survey.measurement import Undertrained


def undertrained(folded: Folded) -> Undertrained:
    """How many candidates there are, and how far apart from them the others lie; 0 where there are none."""
    found = folded.compact
    return Undertrained(
        undertrained_rows=int(found.rows.sum()) if found else 0,
        undertrained_contrast=number(found.contrast) if found else None,
    )
