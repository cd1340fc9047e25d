"""Open the fsspec file system of a URL: s3://, gs://, hf://, and whatever else fsspec knows.

Imports are deferred: reading a local catalog must not wait for fsspec.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from survey.errors import UsageError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
CONCURRENT_REQUESTS = 16  # requests in flight while many small files are read
# The package that a protocol needs besides fsspec.
_INSTALL = {
    "s3": ("s3fs", "pip install 'centroid-survey[s3]'"),
    "s3a": ("s3fs", "pip install 'centroid-survey[s3]'"),
    "gs": ("gcsfs", "pip install gcsfs"),
    "gcs": ("gcsfs", "pip install gcsfs"),
}
# Seconds of a whole request, from its first byte to the last one of its answer.
READING_S = 300.0  # of one range, of 16 MB or less
WRITING_S = 300.0  # of one row, of 1 MB
WRITING_PART_S = 3600.0  # of a part, of 256 MB
CONTROL_S = 60.0  # of a lock, or of an answer without content


def open_client(url: str) -> Any:  # Any: fsspec is not typed
    """The file system of a URL's protocol, without caches and retries of its own.

    Raises UsageError if its package is missing, or if no package knows the protocol.
    """
    import importlib.util

    import fsspec

    protocol = url.partition("://")[0]
    package, install = _INSTALL.get(protocol, (None, None))
    if package is not None and importlib.util.find_spec(package) is None:
        raise UsageError(f"{url}: {protocol}:// needs one more package: {install}")
    if package == "gcsfs":
        logging.getLogger(package).setLevel(logging.CRITICAL)  # its warnings repeat its errors
    options = _s3_options() if package == "s3fs" else {}
    try:
        client = fsspec.filesystem(protocol, skip_instance_cache=True, use_listings_cache=False, **options)
    except (ImportError, ValueError) as error:
        raise UsageError(f"{url}: {error}") from error
    client.retries = 1
    return client


def _s3_options() -> dict[str, Any]:
    from catalog.store.s3_session import BoundedSession

    config = {
        # One retry loop per cause: ours. Those of the libraries, 5 × 5 requests, are off.
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        "connect_timeout": 10,
        "read_timeout": 60,
        "max_pool_connections": 2 * CONCURRENT_REQUESTS,
        "http_session_cls": BoundedSession,
    }
    return {"config_kwargs": config, "max_concurrency": 2}  # chunks of 50 MB each, while a part is uploaded


def deadline(client: Any, seconds: float) -> dict[str, float]:  # Any: fsspec is not typed
    """The argument that ends a whole request, in the file systems that have one."""
    return {"timeout": seconds} if getattr(client, "async_impl", False) else {}


def map_concurrently(work: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """Call `work` for each item, several at a time; the results in the order of the items."""
    from concurrent.futures import ThreadPoolExecutor

    if not items:
        return []
    with ThreadPoolExecutor(min(CONCURRENT_REQUESTS, len(items))) as pool:
        return list(pool.map(work, items))
