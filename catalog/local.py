"""A catalog in a local folder: files are written beside their final name, then renamed into place."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
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
    File,
    Write,
    is_tail_whole,
)
from survey.errors import CommitError, UsageError

if TYPE_CHECKING:
    import duckdb

    from catalog.confined_local import LocalFiles


@dataclass(frozen=True)
class LocalFolder:
    """A catalog's root folder."""

    root: Path
    # Only the driver is sure to see this folder: tasks hand their tables back to it.
    commits_in_task: ClassVar[bool] = False

    def __str__(self) -> str:
        return str(self.root)

    def __reduce__(self) -> tuple[type[LocalFolder], tuple[Path]]:
        return LocalFolder, (self.root,)  # without what was read

    def entries(self) -> set[str] | None:
        """Names in the root, or None where it does not exist."""
        if not self.root.is_dir():
            return None
        try:
            return {entry.name for entry in self.root.iterdir()}
        except OSError as error:
            raise UsageError(f"the catalog {self.root} cannot be read: {error.strerror}") from error

    def make(self) -> None:
        """Make the root. Raises UsageError."""
        with self._explained():
            self.root.mkdir(parents=True, exist_ok=True)

    def prepare(self) -> None:
        """Make the folders and see that they can be written. Raises UsageError."""
        with self._explained():
            for name in SURVEY_FOLDERS:
                (self.root / name).mkdir(exist_ok=True)
            probe = self.root / ROWS / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()

    def files(self, folder: str) -> list[File]:
        """The Parquet files of one of its folders, sorted by name."""
        try:
            names = sorted(os.listdir(self.root / folder))
        except FileNotFoundError:
            return []
        root = str(self.root / folder)
        return [
            File(folder, name, f"{root}/{name}", f"{root}/{name}")
            for name in names
            if name.endswith(ENDING) and not name.startswith(".")
        ]

    def publish(self, folder: str, name: str, write: Write, *, large: bool = False) -> None:
        """Let `write` fill a file, then show it under its name, whole. Raises CommitError."""
        path = self.root / folder / name
        beside = path.with_name(f".{name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(exist_ok=True)  # of a kind of which this is the first
            with beside.open("wb") as opened:
                write(opened)
                opened.flush()
                os.fsync(opened.fileno())
            beside.replace(path)
            _sync(path.parent)  # or a power cut could keep a row and lose the tokens before it
        except OSError as error:
            raise CommitError("commit-failed", str(path), f"cannot be written: {error}") from error
        finally:
            with contextlib.suppress(OSError):
                beside.unlink()

    def open(self, file: File) -> IO[bytes]:
        """A file to read."""
        return open(file.path, "rb")

    def remove(self, files: Sequence[File]) -> None:
        """Remove files; one that is gone already is no error. Raises CommitError."""
        for file in files:
            try:
                os.unlink(file.path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise CommitError("commit-failed", file.shown, f"cannot be removed: {error}") from error

    def set_aside(self, file: File) -> None:
        """Move a damaged file where no view looks."""
        damaged = self.root / DAMAGED
        damaged.mkdir(exist_ok=True)
        os.replace(file.path, damaged / f"{file.folder}-{file.name}")

    def sweep(self) -> None:
        """Remove half-written files of runs that were killed; only for the holder of the lock."""
        for folder in FOLDERS:
            for beside in (self.root / folder).glob(f".*{ENDING}.*.tmp"):
                # Single results, which have an @ in their names, are written without the lock.
                if folder in SURVEY_FOLDERS or "@" not in beside.name:
                    beside.unlink(missing_ok=True)

    def attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let a connection read what `cut_short` has seen of this folder, and nothing else."""
        connection.register_filesystem(self.confined)
        connection.execute(f"SET allowed_directories = ['{PROTOCOL}://']")
        # Both are for files that are far away. Here threads would wait for each other in Python:
        # 1,000 loose files cost twice the CPU time, and without them what DuckDB's own reading costs.
        connection.execute("SET async_threads = 0")
        connection.execute("SET enable_external_file_cache = false")

    @cached_property
    def confined(self) -> LocalFiles:
        """This catalog as DuckDB sees it."""
        from catalog.confined_local import LocalFiles

        return LocalFiles()

    def cut_short(self, files: Sequence[File]) -> tuple[list[File], list[File]]:
        """Those that do not begin and end as Parquet files do, and those that are gone."""
        states = [(file, _state(file.path)) for file in files]
        self.confined.show([file for file, state in states if state == "whole"])
        return [file for file, state in states if state == "cut"], [
            file for file, state in states if state == "gone"
        ]

    @contextlib.contextmanager
    def _explained(self):  # type: ignore[no-untyped-def]  # a generator of nothing
        try:
            yield
        except OSError as error:
            raise UsageError(
                f"the catalog {self.root} cannot be written: {error.strerror}. "
                "Name another folder with --catalog"
            ) from error


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _state(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as opened:
            if opened.read(4) != b"PAR1":
                return "cut"
            size = opened.seek(0, 2)
            opened.seek(max(0, size - 8))
            return "whole" if is_tail_whole(opened.read(8), size) else "cut"
    except FileNotFoundError:
        return "gone"
    except OSError:
        return "cut"
