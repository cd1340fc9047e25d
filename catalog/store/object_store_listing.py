"""The objects below a path of an object store, as its backend describes them."""

from __future__ import annotations

from typing import Any

from catalog.files import PROTOCOL, File
from catalog.store.object_store_errors import Unreadable, s3_code
from catalog.store.object_store_retries import with_retries

# What backends tell of an object's version.
_VERSION_KEYS = ("ETag", "etag", "generation", "mtime", "created", "LastModified")


def list_objects(client: Any, path: str) -> list[dict[str, Any]]:  # Any: fsspec is not typed
    """The descriptions of what lies directly below a path; none if nothing does. Raises Unreadable."""

    def list_now() -> list[dict[str, Any]]:
        client.invalidate_cache()
        items: list[dict[str, Any]] = client.ls(path, detail=True)
        return items

    try:
        items = with_retries(list_now)
    except Unreadable as error:
        if not error.gone or s3_code(error.__cause__) == "NoSuchBucket":
            raise
        return []
    return [item for item in items if item["name"].strip("/") != path.strip("/")]


def described_file(url: str, folder: str, item: dict[str, Any]) -> File:
    """The file of a catalog's folder that a description stands for. url: of the catalog."""
    name = base_name(item)
    states = (item["size"], *(item.get(key) for key in _VERSION_KEYS))
    version = "|".join(str(value) for value in states if value is not None)
    return File(
        folder, name, f"{PROTOCOL}://{folder}/{name}", f"{url}/{folder}/{name}", item["size"], version
    )


def base_name(item: dict[str, Any]) -> str:
    """The last part of an object's name."""
    name: str = item["name"]
    return name.rstrip("/").rpartition("/")[2]
