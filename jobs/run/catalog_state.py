"""What the catalog holds when a run begins; only what is proved broken is moved out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from catalog.layout import ROWS, is_part
from catalog.read.measured import MeasuredRows, read_measured
from catalog.read.reader import Reader
from catalog.store.open import CatalogStore
from catalog.tables.damage import examine
from catalog.tables.inspection import LeftOut
from jobs.run.changes import read_before
from jobs.run.ledger import RunLedger
from survey.errors import CommitError, UsageError


def read_catalog(place: CatalogStore, result: RunLedger) -> MeasuredRows:
    """Every row that can be read; damaged files are moved out of the way, so they are made anew.

    A file that cannot be read is not damaged: it stays, and what it may hold is not measured again. The
    run's times, its name included, are from then on after those of all runs that are in there.
    Raises UsageError where that could be anything.
    """
    with Reader(place) as reader:
        done = read_measured(reader)
        result.before = read_before(reader)
        result.clock.set_after(reader)
        left_out = list(reader.left_out)
    result.run_id = result.clock.run_id(result.run_id)
    _refuse_unreadable_parts(left_out)
    for item in left_out:
        opinion = examine(place, item.file) if item.fate == "damaged" else None
        if opinion is not None and opinion.fate == "damaged":
            _set_aside(place, LeftOut(item.file, "damaged", opinion.problem), result)
        elif opinion is None or opinion.fate != "gone":
            result.left_out.append(item)
    rows = [item for item in result.left_out if item.file.folder == ROWS]
    unknown = {item.file.name for item in rows if item.fate != "foreign"}
    return replace(done, unreadable=frozenset(unknown))


def _set_aside(place: CatalogStore, broken: LeftOut, result: RunLedger) -> None:
    """Move a damaged file out of the way; one that cannot be moved stays, and stops nothing else."""
    try:
        place.set_aside(broken.file)
        result.set_aside.append(broken)
    except CommitError as error:
        problem = f"{broken.problem}; it {error.problem}: move it out of the catalog yourself"
        result.left_out.append(replace(broken, problem=problem))


def _refuse_unreadable_parts(left_out: Sequence[LeftOut]) -> None:
    """A part may hold any model's row: without it a run would measure again what is there."""
    for item in left_out:
        if item.fate == "unreadable" and item.file.folder == ROWS and is_part(item.file):
            raise UsageError(
                f"{item.file}: {item.problem}; it may hold the rows of any model. Nothing was done: "
                "let this user read it, or run again when the store answers"
            )
