"""A catalog below a URL: s3://, gs://, hf://datasets/…, anything that fsspec opens.

One PUT publishes a file, whole or not at all. Requests that fail because the server is busy or the
connection broke are retried in `object_store_retries.py` alone. Imports are deferred: reading a local catalog
must not wait for fsspec.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, ClassVar, cast

from catalog.files import DAMAGED, ENDING, PROTOCOL, End, File, NoEnd, Write
from catalog.store.fsspec_client import (
    CONCURRENT_REQUESTS,
    CONTROL_S,
    READING_S,
    WRITING_PART_S,
    WRITING_S,
    deadline,
    map_concurrently,
    open_client,
)
from catalog.store.object_store_errors import Unreadable
from catalog.store.object_store_listing import base_name, described_file, described_object, list_objects
from catalog.store.object_store_retries import with_retries
from catalog.store.verified_copy import copy_verified
from survey.errors import CommitError, UsageError

if TYPE_CHECKING:
    import duckdb

    from catalog.store.duckdb_object_store import StoreFiles

MAX_LOOK_UPS = 64  # files to look for; more are looked up in the folder's listing


@dataclass(slots=True)
class ConditionalWrites:
    """What is known of a store's conditional writes. honoured: False once it ignored or refused one."""

    honoured: bool = True


@dataclass(frozen=True)
class ObjectStore:
    """A catalog's root as a URL. Only the URL is pickled: each process has credentials of its own."""

    url: str
    # Every node can write here, so rows need not travel through the driver.
    commits_in_task: ClassVar[bool] = True

    def __str__(self) -> str:
        return self.url

    def __reduce__(self) -> tuple[type[ObjectStore], tuple[str]]:
        return ObjectStore, (self.url,)  # without the open connections

    def entries(self) -> set[str] | None:
        """Names directly below the URL, or None if there are none. Raises UsageError if it cannot be read."""
        try:
            items = list_objects(self.fs, self._root)
        except Unreadable as error:
            raise UsageError(f"the catalog {self.url} cannot be read: {error}") from error
        return {base_name(item) for item in items} or None

    def make(self) -> None:
        """Nothing to make: an object store has no folders."""

    def prepare(self) -> None:
        """Nothing to prepare: taking the lock is the first write."""

    def files(self, folder: str) -> list[File]:
        """The Parquet files of one of its folders, sorted by name.

        Raises UsageError if they cannot be listed.
        """
        try:
            listed = list_objects(self.fs, self.inside(folder))
        except Unreadable as error:
            raise UsageError(f"the catalog {self.url} cannot be read: {error}") from error
        files = [described_file(self.url, folder, item) for item in listed if item["type"] == "file"]
        named = [file for file in files if file.name.endswith(ENDING) and not file.name.startswith(".")]
        return sorted(named, key=lambda file: file.name)

    def files_named(self, folder: str, names: Collection[str]) -> list[File]:
        """Those of these files that exist, sorted by name. Raises UsageError if that cannot be known.

        A few are asked for one by one, as a listing brings 1,000 names a request.
        """
        if len(names) > MAX_LOOK_UPS:
            return [file for file in self.files(folder) if file.name in names]
        paths = [self.inside(folder, name) for name in sorted(names)]
        items = map_concurrently(lambda path: described_object(self.fs, path), paths)
        for item in items:
            if isinstance(item, Unreadable) and not item.gone:
                raise UsageError(f"the catalog {self.url} cannot be read: {item}") from item
        return [described_file(self.url, folder, item) for item in items if isinstance(item, dict)]

    def publish(self, folder: str, name: str, write: Write, *, large: bool = False) -> None:
        """Let `write` fill a temporary file, then upload it, whole. Raises CommitError.

        large: upload from disk, as the file may not fit into memory.
        """
        import tempfile

        path, shown = self.inside(folder, name), f"{self.url}/{folder}/{name}"
        try:
            with tempfile.NamedTemporaryFile() as temporary:
                write(temporary)
                temporary.flush()
                limit = deadline(self.fs, WRITING_PART_S if large else WRITING_S)
                if large:
                    with_retries(lambda: self.fs.put_file(temporary.name, path, **limit))
                else:
                    temporary.seek(0)
                    content = temporary.read()
                    with_retries(lambda: self.fs.pipe_file(path, content, **limit))
        except (Unreadable, UsageError, OSError) as error:
            raise CommitError("commit-failed", shown, f"cannot be written: {error}") from error

    def open(self, file: File) -> IO[bytes]:
        """Open a file whose end was read, for Arrow: its reads raise OSError."""
        opened = self.duckdb_files.opened_for_arrow(file)
        return cast("IO[bytes]", opened)  # it has the methods that readers of Parquet use

    def small_file(self, folder: str, name: str, cap_bytes: int) -> bytes | None:
        """The content of a file that is no table; None if there is none, or none of at most `cap_bytes`."""
        path = self.inside(folder, name)
        try:
            limit = deadline(self.fs, READING_S)
            content: bytes = with_retries(lambda: self.fs.cat_file(path, start=0, end=cap_bytes + 1, **limit))
        except (Unreadable, UsageError):
            return None
        return content if len(content) <= cap_bytes else None

    def remove(self, files: Sequence[File]) -> None:
        """Remove files; one that does not exist any more is no error. Raises CommitError."""

        def remove(file: File) -> None:
            path, limit = self.inside(file.folder, file.name), deadline(self.fs, CONTROL_S)
            try:
                with_retries(lambda: self.fs.rm_file(path, **limit))
            except Unreadable as error:
                if not error.gone:
                    problem = f"cannot be removed: {error}"
                    raise CommitError("commit-failed", file.shown, problem) from error

        map_concurrently(remove, files)

    def set_aside(self, file: File) -> None:
        """Move a damaged file to a folder that no view reads. Raises CommitError."""
        source = self.inside(file.folder, file.name)
        aside = self.inside(DAMAGED, f"{file.folder}-{file.name}")
        limit = deadline(self.fs, WRITING_S)
        try:
            with_retries(lambda: self.fs.cp_file(source, aside, **limit))
        except Unreadable as error:
            raise CommitError("commit-failed", file.shown, f"cannot be set aside: {error}") from error
        self.remove([file])

    def sweep(self) -> None:
        """Nothing to sweep: an interrupted PUT leaves nothing."""

    def attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let a connection read below this URL and nothing else."""
        connection.register_filesystem(self.duckdb_files)
        connection.execute(f"SET allowed_directories = ['{PROTOCOL}://']")
        # Threads wait for the network, not for a core.
        connection.execute(f"SET threads = {CONCURRENT_REQUESTS}")

    def ends(self, files: Sequence[File]) -> Iterator[End | NoEnd]:
        """The end of each file, for its footer."""
        return self.duckdb_files.read_ends(files)

    def copy(self, file: File, to: IO[bytes]) -> None:
        """Read all of a file as it is now, over new connections, and check it. Raises Unreadable."""
        fresh = ObjectStore(self.url)
        try:
            files = [listed for listed in fresh.files(file.folder) if listed.name == file.name]
        except UsageError as error:
            raise Unreadable(str(error)) from error
        if not files:
            raise Unreadable(f"{file.shown}: gone", gone=True)
        copy_verified(files[0], fresh.read_range, to)

    @cached_property
    def conditional_writes(self) -> ConditionalWrites:
        """Whether the store honours conditional writes, as far as is known."""
        return ConditionalWrites()

    @cached_property
    def duckdb_files(self) -> StoreFiles:
        """The file system through which DuckDB reads this catalog."""
        from catalog.store.duckdb_object_store import StoreFiles

        return StoreFiles(self)

    @cached_property
    def fs(self) -> Any:  # Any: fsspec is not typed
        """The open file system. Raises UsageError if its package is missing."""
        return open_client(self.url)

    def inside(self, *names: str) -> str:
        """The path below the URL, as the file system writes it."""
        return "/".join([self._root, *names])

    def read_range(self, file: File, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of a file. Raises Unreadable."""
        path = self.inside(file.folder, file.name)

        def read() -> bytes:
            limit = deadline(self.fs, READING_S)
            content: bytes = self.fs.cat_file(path, start=start, end=stop, **limit)
            # Some libraries take a broken connection for the end of the file.
            if len(content) != stop - start:
                raise ConnectionError(f"{len(content)} bytes came, expected {stop - start}")
            return content

        return with_retries(read)

    @cached_property
    def _root(self) -> str:
        return str(self.fs._strip_protocol(self.url)).rstrip("/")
