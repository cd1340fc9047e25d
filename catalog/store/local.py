"""A catalog in a local folder: files are written beside their final name, then renamed into place."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, ClassVar

from catalog.files import (
    DAMAGED,
    ENDING,
    FOLDERS,
    PROTOCOL,
    ROWS,
    SURVEY_FOLDERS,
    TOKENIZER_TABLES,
    End,
    File,
    NoEnd,
    Write,
)
from catalog.store.lock_file import CLOCK_PROBES
from catalog.store.regular_files import copy_data, end_of, open_to_read, sync_folder
from survey.errors import CommitError, UsageError
from survey.process.atomic_write import open_atomically, open_new

LONG_AGO_S = 3600.0  # no write of a single result takes as long

if TYPE_CHECKING:
    import duckdb

    from catalog.store.duckdb_local import LocalFiles


@dataclass(frozen=True)
class LocalFolder:
    """A catalog's root folder."""

    root: Path
    # Only the driver certainly has this folder, so tasks return their tables to it.
    commits_in_task: ClassVar[bool] = False

    def __str__(self) -> str:
        return str(self.root)

    def __reduce__(self) -> tuple[type[LocalFolder], tuple[Path]]:
        return LocalFolder, (self.root,)  # without the cached file system

    def entries(self) -> set[str] | None:
        """Names in the root, or None if it does not exist. Raises UsageError if it cannot be read."""
        try:
            return {entry.name for entry in self.root.iterdir()} if self.root.is_dir() else None
        except OSError as error:
            raise UsageError(f"the catalog {self.root} cannot be read: {error.strerror}") from error

    def make(self) -> None:
        """Create the root. Raises UsageError if that fails."""
        with self._as_usage_error():
            self.root.mkdir(parents=True, exist_ok=True)

    def prepare(self) -> None:
        """Create the folders, and check that they can be written. Raises UsageError."""
        with self._as_usage_error():
            for name in SURVEY_FOLDERS:
                self._folder(name)
            probe = self.root / ROWS / f".probe.{secrets.token_hex(8)}.tmp"
            open_new(probe).close()
            probe.unlink(missing_ok=True)  # another run may sweep it away

    def files(self, folder: str) -> list[File]:
        """The Parquet files of one of its folders, sorted by name. Raises UsageError if it cannot be read."""
        try:
            names = sorted(os.listdir(self.root / folder))
        except FileNotFoundError:
            return []
        except OSError as error:
            problem = f"{self.root / folder} cannot be read: {error.strerror}"
            raise UsageError(f"the catalog {self.root} cannot be read: {problem}") from error
        return [
            self._file(folder, name) for name in names if name.endswith(ENDING) and not name.startswith(".")
        ]

    def files_named(self, folder: str, names: Collection[str]) -> list[File]:
        """Those of these files that exist, sorted by name; the folder is not listed."""
        files = [self._file(folder, name) for name in sorted(names)]
        return [file for file in files if os.path.lexists(file.path)]

    def publish(self, folder: str, name: str, write: Write, *, large: bool = False) -> None:
        """Let `write` fill a file, then rename it into place, whole. Raises CommitError.

        large: of no concern here.
        """
        path = self.root / folder / name
        try:
            self._folder(folder)  # it may be the first of its kind
            with open_atomically(path) as opened:
                write(opened)
            sync_folder(path.parent)  # else a power cut could keep a row and lose its tokens
        except OSError as error:
            problem = f"cannot be written: {error.strerror or error}"
            raise CommitError("commit-failed", str(path), problem) from error

    def open(self, file: File) -> IO[bytes]:
        """Open a file to read. Raises OSError."""
        return open_to_read(file.path)

    def small_file(self, folder: str, name: str, cap_bytes: int) -> bytes | None:
        """The content of a file that is no table; None if there is none, or none of at most `cap_bytes`."""
        try:
            with open_to_read(str(self.root / folder / name)) as opened:
                content = opened.read(cap_bytes + 1)
        except OSError:
            return None
        return content if len(content) <= cap_bytes else None

    def remove(self, files: Sequence[File]) -> None:
        """Remove files; one that does not exist any more is no error. Raises CommitError."""
        for file in files:
            try:
                os.unlink(file.path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise CommitError("commit-failed", file.shown, f"cannot be removed: {error}") from error

    def set_aside(self, file: File) -> None:
        """Move a damaged file to a folder that no view reads, replacing none there. Raises CommitError."""
        name = aside = f"{file.folder}-{file.name}"
        try:
            damaged = self._folder(DAMAGED)
            for number in itertools.count(2):
                if not os.path.lexists(damaged / aside):
                    break
                aside = f"{name}.{number}"
            os.rename(file.path, damaged / aside)
        except OSError as error:
            problem = f"is damaged and cannot be set aside: {error.strerror}"
            raise CommitError("commit-failed", file.shown, problem) from error

    def sweep(self) -> None:
        """Remove temporary files of runs that were killed; only the holder of the lock may call this."""
        for folder in FOLDERS:
            for temporary in (self.root / folder).glob(f".*{ENDING}.*.tmp"):
                # Single results, which have an @ in their names, are written without the lock.
                is_locked = folder in SURVEY_FOLDERS or "@" not in temporary.name
                with contextlib.suppress(OSError):  # another user's file, which does no harm
                    if is_locked or time.time() - temporary.lstat().st_mtime > LONG_AGO_S:
                        temporary.unlink()
        others = [(TOKENIZER_TABLES, ".*.tmp"), (ROWS, ".probe.*.tmp"), (".", CLOCK_PROBES)]
        for folder, names in others:
            for temporary in (self.root / folder).glob(names):
                with contextlib.suppress(OSError):
                    temporary.unlink()

    def attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let a connection read the files whose ends were read, and nothing else."""
        connection.register_filesystem(self.duckdb_files)
        connection.execute(f"SET allowed_directories = ['{PROTOCOL}://']")
        # Both settings help with remote files. Here threads would wait for each other in Python: with the
        # settings 1,000 loose files take twice the CPU time of DuckDB's own reader, without them the same.
        connection.execute("SET async_threads = 0")
        connection.execute("SET enable_external_file_cache = false")

    @cached_property
    def duckdb_files(self) -> LocalFiles:
        """The file system through which DuckDB reads this catalog."""
        from catalog.store.duckdb_local import LocalFiles

        return LocalFiles()

    def ends(self, files: Sequence[File]) -> Iterator[End | NoEnd]:
        """The end of each file, with its footer. Whole files may be read from then on."""
        for file in files:  # one after another, because a footer may have megabytes
            end = end_of(file.path)
            if isinstance(end, End) and end.footer:
                self.duckdb_files.show_inspected(file, end.footer)
            yield end

    def copy(self, file: File, to: IO[bytes]) -> None:
        """Read all of a file. Raises OSError."""
        with open_to_read(file.path) as opened:
            copy_data(opened, to)

    def _file(self, folder: str, name: str) -> File:
        path = f"{self.root}/{folder}/{name}"
        return File(folder, name, path, path)

    def _folder(self, name: str) -> Path:
        """One of its folders, created if it is missing; a link that another user put there is not followed.

        Raises OSError.
        """
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        owner = folder.lstat().st_uid
        if folder.is_symlink() and owner not in (0, os.geteuid(), self.root.stat().st_uid):
            problem = f"{folder} is a link that user {owner} made, neither you nor the catalog's owner"
            raise PermissionError(errno.EPERM, problem)
        return folder

    @contextlib.contextmanager
    def _as_usage_error(self):  # type: ignore[no-untyped-def]  # a generator of nothing
        try:
            yield
        except OSError as error:
            problem = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
            raise UsageError(
                f"the catalog {self.root} cannot be written: {problem}. Name another folder with --catalog"
            ) from error
