"""Compare-and-swap on one small object: the primitive under the lock.

S3 decides by If-None-Match and If-Match. Some stores that speak its protocol ignore these conditions or
refuse them; that is noticed when the object is created. Other stores offer, through fsspec, at most
"create only if it does not exist", and so do folders; there a takeover reads, writes and reads again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from catalog.store import lock_file
from catalog.store.fsspec_client import CONTROL_S, deadline
from catalog.store.local import LocalFolder
from catalog.store.object_store import ObjectStore
from catalog.store.object_store_errors import Unreadable, is_not_implemented
from catalog.store.object_store_retries import with_retries
from catalog.store.open import CatalogStore

SETTLING_S = 1.0  # after which another's write of the same moment is visible


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """An object at one time: its content, the name of this version of it, seconds since it was written."""

    content: bytes
    version: str
    age_s: float


def create_object(store: CatalogStore, name: str, content: bytes) -> bool:
    """Create the object; False if it exists. Raises Unreadable."""
    if isinstance(store, LocalFolder):
        return lock_file.create_lock_file(store.root / name, content)
    if peek(store, name) is not None:  # a store without conditions (hf://, some S3) would overwrite it
        return False
    path = store.inside(name)
    try:
        if not _is_s3(store):
            with_retries(lambda: store.fs.pipe_file(path, content, mode="create", **_limit(store)))
        elif _put(store, path, content, IfNoneMatch="*") and _refuses_again(store, path, content):
            return True
        elif not store.conditional_writes.honoured:
            with_retries(lambda: store.fs.pipe_file(path, content, **_limit(store)))
    except FileExistsError:
        return False
    return _lasts(store, name, content)


def replace(store: CatalogStore, name: str, content: bytes, expected: ObjectVersion) -> bool:
    """Replace the object if it is still `expected`; False if it is not. Raises Unreadable."""
    try:
        if isinstance(store, ObjectStore) and _is_s3(store) and store.conditional_writes.honoured:
            return _put(store, store.inside(name), content, IfMatch=expected.version)
    except FileExistsError:
        return False
    current = peek(store, name)
    if current is None or current.content != expected.content:
        return False
    if isinstance(store, LocalFolder):
        lock_file.overwrite(store.root / name, content)
    else:
        path = store.inside(name)
        with_retries(lambda: store.fs.pipe_file(path, content, **_limit(store)))
    return _lasts(store, name, content)


def peek(store: CatalogStore, name: str) -> ObjectVersion | None:
    """The object as it is now; None if it does not exist. Raises Unreadable."""
    if isinstance(store, LocalFolder):
        stored = lock_file.read(store.root / name)
        return None if stored is None else ObjectVersion(stored[0], "", stored[1])
    path = store.inside(name)
    try:
        return with_retries(lambda: _read_s3(store, path) if _is_s3(store) else _read(store, path))
    except Unreadable as error:
        if error.gone:
            return None
        raise


def erase_object(store: CatalogStore, name: str) -> None:
    """Remove the object. Raises Unreadable."""
    if isinstance(store, LocalFolder):
        lock_file.erase_lock_file(store.root / name)
    else:
        with_retries(lambda: store.fs.rm_file(store.inside(name), **_limit(store)))


def _is_s3(store: ObjectStore) -> bool:
    return hasattr(store.fs, "call_s3")


def _put(store: ObjectStore, path: str, content: bytes, **condition: str) -> bool:
    """Write on a condition; False if the store has no conditions. Raises FileExistsError, Unreadable."""
    bucket, _, key = path.partition("/")
    try:
        with_retries(
            lambda: store.fs.call_s3(
                "put_object", Bucket=bucket, Key=key, Body=content, **condition, **_limit(store)
            )
        )
    except Unreadable as error:
        if not is_not_implemented(error):
            raise
        store.conditional_writes.honoured = False
    return store.conditional_writes.honoured


def _refuses_again(store: ObjectStore, path: str, content: bytes) -> bool:
    """Whether the store refuses to create what exists now: a store that ignores conditions does not."""
    try:
        _put(store, path, content, IfNoneMatch="*")
    except FileExistsError:
        return True
    store.conditional_writes.honoured = False
    return False


def _read_s3(store: ObjectStore, path: str) -> ObjectVersion:
    bucket, _, key = path.partition("/")
    head = store.fs.call_s3("head_object", Bucket=bucket, Key=key, **_limit(store))
    content = _content(store, path)  # if newer than the head, a replacement is refused, which is safe
    # Both times are the server's: the clocks of two machines may differ by more than STALE_S.
    date = head["ResponseMetadata"]["HTTPHeaders"].get("date")
    now = parsedate_to_datetime(date) if date else datetime.now(UTC)
    return ObjectVersion(content, str(head["ETag"]), (now - head["LastModified"]).total_seconds())


def _read(store: ObjectStore, path: str) -> ObjectVersion:
    content, info = _content(store, path), store.fs.info(path, **_limit(store))
    return ObjectVersion(content, "", _age_s(info))


def _content(store: ObjectStore, path: str) -> bytes:
    """The content of a lock; of a larger object its beginning, which is none."""
    content: bytes = store.fs.cat_file(path, start=0, end=lock_file.MAX_BYTES, **_limit(store))
    return content


def _limit(store: ObjectStore) -> dict[str, float]:
    return deadline(store.fs, CONTROL_S)


def _age_s(info: dict[str, Any]) -> float:  # Any: a backend's description of a file
    for name in ("mtime", "updated", "last_modified", "LastModified", "created"):
        written = info.get(name)
        if isinstance(written, datetime):
            aware = written if written.tzinfo else written.replace(tzinfo=UTC)
            return (datetime.now(UTC) - aware).total_seconds()
    return 0.0  # never stale if the store states no time


def _lasts(store: CatalogStore, name: str, content: bytes) -> bool:
    """Whether our write is still there after others of the same moment."""
    time.sleep(SETTLING_S)
    current = peek(store, name)
    return current is not None and current.content == content
