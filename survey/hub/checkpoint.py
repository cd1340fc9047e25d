"""One commit of a repository on the Hub: its small files, and its tensors by byte range."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence

from survey.checkpoints.checkpoint import Card, OnBytes
from survey.errors import Unreachable
from survey.hub.concurrency import AdaptiveLimit
from survey.hub.file_sizes import Sizes
from survey.hub.file_versions import FileVersions
from survey.hub.prefetch import in_order
from survey.hub.range_reader import RangeReader
from survey.hub.request_policy import RequestPolicy
from survey.hub.signed_files import SignedFiles
from survey.hub.small_requests import SmallRequests
from survey.hub.xet import XetStorage
from survey.records.blocks import Block
from survey.records.settings import Settings
from survey.records.target import FileVersion, Traffic, name_with_part
from survey.records.tensors import ByteRange, ChunkRun, FileRange


class HubCheckpoint:
    """One commit of a repository on the Hub; everything is read at that commit."""

    folder = None

    def __init__(
        self,
        repo: str,
        revision: str,
        sha: str,
        files: Mapping[str, int | None],
        settings: Settings,
        policy: RequestPolicy,
        card: Card | None = None,
        part: str | None = None,
        versions: tuple[FileVersion, ...] = (),
        content_ids: Mapping[str, str] | None = None,
    ) -> None:
        """Makes no request: the first is made by a read, or by the look-up of a size that is not listed.

        versions: of files as an earlier reader of this commit knows them. content_ids: of files, as far as
        the Hub states them.
        """
        self.hub_id, self.part, self.repo = repo, part, name_with_part(repo, part)
        self.revision, self.sha = revision, sha
        self.files: Sizes = Sizes(files, self._request_size)
        self.card = card or Card()
        self._content_ids = content_ids or {}
        self._settings, self._policy = settings, policy
        self._small = SmallRequests(settings, policy)
        self._versions = FileVersions(versions)
        self._signed_files = SignedFiles(
            settings.endpoint, self.hub_id, sha, self.files, self._versions, self._small, policy
        )
        self._ranges = RangeReader(self.repo, self._signed_files, policy)

    @property
    def traffic(self) -> Traffic:
        return self._policy.counter.total

    @property
    def versions(self) -> tuple[FileVersion, ...]:
        return self._versions.known()

    def refuse_late(self) -> None:
        self._policy.left_s(self.repo)

    def content_id(self, file: str) -> str | None:
        stated = self._content_ids.get(file)
        return None if stated is None or self._versions.contradict(file, stated) else stated

    def chunks(self, source: FileRange) -> tuple[ChunkRun, ...]:
        file_hash = self._signed_files.get(source.file).xet_hash
        if file_hash is None:
            return ()
        storage = XetStorage(self.hub_id, self.sha, self._settings, self._policy)
        return storage.chunks(file_hash, source.bytes)

    def read_file(self, file: str, cap_bytes: int) -> bytes:
        return self._policy.with_retries(lambda: self._read_small(file, cap_bytes), f"{self.repo}/{file}")

    def read_range(self, file: str, byte_range: ByteRange) -> bytes:
        source = FileRange(file, byte_range)
        return bytes(self._ranges.read(source, threading.Event(), lambda count: None, len(byte_range)))

    def stream(self, ranges: Sequence[FileRange], on_bytes: OnBytes) -> Iterator[Block]:
        limit = AdaptiveLimit(self._settings.connections)

        def count_bytes(count: int) -> None:
            limit.add(count)
            on_bytes(count)

        def fetch(source: FileRange, stop: threading.Event) -> Block:
            return self._ranges.read(source, stop, count_bytes)

        return in_order(ranges, fetch, limit)

    def _read_small(self, file: str, cap_bytes: int) -> bytes:
        where, listed = f"{self.repo}/{file}", self.files.known(file)
        reply = self._small.get(
            self._signed_files.url(file), where, cap_bytes, expected_bytes=listed or cap_bytes
        )
        self._signed_files.check_commit(reply, where, required=False)
        if listed is not None and len(reply.body) != listed:
            problem = f"came with {len(reply.body):,} bytes, expected {listed:,} as the Hub lists it"
            raise Unreachable("network", where, problem)
        return reply.body

    def _request_size(self, file: str) -> int:
        """The size of a file that is listed without one. Raises SurveyError."""
        size = self._signed_files.get(file).size
        if size is None:
            where = f"{self.repo}/{file}"
            raise Unreachable("network", where, "neither the listing nor the storage says its size")
        return size
