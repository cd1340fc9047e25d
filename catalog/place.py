"""Where a catalog lies, and what makes a folder one."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import xxhash

from survey.errors import UsageError

ROWS, TOKENS, ATTEMPTS, DAMAGED = "rows", "tokens", "attempts", "damaged"
_FOLDERS = (ROWS, TOKENS, ATTEMPTS)


@dataclass(frozen=True, slots=True)
class Place:
    """A catalog's root folder."""

    root: Path

    def files(self, folder: str) -> list[Path]:
        """The Parquet files of one of its folders, sorted by name."""
        return sorted((self.root / folder).glob("[!.]*.parquet"))


def place_to_read(uri: str) -> Place:
    """An existing catalog, or an empty folder, which is an empty catalog.

    Raises UsageError where there is none.
    """
    root = _root(uri)
    if not root.is_dir():
        raise UsageError(
            f"no catalog at {root}. `survey run MODELS --catalog {uri}` makes one; "
            "`survey demo` makes one to play with"
        )
    _refuse_other_folders(root)
    return Place(root)


def place_to_write(uri: str) -> Place:
    """A catalog to add to; made where there is none.

    Raises UsageError where the folder is something else or cannot be written.
    """
    root = _root(uri)
    try:
        root.mkdir(parents=True, exist_ok=True)
        _refuse_other_folders(root)
        for name in _FOLDERS:
            (root / name).mkdir(exist_ok=True)
        probe = root / ROWS / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"the catalog {root} cannot be written: {error.strerror}. Name another folder with --catalog"
        ) from error
    return Place(root)


def file_key(repo: str, sha: str, matrix: str) -> str:
    """Name of the files of one repo × sha × matrix, without its ending.

    It reads well and is unique on file systems that ignore case: the hash covers the exact names.
    """
    exact = xxhash.xxh3_64_hexdigest(f"{repo}\0{sha}\0{matrix}".encode())
    readable = re.sub(r"[^A-Za-z0-9._-]+", "--", repo.strip("/"))[-80:].lstrip(".-")
    return f"{readable}@{sha[:14]}.{matrix}.{exact}"


def _root(uri: str) -> Path:
    if "://" in uri:
        raise UsageError(f"{uri}: only folders can hold a catalog in this version")
    return Path(uri).expanduser().absolute()


def _refuse_other_folders(root: Path) -> None:
    found = {entry.name for entry in root.iterdir() if not entry.name.startswith(".")}
    if found and not found & set(_FOLDERS):
        raise UsageError(
            f"{root} is not a catalog: it holds {', '.join(sorted(found)[:3])}"
            f"{', …' if len(found) > 3 else ''}, expected rows/, tokens/ and attempts/. "
            "Name an empty or a new folder with --catalog"
        )
