"""A catalog below a URL: s3://, gs://, hf://datasets/…, anything that fsspec opens.

Imports stand inside: who asks a local folder must not wait for them.
The only door to object stores. One PUT publishes a file, whole or not at all; each request that a
busy server or a broken connection fails is made again here, and nowhere else.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from catalog.files import DAMAGED, ENDING, PROTOCOL, End, File, NoEnd, Write
from survey.errors import CommitError, UsageError

if TYPE_CHECKING:
    import duckdb

    from catalog.store.duckdb_object_store import StoreFiles

_T = TypeVar("_T")
WAITS_S = (0.5, 1.0, 2.0, 4.0)  # before the second try, the third, …
COPY_BYTES = 1 << 24
_MD5 = re.compile(r"\b[0-9a-f]{32}\b(?!-)")  # the ETag of an object that was put in one request
# Codes of answers that asking again does not change.
_FINAL = ("InvalidBucketName", "AuthorizationHeaderMalformed", "InvalidArgument", "NotImplemented", "501")
CONCURRENT_REQUESTS = 16  # requests in flight while many small files are looked at
# What fsspec needs for a protocol and does not bring along.
_INSTALL = {
    "s3": ("s3fs", "pip install 'centroid-survey[s3]'"),
    "s3a": ("s3fs", "pip install 'centroid-survey[s3]'"),
    "gs": ("gcsfs", "pip install gcsfs"),
    "gcs": ("gcsfs", "pip install gcsfs"),
}
# One retry loop per cause: it is ours, so the libraries' own (5 × 5 requests) are off.
_S3_OPTIONS: dict[str, Any] = {
    "config_kwargs": {
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        "connect_timeout": 10,
        "read_timeout": 60,
        "max_pool_connections": 2 * CONCURRENT_REQUESTS,
    },
    "max_concurrency": 2,  # of 50 MB each, while a part is uploaded
}


class Unreadable(Exception):
    """A request to the store failed for good; `gone` where the object is not there."""

    def __init__(self, problem: str, *, gone: bool = False) -> None:
        super().__init__(problem)
        self.gone = gone


@dataclass(slots=True)
class Conditions:
    """What became known of a store. honoured: it writes only where a condition holds, if that is asked."""

    honoured: bool = True


@dataclass(frozen=True)
class ObjectStore:
    """A catalog's root as a URL. Only the URL travels: credentials are each process's own."""

    url: str
    # Every node can write here: rows need not travel through the driver.
    commits_in_task: ClassVar[bool] = True

    def __str__(self) -> str:
        return self.url

    def __reduce__(self) -> tuple[type[ObjectStore], tuple[str]]:
        return ObjectStore, (self.url,)  # without the open connections

    def entries(self) -> set[str] | None:
        """Names directly below the URL, or None if nothing is there. Raises UsageError."""
        try:
            items = self._listed("")
        except Unreadable as error:
            raise UsageError(f"the catalog {self.url} cannot be read: {error}") from error
        return {_last(item["name"]) for item in items} or None

    def make(self) -> None:
        """Nothing to make: an object store has no folders."""

    def prepare(self) -> None:
        """Nothing to prepare: taking the lock is the first write."""

    def files(self, folder: str) -> list[File]:
        """The Parquet files of one of its folders, sorted by name. Raises UsageError."""
        try:
            listed = self._listed(folder)
        except Unreadable as error:
            raise UsageError(f"the catalog {self.url} cannot be read: {error}") from error
        files = [self._file(folder, item) for item in listed if item["type"] == "file"]
        named = [file for file in files if file.name.endswith(ENDING) and not file.name.startswith(".")]
        return sorted(named, key=lambda file: file.name)

    def publish(self, folder: str, name: str, write: Write, *, large: bool = False) -> None:
        """Let `write` fill a file, then put it under its name, whole. Raises CommitError.

        large: more than memory should hold.
        """
        import tempfile

        path, shown = self.inside(folder, name), f"{self.url}/{folder}/{name}"
        try:
            with tempfile.NamedTemporaryFile() as made:
                write(made)
                made.flush()
                if large:
                    self.patiently(lambda: self.fs.put_file(made.name, path))
                else:
                    made.seek(0)
                    content = made.read()
                    self.patiently(lambda: self.fs.pipe_file(path, content))
        except (Unreadable, UsageError, OSError) as error:
            raise CommitError("commit-failed", shown, f"cannot be written: {error}") from error

    def open(self, file: File) -> IO[bytes]:
        """A file whose end was looked at, to read; what its reads raise is an OSError."""
        return cast("IO[bytes]", self.confined.opened_elsewhere(file))  # as far as readers of Parquet need

    def remove(self, files: Sequence[File]) -> None:
        """Remove files; one that is gone already is no error. Raises CommitError."""

        def remove(file: File) -> None:
            try:
                self.patiently(lambda: self.fs.rm_file(self.inside(file.folder, file.name)))
            except Unreadable as error:
                if not error.gone:
                    problem = f"cannot be removed: {error}"
                    raise CommitError("commit-failed", file.shown, problem) from error

        self.at_once(remove, files)

    def set_aside(self, file: File) -> None:
        """Move a damaged file where no view looks. Raises CommitError."""
        source = self.inside(file.folder, file.name)
        aside = self.inside(DAMAGED, f"{file.folder}-{file.name}")
        try:
            self.patiently(lambda: self.fs.cp_file(source, aside))
        except Unreadable as error:
            raise CommitError("commit-failed", file.shown, f"cannot be set aside: {error}") from error
        self.remove([file])

    def sweep(self) -> None:
        """Nothing to sweep: a PUT that was cut off leaves nothing."""

    def attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let a connection read below this URL and nothing else."""
        connection.register_filesystem(self.confined)
        connection.execute(f"SET allowed_directories = ['{PROTOCOL}://']")
        connection.execute(
            f"SET threads = {CONCURRENT_REQUESTS}"
        )  # they wait for the network, not for a core

    def ends(self, files: Sequence[File]) -> list[End | NoEnd]:
        """The end of each file, for its footer."""
        return self.confined.look_at(files)

    def copy(self, file: File, to: IO[bytes]) -> None:
        """Read all of a file as it is now, with connections of its own. Raises Unreadable."""
        fresh = ObjectStore(self.url)
        try:
            files = [now for now in fresh.files(file.folder) if now.name == file.name]
        except UsageError as error:
            raise Unreadable(str(error)) from error
        if not files:
            raise Unreadable(f"{file.shown}: gone", gone=True)
        stated = _MD5.search(files[0].version)
        digests: list[str] = []
        while len(digests) < 2:
            to.seek(0)
            to.truncate()
            digests.append(fresh._fetched(files[0], to))
            if stated and digests[-1] == stated.group():
                return
        # Of an encrypted object (SSE-KMS, SSE-C) the ETag looks like an MD5 and is none.
        if digests[0] != digests[1]:
            raise Unreadable(f"{file.shown}: its bytes come with another checksum than the store's")

    def _fetched(self, file: File, to: IO[bytes]) -> str:
        """Fetch a file; the MD5 of what came, which is what S3 states of an object. Raises Unreadable."""
        digest = hashlib.md5(usedforsecurity=False)
        for start in range(0, file.size, COPY_BYTES):
            content = self.range(file, start, min(start + COPY_BYTES, file.size))
            digest.update(content)
            to.write(content)
        return digest.hexdigest()

    @cached_property
    def conditions(self) -> Conditions:
        """Whether it can be trusted with conditional writes."""
        return Conditions()

    @cached_property
    def confined(self) -> StoreFiles:
        """This catalog as DuckDB sees it."""
        from catalog.store.duckdb_object_store import StoreFiles

        return StoreFiles(self)

    @cached_property
    def fs(self) -> Any:  # Any: fsspec is not typed
        """The open file system. Raises UsageError if its package is missing."""
        import importlib.util

        import fsspec

        protocol = self.url.partition("://")[0]
        package, install = _INSTALL.get(protocol, (None, None))
        if package is not None and importlib.util.find_spec(package) is None:
            raise UsageError(f"{self.url}: {protocol}:// needs one more package: {install}")
        if package == "gcsfs":
            import logging

            logging.getLogger(package).setLevel(logging.CRITICAL)  # what it says is in the error
        options = _S3_OPTIONS if package == "s3fs" else {}
        try:
            fs = fsspec.filesystem(protocol, skip_instance_cache=True, use_listings_cache=False, **options)
        except (ImportError, ValueError) as error:
            raise UsageError(f"{self.url}: {error}") from error
        fs.retries = 1
        return fs

    def inside(self, *names: str) -> str:
        """The path below the URL, as the file system writes it."""
        return "/".join([self._root, *names])

    def range(self, file: File, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of a file. Raises Unreadable."""
        path = self.inside(file.folder, file.name)

        def ask() -> bytes:
            content: bytes = self.fs.cat_file(path, start=start, end=stop)
            if len(content) != stop - start:  # some libraries take a broken connection for the end
                raise ConnectionError(f"{len(content)} bytes came, expected {stop - start}")
            return content

        return self.patiently(ask)

    def at_once(self, work: Callable[[File], _T], files: Sequence[File]) -> list[_T]:
        """Work on many small files, several at a time."""
        from concurrent.futures import ThreadPoolExecutor

        if not files:
            return []
        with ThreadPoolExecutor(min(CONCURRENT_REQUESTS, len(files))) as pool:
            return list(pool.map(work, files))

    def patiently(self, request: Callable[[], _T]) -> _T:
        """Make a request, again where the server is busy or the connection broke.

        Raises Unreadable, FileExistsError for a failed precondition.
        """
        import random

        for wait_s in (*WAITS_S, None):
            try:
                return request()
            except FileExistsError:
                raise
            except Exception as error:  # each backend raises its own library's
                if _refused_precondition(error):
                    raise FileExistsError(str(error)) from error
                if wait_s is None or not _may_pass(error):
                    raise Unreadable(_told(error), gone=_is_gone(error)) from error
                time.sleep(wait_s * random.uniform(0.5, 1.5))  # spread out
        raise AssertionError("the last try returns or raises")

    @cached_property
    def _root(self) -> str:
        return str(self.fs._strip_protocol(self.url)).rstrip("/")

    def _listed(self, folder: str) -> list[dict[str, Any]]:  # Any: what a backend tells of a file
        path = self.inside(folder) if folder else self._root

        def ask() -> list[dict[str, Any]]:
            self.fs.invalidate_cache()
            listed: list[dict[str, Any]] = self.fs.ls(path, detail=True)
            return listed

        try:
            items = self.patiently(ask)
        except Unreadable as error:
            if not error.gone or _cause(error.__cause__) == "NoSuchBucket":
                raise
            return []
        return [item for item in items if item["name"].strip("/") != path.strip("/")]

    def _file(self, folder: str, item: dict[str, Any]) -> File:
        name = _last(item["name"])
        seen = [item.get(key) for key in ("ETag", "etag", "generation", "mtime", "created", "LastModified")]
        version = "|".join(str(value) for value in (item["size"], *seen) if value is not None)
        return File(
            folder,
            name,
            f"{PROTOCOL}://{folder}/{name}",
            f"{self.url}/{folder}/{name}",
            item["size"],
            version,
        )


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]


def _cause(error: object) -> str | None:
    """The error code in an S3 answer, where there was one."""
    response = getattr(getattr(error, "__cause__", None), "response", None)
    return response["Error"].get("Code") if isinstance(response, dict) and "Error" in response else None


def is_not_implemented(error: Unreadable) -> bool:
    """Whether the store does not know what a request asked for."""
    return _cause(error.__cause__) in ("NotImplemented", "501")


def _is_gone(error: Exception) -> bool:
    return isinstance(error, FileNotFoundError)


def _refused_precondition(error: Exception) -> bool:
    return _cause(error) in ("PreconditionFailed", "412")


def _is_refused(error: Exception) -> bool:
    """Whether Google's store refuses us: gcsfs has no class for that."""
    return getattr(error, "code", None) in (401, 403) or str(error).startswith("Forbidden: ")


def _may_pass(error: Exception) -> bool:
    """Whether asking again may help: a server that is busy or ill, a connection that broke."""
    if _is_refused(error):
        return False
    if "Credential" in type(error).__name__ or "Token" in type(error).__name__:
        return False
    if _cause(error) in _FINAL:
        return False
    never = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)
    return not isinstance(error, (*never, ImportError, NotImplementedError, TypeError, ValueError))


def _told(error: Exception) -> str:
    """An error for a person, with what to do where the cause is known."""
    name, text = type(error).__name__, " ".join(str(error).split()) or type(error).__name__
    if "Credential" in name:
        return f"{text}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what your store asks for"
    if _is_refused(error):
        return (
            f"{text}: set GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`, "
            "with rights to the bucket"
        )
    if isinstance(error, PermissionError):
        return f"permission denied ({text}): check the credentials in the environment and their rights"
    if _cause(error) == "NoSuchBucket":
        return f"{text}: make the bucket first, or check its name and the endpoint"
    return text
