"""The objects below a path of an object store, as its backend describes them."""

from __future__ import annotations

from typing import Any

from catalog.files import PROTOCOL, File
from catalog.store.fsspec_client import deadline
from catalog.store.object_store_errors import Unreadable, s3_code
from catalog.store.object_store_retries import with_retries

# What backends tell of an object's version.
_VERSION_KEYS = ("ETag", "etag", "generation", "mtime", "created", "LastModified")
MAX_OBJECTS = 1_000_000  # of one folder
_MAX_OBJECT_BYTES = 1 << 50  # no store has larger objects
_MAX_KEY_CHARS = 2048  # with the bucket: no store has names of more than 1,024 bytes
LISTING_S = 300.0  # a thousand names take 0.1 s


def list_objects(client: Any, path: str) -> list[dict[str, Any]]:  # Any: fsspec is not typed
    """The descriptions of what lies directly below a path; none if nothing does.

    Raises Unreadable, also if the listing is none: of another path, without an end, or with impossible sizes.
    """

    def list_now() -> list[dict[str, Any]]:
        client.invalidate_cache()
        items: list[dict[str, Any]] = client.ls(path, detail=True, **deadline(client, LISTING_S))
        return items

    try:
        items = with_retries(list_now)
    except Unreadable as error:
        if not error.gone or s3_code(error.__cause__) == "NoSuchBucket":
            raise
        return []
    if len(items) > MAX_OBJECTS:
        raise Unreadable(
            f"{path} holds {len(items):,} objects, expected {MAX_OBJECTS:,} or fewer: compact it"
        )
    items = [item for item in items if item["name"].strip("/") != path.strip("/")]
    if client.protocol != "hf":  # which names its revisions in its own way
        for item in items:
            _refuse_lies(item, path)
    return items


def described_object(client: Any, path: str) -> dict[str, Any] | Unreadable:  # Any: fsspec is not typed
    """The description of one object, or why there is none; `gone` if it does not exist."""

    def describe() -> dict[str, Any]:
        item: dict[str, Any] = client.info(path, **deadline(client, LISTING_S))
        return item

    try:
        item = with_retries(describe)
        if item["type"] != "file":
            return Unreadable(f"{path} is a folder", gone=True)
        if client.protocol != "hf":
            _refuse_lies(item, path.rpartition("/")[0])
        return item
    except Unreadable as error:
        return error


def _refuse_lies(item: dict[str, Any], path: str) -> None:
    """Raises Unreadable if an object does not lie below a path, or has a name, size or time that none has."""
    name, size = item["name"].strip("/"), item.get("size") or 0
    if len(name) > _MAX_KEY_CHARS:
        raise Unreadable(f"the store's listing of {path} holds a name of {len(name):,} characters")
    if name.rpartition("/")[0] != path.strip("/") or name.rpartition("/")[2] in ("", ".", ".."):
        raise Unreadable(f"the store's listing of {path} holds {name}, which does not lie there")
    try:
        _version_of(item)
    except ValueError as error:  # of a time whose zone is days away
        raise Unreadable(f"the store's listing of {path} holds a time of {name} that is none") from error
    if not isinstance(size, int) or not 0 <= size <= _MAX_OBJECT_BYTES:
        raise Unreadable(f"the store's listing of {path} says that {name} has {size} bytes")


def described_file(url: str, folder: str, item: dict[str, Any]) -> File:
    """The file of a catalog's folder that a description stands for. url: of the catalog."""
    name = base_name(item)
    path, shown = f"{PROTOCOL}://{folder}/{name}", f"{url}/{folder}/{name}"
    return File(folder, name, path, shown, item["size"], _version_of(item))


def _version_of(item: dict[str, Any]) -> str:
    states = (item["size"], *(item.get(key) for key in _VERSION_KEYS))
    return "|".join(str(value) for value in states if value is not None)


def base_name(item: dict[str, Any]) -> str:
    """The last part of an object's name."""
    name: str = item["name"]
    return name.rstrip("/").rpartition("/")[2]
