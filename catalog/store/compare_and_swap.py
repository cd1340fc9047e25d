"""One small object, written only where it is what we saw: the ground a lock stands on.

S3 decides by If-None-Match and If-Match. Some stores that speak its protocol ignore them, or refuse to
know them; that is noticed when the object is made. Other stores offer, through fsspec, at most "make it
only where there is none", and so do folders; there a take-over looks, writes and looks again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from catalog.store import lock_without_flock as lock_file
from catalog.store.local import LocalFolder
from catalog.store.object_store import ObjectStore, Unreadable, is_not_implemented
from catalog.store.open import CatalogStore

SETTLING_S = 1.0  # until another's write of the same moment would show


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """An object as it was: its content, what names this version of it, seconds since it was written."""

    content: bytes
    version: str
    age_s: float


def create_object(store: CatalogStore, name: str, content: bytes) -> bool:
    """Write where there is nothing; False if there is something. Raises Unreadable."""
    if isinstance(store, LocalFolder):
        return lock_file.create_lock_file(store.root / name, content)
    if peek(store, name) is not None:  # who knows no condition (hf://, some S3) would write over it
        return False
    path = store.inside(name)
    try:
        if not _is_s3(store):
            store.patiently(lambda: store.fs.pipe_file(path, content, mode="create"))
        elif _put(store, path, content, IfNoneMatch="*") and _refuses_again(store, path, content):
            return True
        elif not store.conditions.honoured:
            store.patiently(lambda: store.fs.pipe_file(path, content))
    except FileExistsError:
        return False
    return _settled(store, name, content)


def replace(store: CatalogStore, name: str, content: bytes, seen: ObjectVersion) -> bool:
    """Write where it is still what was seen; False if it is not. Raises Unreadable."""
    try:
        if isinstance(store, ObjectStore) and _is_s3(store) and store.conditions.honoured:
            return _put(store, store.inside(name), content, IfMatch=seen.version)
    except FileExistsError:
        return False
    now = peek(store, name)
    if now is None or now.content != seen.content:
        return False
    if isinstance(store, LocalFolder):
        lock_file.overwrite(store.root / name, content)
    else:
        path = store.inside(name)
        store.patiently(lambda: store.fs.pipe_file(path, content))
    return _settled(store, name, content)


def peek(store: CatalogStore, name: str) -> ObjectVersion | None:
    """The object as it is now, or None. Raises Unreadable."""
    if isinstance(store, LocalFolder):
        stored = lock_file.read(store.root / name)
        return None if stored is None else ObjectVersion(stored[0], "", stored[1])
    path = store.inside(name)
    try:
        return store.patiently(lambda: _got(store, path) if _is_s3(store) else _read(store, path))
    except Unreadable as error:
        if error.gone:
            return None
        raise


def erase_object(store: CatalogStore, name: str) -> None:
    """Remove it. Raises Unreadable."""
    if isinstance(store, LocalFolder):
        lock_file.erase_lock_file(store.root / name)
    else:
        store.patiently(lambda: store.fs.rm_file(store.inside(name)))


def _is_s3(store: ObjectStore) -> bool:
    return hasattr(store.fs, "call_s3")


def _put(store: ObjectStore, path: str, content: bytes, **condition: str) -> bool:
    """Write on a condition; False if the store knows none. Raises FileExistsError, Unreadable."""
    bucket, _, key = path.partition("/")
    try:
        store.patiently(
            lambda: store.fs.call_s3("put_object", Bucket=bucket, Key=key, Body=content, **condition)
        )
    except Unreadable as error:
        if not is_not_implemented(error):
            raise
        store.conditions.honoured = False
    return store.conditions.honoured


def _refuses_again(store: ObjectStore, path: str, content: bytes) -> bool:
    """Whether the store refuses to write what is there now: one that ignores conditions does not."""
    try:
        _put(store, path, content, IfNoneMatch="*")
    except FileExistsError:
        return True
    store.conditions.honoured = False
    return False


def _got(store: ObjectStore, path: str) -> ObjectVersion:
    bucket, _, key = path.partition("/")
    head = store.fs.call_s3("head_object", Bucket=bucket, Key=key)
    content = store.fs.cat_file(path)  # if newer than the head, a replacement is refused: safe
    # Both times are the server's: clocks of two machines may differ by more than a lock lives.
    date = head["ResponseMetadata"]["HTTPHeaders"].get("date")
    now = parsedate_to_datetime(date) if date else datetime.now(UTC)
    return ObjectVersion(content, str(head["ETag"]), (now - head["LastModified"]).total_seconds())


def _read(store: ObjectStore, path: str) -> ObjectVersion:
    content, info = store.fs.cat_file(path), store.fs.info(path)
    return ObjectVersion(content, "", _age_s(info))


def _age_s(info: dict[str, Any]) -> float:  # Any: what a backend tells of a file
    for name in ("mtime", "updated", "last_modified", "LastModified", "created"):
        written = info.get(name)
        if isinstance(written, datetime):
            aware = written if written.tzinfo else written.replace(tzinfo=UTC)
            return (datetime.now(UTC) - aware).total_seconds()
    return 0.0  # never stale where the store does not tell


def _settled(store: CatalogStore, name: str, content: bytes) -> bool:
    """Whether our write is the one that lasts."""
    time.sleep(SETTLING_S)
    now = peek(store, name)
    return now is not None and now.content == content
