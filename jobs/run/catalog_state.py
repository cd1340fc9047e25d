"""The state of the catalog when a run begins; only files that are proved broken are moved out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from catalog.files import ROWS, is_part
from catalog.read.measured import MeasuredRows, read_measured
from catalog.read.reader import Reader
from catalog.store.open import CatalogStore
from catalog.tables.damage import examine
from catalog.tables.inspection import LeftOut
from jobs.run.changes import read_before
from jobs.run.ledger import RunLedger
from survey.errors import CommitError, UsageError


def read_catalog(store: CatalogStore, ledger: RunLedger) -> MeasuredRows:
    """Every readable row; damaged files are moved away, so that the run measures them again.

    A file that cannot be read is not damaged: it stays, and the row that it may hold is not measured again.
    The run's times, its name included, are then later than those of all runs in the catalog.
    Raises UsageError if an unreadable file may hold any row.
    """
    with Reader(store) as reader:
        measured = read_measured(reader)
        ledger.before = read_before(reader)
        ledger.clock.set_after(reader)
        left_out = list(reader.left_out)
    ledger.run_id = ledger.clock.run_id(ledger.run_id)
    _refuse_unreadable_parts(left_out)
    for item in left_out:
        opinion = examine(store, item.file) if item.fate == "damaged" else None
        if opinion is not None and opinion.fate == "damaged":
            _set_aside(store, LeftOut(item.file, "damaged", opinion.problem), ledger)
        elif opinion is None or opinion.fate != "gone":
            ledger.left_out.append(item)
    rows = [item for item in ledger.left_out if item.file.folder == ROWS]
    unknown = {item.file.name for item in rows if item.fate != "foreign"}
    return replace(measured, unreadable=frozenset(unknown))


def _set_aside(store: CatalogStore, broken: LeftOut, ledger: RunLedger) -> None:
    """Move a damaged file away; if it cannot be moved it stays, and the run goes on."""
    try:
        store.set_aside(broken.file)
        ledger.set_aside.append(broken)
    except CommitError as error:
        problem = f"{broken.problem}; it {error.problem}: move it out of the catalog yourself"
        ledger.left_out.append(replace(broken, problem=problem))


def _refuse_unreadable_parts(left_out: Sequence[LeftOut]) -> None:
    """Raises UsageError for a part: it may hold any row, and the run would measure that row again."""
    for item in left_out:
        if item.fate == "unreadable" and item.file.folder == ROWS and is_part(item.file):
            raise UsageError(
                f"{item.file}: {item.problem}; it may hold the rows of any model. Nothing was done: "
                "let this user read it, or run again when the store answers"
            )
