"""Which files of a catalog are its tables: decided here alone, for queries, runs and compaction.

A file counts if the survey could have given its name, if its end is there, and if its columns are those of
a version of ours. Every other file is left out, with a reason. Only the end of each file is read, which a
query reads anyway: 1,000 loose files take 30 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from catalog.files import End, File, NoEnd
from catalog.store.open import CatalogStore
from catalog.tables.claimed_counts import refuse_claims
from catalog.tables.column_chunks import refuse_encrypted
from catalog.tables.damage import examine
from catalog.tables.footer import rows_at, schema_of
from catalog.tables.thrift import MalformedFooter
from catalog.tables.versions import problem_of, problem_of_rows

# foreign: not ours. damaged: ours and broken. unreadable: unknown, so nothing may follow from it.
Fate = Literal["foreign", "damaged", "unreadable"]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that no answer includes, and why."""

    file: File
    fate: Fate
    problem: str


@dataclass(slots=True)
class Inspection:
    """Files by what they are. newer: those of `sound` with columns that this version does not know."""

    sound: list[File] = field(default_factory=list)
    newer: list[File] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    gone: list[File] = field(default_factory=list)


def inspect(store: CatalogStore, files: Sequence[File]) -> Inspection:
    """Separate our tables from all other files. Raises UsageError if the catalog cannot be read."""
    inspection = Inspection()
    ours = [file for file in files if file.is_named_by_us]
    inspection.left_out += unnamed(files)
    schemas = _Schemas()
    for file, end in zip(ours, store.ends(ours), strict=True):
        _judge(store, file, end, schemas, inspection)
    return inspection


def without_columns(store: CatalogStore, files: Sequence[File]) -> list[LeftOut]:
    """The files of any name whose columns cannot be told: DuckDB would stop as soon as it opens them."""
    left_out = []
    for file, end in zip(files, store.ends(files), strict=True):
        if isinstance(end, NoEnd) or end.footer is None:
            problem = end.problem if isinstance(end, NoEnd) else "not a whole Parquet file"
            left_out.append(LeftOut(file, "foreign", problem))
            continue
        try:
            refuse_claims(end.footer)
            schema_of(end.footer)
        except MalformedFooter as error:
            left_out.append(LeftOut(file, "foreign", f"its footer is broken: {error}"))
    return left_out


def encrypted_among(store: CatalogStore, files: Sequence[File]) -> list[LeftOut]:
    """The files that are encrypted in part, for readers that cannot take them: a millisecond each."""
    left_out = []
    for file, end in zip(files, store.ends(files), strict=True):
        try:
            refuse_encrypted(end.footer or b"\0" if isinstance(end, End) else b"\0")
        except MalformedFooter as error:
            left_out.append(LeftOut(file, "foreign", f"not a table of {file.folder}/: {error}"))
    return left_out


def unnamed(files: Iterable[File]) -> list[LeftOut]:
    """The files whose names the survey does not give, whatever they contain."""
    problem = "not a name that the survey gives; move it out of the catalog"
    return [LeftOut(file, "foreign", problem) for file in files if not file.is_named_by_us]


class _Schemas:
    """The schemas read so far: footers of files of one version begin with the same bytes."""

    def __init__(self) -> None:
        self._known: list[tuple[str, bytes, str]] = []  # folder, first bytes, problem

    def problem(self, folder: str, footer: bytes) -> str:
        """Why a file with this footer is not a table of ours; empty if it is."""
        try:
            refuse_claims(footer)
            for known_folder, beginning, problem in self._known:
                if known_folder == folder and footer.startswith(beginning):
                    return problem or problem_of_rows(rows_at(footer, len(beginning)))
            types, end, rows = schema_of(footer)
        except MalformedFooter as error:
            return f"its footer is broken: {error}"
        problem = problem_of(folder, types)
        self._known.append((folder, footer[:end], problem))
        return problem or problem_of_rows(rows)


def _judge(
    store: CatalogStore, file: File, end: End | NoEnd, schemas: _Schemas, inspection: Inspection
) -> None:
    if isinstance(end, NoEnd):
        if end.gone:
            inspection.gone.append(file)
        else:
            inspection.left_out.append(LeftOut(file, "foreign" if end.foreign else "unreadable", end.problem))
        return
    if end.footer is None:
        inspection.left_out.append(LeftOut(file, "damaged", "not a whole Parquet file"))
        return
    if not schemas.problem(file.folder, end.footer):
        inspection.sound.append(file)
        return
    # Rare, so it may be read whole: is it ours and broken, of a newer version, or foreign?
    examined = examine(store, file)
    if examined.fate == "sound":
        inspection.sound.append(file)
        inspection.newer.append(file)
    elif examined.fate == "gone":
        inspection.gone.append(file)
    else:
        inspection.left_out.append(LeftOut(file, examined.fate, examined.problem))
