"""The dead rows of one surveyed revision after another, by range.

A row is read unless its hash is that of a row already read: of this revision or of the one before. Bytes
between near rows are read with them (`survey/sharding/row_ranges.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.read.reader import Reader
from survey.errors import UsageError
from survey.numerics.row_decoder import RowDecoder
from survey.numerics.row_formats import row_format_of
from survey.opening import open_checkpoint
from survey.records.settings import Settings
from survey.records.target import MatrixName, ModelRef
from survey.sharding.row_ranges import picked_rows
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate

_HASHES = """
-- tokens of: select $repo as repo, $sha as sha, $matrix as matrix
SELECT token_id, row_hash FROM tokens
WHERE repo = $repo AND sha = $sha AND matrix = $matrix AND list_contains($ids, token_id) ORDER BY token_id
"""


@dataclass(frozen=True, slots=True)
class Revision:
    """A surveyed revision and the step in its name."""

    step: int
    name: str
    sha: str
    dtype: str
    vocab_rows: int
    hidden_dim: int
    tensor_bytes: int


class DeadRows:
    """Reads the dead rows of one revision after another. read_bytes: bytes of rows read so far."""

    def __init__(
        self, reader: Reader, repo: str, matrix: MatrixName, dead: NDArray[np.int64], settings: Settings
    ) -> None:
        self._reader, self._repo, self._matrix = reader, repo, matrix
        self._dead, self._settings = dead, settings
        self.read_bytes = 0

    def along(self, revisions: Sequence[Revision]) -> Iterator[NDArray[np.float64]]:
        """The dead rows of each revision, [K, D] in float64. Raises SurveyError, UsageError."""
        known: dict[int, bytes] = {}  # row hash -> stored bytes, of the revision before
        dtype = ""
        for revision in revisions:
            if revision.dtype != dtype:
                known, dtype = {}, revision.dtype  # the same values have other bytes
            hashes = self._hashes(revision)
            stored, known = self._stored(revision, hashes, known)
            row_format = row_format_of(dtype, f"{self._repo}@{revision.name}")
            vectors = RowDecoder(row_format, revision.hidden_dim).stored_values(b"".join(stored))
            if not np.isfinite(vectors).all():
                raise UsageError(f"{self._repo}@{revision.name}: a dead row holds a NaN or an infinity")
            yield vectors

    def _hashes(self, revision: Revision) -> list[int | None]:
        """The hash of each dead row; None if the revision has no per-token table."""
        rows = self._dead.tolist()
        parameters = {"repo": self._repo, "sha": revision.sha, "matrix": self._matrix, "ids": rows}
        by_row = dict(self._reader.ask(_HASHES, parameters).rows)
        return [by_row.get(row) for row in rows]

    def _stored(
        self, revision: Revision, hashes: Sequence[int | None], known: dict[int, bytes]
    ) -> tuple[list[bytes], dict[int, bytes]]:
        """The stored bytes of each dead row, and by hash those whose hash is known."""
        rows = self._dead.tolist()
        first_of: dict[int, int] = {}  # a hash that is not known -> the row to read for it
        for row, row_hash in zip(rows, hashes, strict=True):
            if row_hash is not None and row_hash not in known:
                first_of.setdefault(row_hash, row)
        hashless = [row for row, row_hash in zip(rows, hashes, strict=True) if row_hash is None]
        unread = sorted({*first_of.values(), *hashless})
        read = dict(zip(unread, self._read(revision, unread), strict=True))
        by_hash = {key: known[key] for key in hashes if key is not None and key in known}
        by_hash |= {row_hash: read[row] for row_hash, row in first_of.items()}
        stored = [
            read[row] if row_hash is None else by_hash[row_hash]
            for row, row_hash in zip(rows, hashes, strict=True)
        ]
        return stored, by_hash

    def _read(self, revision: Revision, rows: Sequence[int]) -> list[bytes]:
        if not rows:
            return []
        # By its commit: the catalog describes that one, wherever the branch points now.
        checkpoint = open_checkpoint(ModelRef(self._repo, revision.sha), self._settings)
        target = locate(lay_out(checkpoint), self._matrix)
        name = f"{self._repo}@{revision.name}"
        if target.scale is not None:
            raise UsageError(f"{name}: its {revision.dtype} values have a scale beside them: not followed")
        expected = (revision.dtype, (revision.vocab_rows, revision.hidden_dim))
        if (target.spec.dtype, target.spec.shape) != expected:
            raise UsageError(
                f"{name}: is {target.spec.dtype} {list(target.spec.shape)} now, was measured as "
                f"{expected[0]} {list(expected[1])}: run the survey again with --resurvey"
            )

        def count_bytes(count: int) -> None:
            self.read_bytes += count

        return picked_rows(checkpoint, target.spec, rows, count_bytes)
