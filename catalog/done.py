"""What a catalog already holds, so that nothing is measured twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from catalog.read import Reader
from survey.records import MatrixChoice, MatrixName

Key = tuple[str, str, str]  # repo, sha, matrix


@dataclass(frozen=True, slots=True)
class Row:
    """What decides whether a stored row is still good."""

    measures: Mapping[str, int]
    tied: bool


@dataclass(frozen=True, slots=True)
class Done:
    """The rows of a catalog by repo, sha and matrix."""

    rows: Mapping[Key, Row]

    def matrices(
        self, repo: str, sha: str, matrix: MatrixChoice, wanted: Mapping[str, int]
    ) -> list[MatrixName] | None:
        """The finished matrices that answer a request, or None where one is missing or old."""
        asked: list[MatrixName] = ["output", "input"] if matrix == "both" else [matrix]
        if matrix == "both" and (row := self.rows.get((repo, sha, "output"))) and row.tied:
            asked = ["output"]
        return asked if all(self._holds((repo, sha, name), wanted) for name in asked) else None

    def _holds(self, key: Key, wanted: Mapping[str, int]) -> bool:
        row = self.rows.get(key)
        return row is not None and all(row.measures.get(name) == version for name, version in wanted.items())


NOTHING_DONE = Done({})


def read_done(reader: Reader) -> Done:
    """Every row of the catalog, with the versions of its measures."""
    answer = reader.ask("SELECT repo, sha, matrix, tied, measures FROM models")
    return Done(
        {(repo, sha, matrix): Row(measures, tied) for repo, sha, matrix, tied, measures in answer.rows}
    )
