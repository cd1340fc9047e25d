"""The files of a catalog: their folders and their names."""

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
TOKENIZER_TABLES = "tokenizer_tables"  # the table of each tokenizer, which no view shows: it may be removed
ENDING = ".parquet"
PART = "part-"  # the prefix of files that compaction writes
# Names as `catalog.write.commit` and `catalog.write.compact` give them: a file with another name is not ours.
_PART_NAME = re.compile(r"part-[0-9A-Za-z-]+\.parquet")
_MATRIX_NAME = re.compile(r"[A-Za-z0-9._-]*@[A-Za-z0-9-]{1,14}\.(?:output|input)\.[0-9a-f]{16}\.parquet")
_RUN_NAME = re.compile(r"[0-9]{8}T[0-9]{6}[0-9-]*\.parquet")
_RESULT_NAME = re.compile(r"[A-Za-z0-9._-]*@[0-9a-f]{16}(?:\.[0-9]{8}T[0-9]{12})?\.parquet")
_LOOSE_NAMES = {ROWS: _MATRIX_NAME, TOKENS: _MATRIX_NAME, ATTEMPTS: _RUN_NAME}
MAX_FOOTER_BYTES = 1 << 24  # the footer of a part takes 1 MB
PROTOCOL = "catalog"  # of the URLs by which DuckDB reads a catalog's files, wherever the catalog lies

Write = Callable[[IO[bytes]], None]


def name_pattern(folder: str) -> str:
    """A regular expression that matches every name that a commit or a compaction gives in this folder."""
    return f"(?:{_LOOSE_NAMES.get(folder, _RESULT_NAME).pattern})|(?:{_PART_NAME.pattern})"


@dataclass(frozen=True, slots=True)
class File:
    """One Parquet file of a catalog.

    path: unique in the catalog; the path of a local file. shown: its name in messages. size: bytes.
    version: changes with the content (empty for local files: their content is never cached).
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
        """The path below the root of the catalog."""
        return f"{self.folder}/{self.name}"

    @property
    def url(self) -> str:
        """The URL that DuckDB opens."""
        return f"{PROTOCOL}://{self.inside}"

    @property
    def is_named_by_us(self) -> bool:
        """Whether a commit or a compaction could have given this name."""
        return re.fullmatch(name_pattern(self.folder), self.name) is not None


@dataclass(frozen=True, slots=True)
class End:
    """The end of a file that could be read. footer: all of it; None if there is no footer."""

    footer: bytes | None


@dataclass(frozen=True, slots=True)
class NoEnd:
    """Why the end of a file could not be read.

    gone: the file does not exist any more. foreign: the file is not one of ours.
    """

    problem: str
    gone: bool = False
    foreign: bool = False


def too_long(footer_bytes: int) -> NoEnd:
    """The refusal of a footer beyond MAX_FOOTER_BYTES, which is not read."""
    problem = f"its footer has {footer_bytes:,} bytes, expected {MAX_FOOTER_BYTES:,} or fewer"
    return NoEnd(problem, foreign=True)


def is_tail_whole(tail: bytes, size: int) -> bool:
    """Whether a file of `size` bytes ends as a Parquet file does. tail: its last 8 bytes or more."""
    footer_bytes = int.from_bytes(tail[-8:-4], "little")
    return tail[-4:] == b"PAR1" and footer_bytes + 12 <= size


def file_key(repo: str, sha: str, matrix: str) -> str:
    """Name of the files of one repo × sha × matrix, without `ENDING`.

    It is readable, and unique on file systems that ignore case, too: a hash covers the exact names.
    """
    readable, exact = _readable_and_exact(repo, sha, matrix)
    return f"{readable}@{sha[:14]}.{matrix}.{exact}"


def result_key(*parts: str) -> str:
    """Key of a single result and prefix of its file's name: as `file_key`, made of any texts."""
    readable, exact = _readable_and_exact(*parts)
    return f"{readable}@{exact}"


def _readable_and_exact(*parts: str) -> tuple[str, str]:
    exact = xxhash.xxh3_64_hexdigest("\0".join(parts).encode())
    return re.sub(r"[^A-Za-z0-9._-]+", "--", parts[0].strip("/"))[-80:].lstrip(".-"), exact


def is_part(file: File) -> bool:
    """Whether compaction wrote the file; every other file is called loose."""
    return file.name.startswith(PART) and "@" not in file.name  # every loose row file has an @


def loose_files(store: CatalogStore, folder: str = ROWS) -> list[File]:
    """The loose files of a folder: one for each result."""
    return [file for file in store.files(folder) if not is_part(file)]
