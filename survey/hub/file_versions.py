"""Whether a file is still the same: by the ETags of its responses, from the header to the last row.

A commit's file never changes on the Hub. Behind a mirror it may: a row must not be made of two files.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from survey.errors import NotTheHubs
from survey.hub.documents import SHA256
from survey.records.target import FileVersion

LINKED = "X-Linked-ETag"


class FileVersions:
    """The version of each file as it was first read, here or by the plan; used by several threads."""

    def __init__(self, planned: tuple[FileVersion, ...] = ()) -> None:
        self._lock = threading.Lock()
        self._first = {(version.file, version.source): version.etag for version in planned}

    def known(self) -> tuple[FileVersion, ...]:
        """The versions so far, which a later reader of the same commit compares its own with."""
        with self._lock:
            return tuple(FileVersion(*key, etag) for key, etag in sorted(self._first.items()))

    def contradict(self, file: str, content_id: str) -> bool:
        """Whether a response stated another SHA-256 of a file than its content id, which is the listing's."""
        _, is_large, sha256 = content_id.partition(SHA256)
        return bool(is_large) and any(
            version.file == file and version.source.startswith(LINKED) and version.etag.strip('"') != sha256
            for version in self.known()
        )

    def check(self, file: str, origin: str, headers: Mapping[str, str], where: str) -> None:
        """Raise NotTheHubs if a response states another version than the first; one without says nothing."""
        # The Hub's redirect to its storage states the content's own tag in the first of these.
        header = next((name for name in (LINKED, "ETag") if headers.get(name)), None)
        if header is None:
            return
        # Proxies make a tag weak (W/) if they change a response's form, such as its compression.
        etag = headers[header].removeprefix("W/")
        with self._lock:
            first = self._first.setdefault((file, f"{header} of {origin}"), etag)
        if etag != first:
            problem = f"was replaced while it was read: its ETag was {first[:100]}, and is {etag[:100]}"
            remedy = "run again once the mirror serves one file under this commit"
            raise NotTheHubs("network", where, problem, remedy)
