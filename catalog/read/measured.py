"""The rows that a catalog holds already, so that nothing is measured twice."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from sys import intern

from catalog.files import ENDING, ROWS, file_key
from catalog.read.pieces import Pieces
from catalog.read.reader import Reader
from catalog.read.view_columns import view_columns
from survey.errors import CommitError
from survey.records.measure_definition import TOKEN_TABLE, Measure
from survey.records.target import MatrixChoice, MatrixName

RowKey = tuple[str, str, str]  # repo, sha, matrix


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """The columns that decide whether a stored row is still current, and whether it is another's, too."""

    measures: Mapping[str, int]
    tied: bool
    has_tokens: bool = True  # its per-token table exists
    content_key: str | None = None
    tokenizer_key: str | None = None
    is_copy: bool = False
    stored: tuple[str, int, int] | None = None  # dtype, V, D
    measured_at: datetime | None = None

    def lacks(self, required: Iterable[Measure]) -> bool:
        """Whether one of these measures is missing, or was made by another version of it."""
        return any(self.measures.get(measure.name) != measure.version for measure in required)


@dataclass(frozen=True)
class MeasuredRows:
    """The rows of a catalog by repo, sha and matrix, as far as they can be read."""

    rows: Mapping[RowKey, MeasuredRow]
    unreadable: frozenset[str] = frozenset()  # names of row files that exist and cannot be read
    spectra: frozenset[RowKey] = frozenset()  # the matrices that have one

    @cached_property
    def _contents_of_spectra(self) -> frozenset[str]:
        """Content keys of the matrices that have a spectrum."""
        rows = (self.rows.get(key) for key in self.spectra)
        return frozenset(row.content_key for row in rows if row is not None and row.content_key)

    def has_spectrum(self, key: RowKey) -> bool:
        """Whether a spectrum of the bytes of a stored row is there, under its key or another."""
        row = self.rows.get(key)
        return key in self.spectra or (row is not None and row.content_key in self._contents_of_spectra)

    def repos(self) -> frozenset[str]:
        """Repositories that have a row, of any commit."""
        return frozenset(repo for repo, _, _ in self.rows)

    def matrices(
        self, repo: str, sha: str, matrix: MatrixChoice, required: Collection[Measure]
    ) -> list[MatrixName] | None:
        """The stored matrices that answer a request, or None if one is missing or old."""
        matrices: list[MatrixName] = ["output", "input"] if matrix == "both" else [matrix]
        if matrix == "both" and (row := self.rows.get((repo, sha, "output"))) and row.tied:
            matrices = ["output"]
        return matrices if all(self._is_current((repo, sha, name), required) for name in matrices) else None

    def lacking(self, required: Collection[Measure], keys: Iterable[RowKey] | None = None) -> list[RowKey]:
        """The rows with stored tokens that lack one of these measures; of `keys`, or of all."""
        return [
            key
            for key in (self.rows if keys is None else keys)
            if (row := self.rows.get(key)) is not None and row.has_tokens and row.lacks(required)
        ]

    def lacks(self, key: RowKey, required: Iterable[Measure]) -> bool:
        """Whether a stored row was made without one of these measures, or by another version of it."""
        row = self.rows.get(key)
        return row is not None and row.lacks(required)

    def refuse_unreadable(self, key: RowKey) -> None:
        """Unknown is not absent: a row that cannot be read is not measured again. Raises CommitError."""
        if (name := file_key(*key) + ENDING) in self.unreadable:
            remedy = "let this user read it, or remove it to measure it anew"
            raise CommitError("commit-failed", f"{ROWS}/{name}", "is there and cannot be read", remedy)

    def _is_current(self, key: RowKey, required: Collection[Measure]) -> bool:
        """Whether a row need not be measured again."""
        row = self.rows.get(key)
        if row is None or (TOKEN_TABLE in required and not row.has_tokens):
            return False
        # A measure that did not exist when the row was made is no reason to read the matrix again.
        return not row.lacks(
            measure for measure in required if measure.on_request or measure.name in row.measures
        )


NOTHING_MEASURED = MeasuredRows({})
_DECISIVE = (
    "repo, sha, matrix, tied, measures, content_key, tokenizer_key, measured_from IS NOT NULL, dtype, "
    "vocab_rows, hidden_dim, measured_at"
)


def read_measured(reader: Reader) -> MeasuredRows:
    """Every row of the catalog, with the versions of its measures."""
    # Tables that cannot be read are not missing.
    files = reader.token_files()
    files |= {item.file.name for item in reader.left_out if item.fate == "unreadable"}
    # All figures are read, not only the few that are needed: else a row that is damaged in another column
    # would count as measured for ever.
    figures = ", ".join(column.name for column in view_columns()["models"])
    sql = f"SELECT {_DECISIVE}, hash({figures}) FROM measured_rows"
    rows = reader.ask_pieces(sql, None, lambda pieces: _by_key(pieces, files))
    # A row of no matrix is no spectrum of ours.
    named = "repo IS NOT NULL AND sha IS NOT NULL AND matrix IS NOT NULL"
    spectra = reader.ask(f"SELECT repo, sha, matrix FROM spectra WHERE {named}").rows
    return MeasuredRows(
        rows, spectra=frozenset((intern(repo), intern(sha), intern(matrix)) for repo, sha, matrix in spectra)
    )


def _by_key(pieces: Pieces, files: Collection[str]) -> dict[RowKey, MeasuredRow]:
    """The rows of an answer. The measures of rows of one version are one object: there are few versions."""
    rows: dict[RowKey, MeasuredRow] = {}
    versions: dict[tuple[tuple[str, int], ...], dict[str, int]] = {}
    for piece in pieces.rows:
        for repo, sha, matrix, tied, measures, content, tokenizer, is_copy, *shape, at, _ in piece:
            key = intern(repo), intern(sha), intern(matrix)
            listed = measures or {}
            rows[key] = MeasuredRow(
                versions.setdefault(tuple(listed.items()), listed),
                tied,
                f"{file_key(*key)}{ENDING}" in files,
                content,
                tokenizer,
                is_copy,
                (shape[0], shape[1], shape[2]),
                at,
            )
    return rows
