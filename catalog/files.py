"""The files of a catalog: their folders, and how one is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from survey.results import RESULTS

ROWS, TOKENS, ATTEMPTS, DAMAGED = "rows", "tokens", "attempts", "damaged"
SURVEY_FOLDERS = (ROWS, TOKENS, ATTEMPTS)  # of `survey run`; each kind of single result has its own
FOLDERS = (*SURVEY_FOLDERS, *RESULTS)
ENDING = ".parquet"
PART = "part-"  # how the files that compaction writes begin
PROTOCOL = "catalog"  # of the names by which DuckDB reads a catalog's files, wherever they lie

Write = Callable[[IO[bytes]], None]


@dataclass(frozen=True, slots=True)
class File:
    """One Parquet file of a catalog.

    path: tells it from others; of a local file, where it lies. shown: what a person is told.
    version: changes when the content does (empty for local files: their content is never cached).
    """

    folder: str
    name: str
    path: str
    shown: str
    size: int = 0
    version: str = ""

    def __str__(self) -> str:
        return self.shown

    @property
    def inside(self) -> str:
        """Its name in the catalog."""
        return f"{self.folder}/{self.name}"

    @property
    def url(self) -> str:
        """What DuckDB opens."""
        return f"{PROTOCOL}://{self.inside}"


def is_tail_whole(tail: bytes, size: int) -> bool:
    """Whether a file of that size ends as a Parquet file does. tail: its last 8 bytes or more."""
    footer_bytes = int.from_bytes(tail[-8:-4], "little")
    return tail[-4:] == b"PAR1" and footer_bytes + 12 <= size
