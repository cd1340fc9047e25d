"""The files of a catalog: their folders, and how one is named."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import xxhash

from survey.records.results import RESULTS

if TYPE_CHECKING:
    from catalog.store.open import CatalogStore


ROWS, TOKENS, ATTEMPTS, DAMAGED = "rows", "tokens", "attempts", "damaged"
SURVEY_FOLDERS = (ROWS, TOKENS, ATTEMPTS)  # of `survey run`; each kind of single result has its own
FOLDERS = (*SURVEY_FOLDERS, *RESULTS)
ENDING = ".parquet"
PART = "part-"  # how the files that compaction writes begin
# As `catalog.store.open` and `catalog.write.compact` make names: a file with another name is not ours.
_PART_NAME = re.compile(r"part-[0-9A-Za-z-]+\.parquet")
_MATRIX_NAME = re.compile(r"[A-Za-z0-9._-]*@[A-Za-z0-9-]{1,14}\.(?:output|input)\.[0-9a-f]{16}\.parquet")
_RUN_NAME = re.compile(r"[0-9]{8}T[0-9]{6}[0-9-]*\.parquet")
_RESULT_NAME = re.compile(r"[A-Za-z0-9._-]*@[0-9a-f]{16}(?:\.[0-9]{8}T[0-9]{12})?\.parquet")
_LOOSE_NAMES = {ROWS: _MATRIX_NAME, TOKENS: _MATRIX_NAME, ATTEMPTS: _RUN_NAME}
MAX_FOOTER_BYTES = 1 << 26  # a part's is 1 MB
PROTOCOL = "catalog"  # of the names by which DuckDB reads a catalog's files, wherever they lie

Write = Callable[[IO[bytes]], None]


def name_pattern(folder: str) -> str:
    """A regular expression of the whole names that a commit or a compaction gives in this folder."""
    return f"(?:{_LOOSE_NAMES.get(folder, _RESULT_NAME).pattern})|(?:{_PART_NAME.pattern})"


@dataclass(frozen=True, slots=True)
class File:
    """One Parquet file of a catalog.

    path: tells it from others; of a local file, where it lies. shown: its name in messages.
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

    @property
    def is_named_by_us(self) -> bool:
        """Whether a commit or a compaction could have given this name."""
        return re.fullmatch(name_pattern(self.folder), self.name) is not None


@dataclass(frozen=True, slots=True)
class End:
    """The end of a file. footer: as much of its footer as was read; None if it has none."""

    footer: bytes | None


@dataclass(frozen=True, slots=True)
class NoEnd:
    """Why the end of a file could not be read. gone: it is not there any more. foreign: no
    file of ours at all."""

    problem: str
    gone: bool = False
    foreign: bool = False


def is_tail_whole(tail: bytes, size: int) -> bool:
    """Whether a file of that size ends as a Parquet file does. tail: its last 8 bytes or more."""
    footer_bytes = int.from_bytes(tail[-8:-4], "little")
    return tail[-4:] == b"PAR1" and footer_bytes + 12 <= size


def file_key(repo: str, sha: str, matrix: str) -> str:
    """Name of the files of one repo × sha × matrix, without its ending.

    It reads well and is unique on file systems that ignore case: the hash covers the exact names.
    """
    readable, exact = _readable_and_exact(repo, sha, matrix)
    return f"{readable}@{sha[:14]}.{matrix}.{exact}"


def result_key(*parts: str) -> str:
    """What tells a single result from others, and begins its file's name; as `file_key`, of any parts."""
    readable, exact = _readable_and_exact(*parts)
    return f"{readable}@{exact}"


def _readable_and_exact(*parts: str) -> tuple[str, str]:
    exact = xxhash.xxh3_64_hexdigest("\0".join(parts).encode())
    return re.sub(r"[^A-Za-z0-9._-]+", "--", parts[0].strip("/"))[-80:].lstrip(".-"), exact


def is_part(file: File) -> bool:
    """Whether a file holds what compaction merged; the others are called loose."""
    return file.name.startswith(PART) and "@" not in file.name  # every loose row file has an @


def loose_files(store: CatalogStore, folder: str = ROWS) -> list[File]:
    """The files that tasks or runs wrote, one for each result."""
    return [file for file in store.files(folder) if not is_part(file)]
