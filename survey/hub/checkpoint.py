"""One commit of a repository on the Hub: its small files, and its tensors by byte range.

huggingface_hub's own ranged readers check neither the status nor the length of what comes (a
server that ignores `Range` makes them return other bytes), so ranges are read here, over
lines of our own, and checked: 206, the exact Content-Range, the exact length, the pinned commit.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPResponse

from survey.checkpoints.checkpoint import Card, OnBytes
from survey.errors import Unreachable
from survey.hub.access import joined_url
from survey.hub.concurrency import AdaptiveLimit
from survey.hub.connections import connection_pool, received
from survey.hub.errors import FAILURES, HttpStatusError, headers_of, status_of
from survey.hub.file_sizes import Sizes
from survey.hub.prefetch import in_order
from survey.hub.requests import RequestPolicy
from survey.hub.signed_files import SignedFile, SignedFiles
from survey.hub.small_requests import REDIRECTS, REDIRECTS_AT_MOST, SmallRequests, bare
from survey.records.blocks import Block, new_buffer
from survey.records.settings import Settings
from survey.records.target import ByteRange, FileRange, Traffic, name_with_part

SIGNING_TRIES = 3  # a URL that is refused as often right after it was signed stays refused


class Moved(Exception):
    """A range is served elsewhere: some mirrors redirect GET alone."""

    def __init__(self, url: str) -> None:
        super().__init__("moved")  # the URL is signed, a secret
        self.url = url


class FillingBlock:
    """A block that fills up."""

    def __init__(self, block: memoryview) -> None:
        self.block, self.got = block, 0

    @property
    def full(self) -> bool:
        return self.got == len(self.block)


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
        manners: RequestPolicy,
        card: Card | None = None,
        part: str | None = None,
    ) -> None:
        """Nothing is asked of the Hub before something is read, or the size of a file that has none yet."""
        self.hub_id, self.part, self.repo = repo, part, name_with_part(repo, part)
        self.revision, self.sha = revision, sha
        self.files: Sizes = Sizes(files, self._ask_size)
        self.card = card or Card()
        self._hub, self._manners = settings, manners
        self._small = SmallRequests(settings, manners)
        self._signed = SignedFiles(settings.endpoint, self.hub_id, sha, self.files, self._small, manners)

    @property
    def traffic(self) -> Traffic:
        return self._manners.counter.total

    def read_file(self, file: str, cap_bytes: int) -> bytes:
        return self._manners.patiently(lambda: self._read_small(file, cap_bytes), f"{self.repo}/{file}")

    def read_range(self, file: str, wanted: ByteRange) -> bytes:
        return bytes(self._fetch(file, wanted, threading.Event(), lambda count: None, len(wanted)))

    def stream(self, ranges: Sequence[FileRange], on_bytes: OnBytes) -> Iterator[Block]:
        width = AdaptiveLimit(self._hub.connections)

        def came(count: int) -> None:
            width.add(count)
            on_bytes(count)

        return in_order(
            ranges, lambda wanted, stop: self._fetch(wanted.file, wanted.bytes, stop, came), width
        )

    def _read_small(self, file: str, cap_bytes: int) -> bytes:
        where, listed = f"{self.repo}/{file}", self.files.known(file)
        reply = self._small.get(self._signed.url(file), where, cap_bytes, expected_bytes=listed or cap_bytes)
        self._signed.check_commit(reply, where, required=False)
        if listed is not None and len(reply.body) != listed:
            problem = f"came with {len(reply.body):,} bytes, expected {listed:,} as the Hub lists it"
            raise Unreachable("network", where, problem)
        return reply.body

    def _ask_size(self, file: str) -> int:
        """The size of a file that the listing tells without one."""
        size = self._signed.get(file).size
        if size is None:
            where = f"{self.repo}/{file}"
            raise Unreachable("network", where, "neither the listing nor the storage says its size")
        return size

    # ------------------------------------------------------------------------ byte ranges

    def _fetch(
        self,
        file: str,
        wanted: ByteRange,
        stop: threading.Event,
        on_bytes: OnBytes,
        expected_bytes: int | None = None,
    ) -> memoryview:
        """Exactly the wanted bytes, resumed where a connection broke.

        expected_bytes: bounds the time of each request; None leaves it all that the model has.
        """
        where, failures, refusals, moves = f"{self.repo}/{file}", 0, 0, 0
        signed = self._signed.get(file)
        part = FillingBlock(new_buffer(len(wanted)))
        while not part.full and not stop.is_set():
            before = part.got
            self._manners.pace.wait(self._manners.left_s(where))
            try:
                self._receive(signed, wanted, part, stop, on_bytes, expected_bytes)
            except Moved as error:
                moves += 1
                if moves > REDIRECTS_AT_MOST:
                    raise Unreachable("network", where, "its ranges are redirected in circles") from None
                signed = self._signed.move(file, signed, error.url)
            except (*FAILURES, Unreachable) as error:
                failures += 1
                if part.got > before:
                    failures = refusals = 0
                wait_s = 0.0
                if status_of(error) in (401, 403) and refusals < SIGNING_TRIES:
                    self._manners.left_s(where)
                    refusals += 1  # most likely the signature has expired
                    signed = self._signed.get(file, refused=signed)
                else:
                    self._manners.give_up(error, failures, where)
                    wait_s = self._manners.wait_s(max(failures, 1), error, where)
                self._manners.counter.add(retries=1)
                stop.wait(wait_s)
        return part.block

    def _receive(
        self,
        signed: SignedFile,
        wanted: ByteRange,
        part: FillingBlock,
        stop: threading.Event,
        on_bytes: OnBytes,
        expected_bytes: int | None,
    ) -> None:
        """One request for what is missing; `part` keeps whatever came, also when it fails."""
        missing = ByteRange(wanted.start + part.got, wanted.stop)
        with self._answer(signed, missing, expected_bytes) as response:
            if response.length is None or response.length > len(missing):
                raise Unreachable(
                    "network",
                    bare(signed.url),
                    f"announces {response.length} bytes, expected {len(missing):,}",
                )
            for count in received(response, part.block[part.got :]):
                part.got += count
                self._manners.counter.add(bytes=count)
                on_bytes(count)
                if stop.is_set():
                    return
        if not part.full:
            raise Unreachable(
                "network", bare(signed.url), f"ended after {part.got:,} of {len(wanted):,} bytes"
            )

    @contextmanager
    def _answer(
        self, signed: SignedFile, asked: ByteRange, expected_bytes: int | None
    ) -> Iterator[HTTPResponse]:
        headers = {**signed.headers, "Range": asked.http_header(), "Accept-Encoding": "identity"}
        self._manners.counter.add(requests=1)
        limits = self._manners.limits(bare(signed.url), expected_bytes)
        with connection_pool().ask("GET", signed.url, headers, limits) as response:
            if response.status >= 400:
                raise HttpStatusError(response.status, headers_of(response))
            if response.status in REDIRECTS and (location := headers_of(response).get("Location")):
                raise Moved(joined_url(signed.url, location))
            # Some servers do not say how large the whole is.
            total = "*" if signed.size is None else rf"(?:{signed.size}|\*)"
            expected = rf"bytes {asked.start}-{asked.stop - 1}/{total}"
            found = response.headers.get("Content-Range")
            encoding = response.headers.get("Content-Encoding", "identity")
            if response.status != 206 or not re.fullmatch(expected, found or "") or encoding != "identity":
                said = f"bytes {asked.start}-{asked.stop - 1}/{signed.size}"
                raise Unreachable(
                    "network",
                    bare(signed.url),
                    f"answered {response.status} with Content-Range {found!r}, expected 206 with {said!r}",
                )
            yield response
