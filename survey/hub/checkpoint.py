"""One commit of a repository on the Hub: its small files, and its tensors by byte range.

huggingface_hub's own ranged readers check neither the status nor the length of a response (a server that
ignores `Range` makes them return other bytes). So ranges are read here, over our own connections, and
checked: 206, the exact Content-Range, the exact length, the pinned commit.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPResponse

from survey.checkpoints.checkpoint import Card, OnBytes
from survey.errors import Unreachable
from survey.hub.concurrency import AdaptiveLimit
from survey.hub.errors import FAILURES, HttpStatusError, headers_of, status_of
from survey.hub.file_sizes import Sizes
from survey.hub.prefetch import in_order
from survey.hub.requests import RequestPolicy
from survey.hub.signed_files import SignedFile, SignedFiles
from survey.hub.small_requests import REDIRECTS, REDIRECTS_AT_MOST, SmallRequests, bare
from survey.hub.transport.connections import connection_pool, receive_into
from survey.hub.transport.origins import joined_url
from survey.records.blocks import Block, new_buffer
from survey.records.settings import Settings
from survey.records.target import ByteRange, FileRange, Traffic, name_with_part

SIGNING_TRIES = 3  # after so many refusals of newly signed URLs, another signature will not help


class Moved(Exception):
    """A range is served from another URL: some mirrors redirect GET alone."""

    def __init__(self, url: str) -> None:
        super().__init__("moved")  # the URL is signed, a secret
        self.url = url


class FillingBlock:
    """A block and the number of bytes that it holds so far."""

    def __init__(self, block: memoryview) -> None:
        self.block, self.filled = block, 0

    @property
    def is_full(self) -> bool:
        return self.filled == len(self.block)


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
    ) -> None:
        """Makes no request: the first is made by a read, or by the look-up of a size that is not listed."""
        self.hub_id, self.part, self.repo = repo, part, name_with_part(repo, part)
        self.revision, self.sha = revision, sha
        self.files: Sizes = Sizes(files, self._request_size)
        self.card = card or Card()
        self._settings, self._policy = settings, policy
        self._small = SmallRequests(settings, policy)
        self._signed = SignedFiles(settings.endpoint, self.hub_id, sha, self.files, self._small, policy)

    @property
    def traffic(self) -> Traffic:
        return self._policy.counter.total

    def read_file(self, file: str, cap_bytes: int) -> bytes:
        return self._policy.with_retries(lambda: self._read_small(file, cap_bytes), f"{self.repo}/{file}")

    def read_range(self, file: str, byte_range: ByteRange) -> bytes:
        return bytes(self._fetch(file, byte_range, threading.Event(), lambda count: None, len(byte_range)))

    def stream(self, ranges: Sequence[FileRange], on_bytes: OnBytes) -> Iterator[Block]:
        limit = AdaptiveLimit(self._settings.connections)

        def count_bytes(count: int) -> None:
            limit.add(count)
            on_bytes(count)

        def fetch(span: FileRange, stop: threading.Event) -> Block:
            return self._fetch(span.file, span.bytes, stop, count_bytes)

        return in_order(ranges, fetch, limit)

    def _read_small(self, file: str, cap_bytes: int) -> bytes:
        where, listed = f"{self.repo}/{file}", self.files.known(file)
        reply = self._small.get(self._signed.url(file), where, cap_bytes, expected_bytes=listed or cap_bytes)
        self._signed.check_commit(reply, where, required=False)
        if listed is not None and len(reply.body) != listed:
            problem = f"came with {len(reply.body):,} bytes, expected {listed:,} as the Hub lists it"
            raise Unreachable("network", where, problem)
        return reply.body

    def _request_size(self, file: str) -> int:
        """The size of a file that is listed without one. Raises SurveyError."""
        size = self._signed.get(file).size
        if size is None:
            where = f"{self.repo}/{file}"
            raise Unreachable("network", where, "neither the listing nor the storage says its size")
        return size

    # ------------------------------------------------------------------------ byte ranges

    def _fetch(
        self,
        file: str,
        byte_range: ByteRange,
        stop: threading.Event,
        on_bytes: OnBytes,
        expected_bytes: int | None = None,
    ) -> memoryview:
        """Exactly the bytes of one range, resumed after a connection breaks.

        expected_bytes: bounds the time of each request; None allows all the time that the model has left.
        """
        where, failures, refusals, moves = f"{self.repo}/{file}", 0, 0, 0
        signed = self._signed.get(file)
        filling = FillingBlock(new_buffer(len(byte_range)))
        while not filling.is_full and not stop.is_set():
            before = filling.filled
            self._policy.throttle.wait(self._policy.left_s(where))
            try:
                self._receive(signed, byte_range, filling, stop, on_bytes, expected_bytes)
            except Moved as error:
                moves += 1
                if moves > REDIRECTS_AT_MOST:
                    raise Unreachable("network", where, "its ranges are redirected in circles") from None
                signed = self._signed.move(file, signed, error.url)
            except (*FAILURES, Unreachable) as error:
                failures += 1
                if filling.filled > before:
                    failures = refusals = 0
                wait_s = 0.0
                if status_of(error) in (401, 403) and refusals < SIGNING_TRIES:
                    self._policy.left_s(where)
                    refusals += 1  # most likely the signature has expired
                    signed = self._signed.get(file, refused=signed)
                else:
                    self._policy.give_up(error, failures, where)
                    wait_s = self._policy.wait_s(max(failures, 1), error, where)
                self._policy.counter.add(retries=1)
                stop.wait(wait_s)
        return filling.block

    def _receive(
        self,
        signed: SignedFile,
        byte_range: ByteRange,
        filling: FillingBlock,
        stop: threading.Event,
        on_bytes: OnBytes,
        expected_bytes: int | None,
    ) -> None:
        """Request the missing bytes once; `filling` keeps those that arrive, also if the request fails."""
        missing = ByteRange(byte_range.start + filling.filled, byte_range.stop)
        with self._response(signed, missing, expected_bytes) as response:
            if response.length is None or response.length > len(missing):
                raise Unreachable(
                    "network",
                    bare(signed.url),
                    f"announces {response.length} bytes, expected {len(missing):,}",
                )
            for count in receive_into(response, filling.block[filling.filled :]):
                filling.filled += count
                self._policy.counter.add(bytes=count)
                on_bytes(count)
                if stop.is_set():
                    return
        if not filling.is_full:
            raise Unreachable(
                "network", bare(signed.url), f"ended after {filling.filled:,} of {len(byte_range):,} bytes"
            )

    @contextmanager
    def _response(
        self, signed: SignedFile, byte_range: ByteRange, expected_bytes: int | None
    ) -> Iterator[HTTPResponse]:
        headers = {**signed.headers, "Range": byte_range.http_header(), "Accept-Encoding": "identity"}
        self._policy.counter.add(requests=1)
        limits = self._policy.limits(bare(signed.url), expected_bytes)
        with connection_pool().request("GET", signed.url, headers, limits) as response:
            if response.status >= 400:
                raise HttpStatusError(response.status, headers_of(response))
            if response.status in REDIRECTS and (location := headers_of(response).get("Location")):
                raise Moved(joined_url(signed.url, location))
            # Some servers do not say how large the whole file is.
            total = "*" if signed.size is None else rf"(?:{signed.size}|\*)"
            pattern = rf"bytes {byte_range.start}-{byte_range.stop - 1}/{total}"
            content_range = response.headers.get("Content-Range")
            encoding = response.headers.get("Content-Encoding", "identity")
            is_exact = re.fullmatch(pattern, content_range or "") is not None
            if response.status != 206 or not is_exact or encoding != "identity":
                expected = f"bytes {byte_range.start}-{byte_range.stop - 1}/{signed.size}"
                raise Unreachable(
                    "network",
                    bare(signed.url),
                    f"answered {response.status} with Content-Range {content_range!r}, "
                    f"expected 206 with {expected!r}",
                )
            yield response
