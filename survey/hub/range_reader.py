"""Byte ranges of a commit's files: checked, resumed after a break, signed again after a refusal.

huggingface_hub's own ranged readers check neither the status nor the length of a response (a server that
ignores `Range` makes them return other bytes). So ranges are read here, over our own connections, and
checked: 206, the exact Content-Range, the exact length, the pinned commit.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse

from survey.checkpoints.checkpoint import OnBytes
from survey.errors import Unreachable
from survey.hub.errors import FAILURES, HttpStatusError, headers_of, status_of
from survey.hub.request_policy import RequestPolicy
from survey.hub.signed_files import SignedFile, SignedFiles
from survey.hub.small_requests import REDIRECTS, REDIRECTS_AT_MOST, bare
from survey.hub.transport.connections import connection_pool, receive_into
from survey.hub.transport.origins import joined_url
from survey.hub.transport.response_head import content_encoding
from survey.records.blocks import new_buffer
from survey.records.tensors import ByteRange, FileRange

SIGNING_TRIES = 3  # after so many refusals of newly signed URLs, another signature will not help


class Moved(Exception):
    """A range is served from another URL: some mirrors redirect GET alone."""

    def __init__(self, url: str) -> None:
        super().__init__("moved")  # the URL is signed, a secret
        self.url = url


@dataclass(slots=True)
class _Download:
    """One range on its way: its block, of which `filled` bytes have arrived, and what went wrong since.

    expected_bytes: bounds the time of each request; None allows all the time that the model has left.
    """

    source: FileRange
    signed: SignedFile
    block: memoryview
    expected_bytes: int | None
    filled: int = 0
    failures: int = 0  # in a row without a byte
    refusals: int = 0
    redirects: int = 0

    @property
    def is_complete(self) -> bool:
        return self.filled == len(self.block)

    @property
    def missing(self) -> ByteRange:
        return ByteRange(self.source.bytes.start + self.filled, self.source.bytes.stop)


class RangeReader:
    """Reads ranges of one commit's files, from several threads at once."""

    def __init__(self, repo: str, signed_files: SignedFiles, policy: RequestPolicy) -> None:
        self._repo, self._signed_files, self._policy = repo, signed_files, policy

    def read(
        self,
        source: FileRange,
        stop: threading.Event,
        on_bytes: OnBytes,
        expected_bytes: int | None = None,
    ) -> memoryview:
        """Exactly the bytes of one range; fewer only after `stop` is set. Raises SurveyError.

        expected_bytes: see _Download.
        """
        where, block = f"{self._repo}/{source.file}", new_buffer(len(source.bytes))
        download = _Download(source, self._signed_files.get(source.file), block, expected_bytes)
        while not download.is_complete and not stop.is_set():
            filled = download.filled
            self._policy.throttle.wait(self._policy.left_s(where))
            try:
                self._receive(download, stop, on_bytes)
            except Moved as error:
                self._follow(error.url, download, where)
            except (*FAILURES, Unreachable) as error:
                download.failures += 1
                if download.filled > filled:
                    download.failures = download.refusals = 0
                wait_s = self._recover(error, download, where)
                self._policy.counter.add(retries=1)
                stop.wait(wait_s)
        return download.block

    def _follow(self, url: str, download: _Download, where: str) -> None:
        download.redirects += 1
        if download.redirects > REDIRECTS_AT_MOST:
            raise Unreachable("network", where, "its ranges are redirected in circles") from None
        download.signed = self._signed_files.move(download.source.file, download.signed, url)

    def _recover(self, error: Exception, download: _Download, where: str) -> float:
        """Sign the file again if that may help; returns the seconds to wait before the next request.

        Raises SurveyError if no further request should be made.
        """
        if status_of(error) in (401, 403) and download.refusals < SIGNING_TRIES:
            self._policy.left_s(where)
            download.refusals += 1  # most likely the signature has expired
            download.signed = self._signed_files.get(download.source.file, refused=download.signed)
            return 0.0
        self._policy.give_up(error, download.failures, where)
        return self._policy.wait_s(max(download.failures, 1), error, where)

    def _receive(self, download: _Download, stop: threading.Event, on_bytes: OnBytes) -> None:
        """Request the missing bytes once; those that arrive are kept, also if the request fails."""
        url, missing = bare(download.signed.url), download.missing
        with self._response(download.signed, missing, download.expected_bytes) as response:
            self._signed_files.check_version(download.source.file, download.signed.url, headers_of(response))
            if response.length is None or response.length > len(missing):
                problem = f"announces {response.length} bytes, expected {len(missing):,}"
                raise Unreachable("network", url, problem)
            for count in receive_into(response, download.block[download.filled :]):
                download.filled += count
                self._policy.counter.add(bytes=count)
                on_bytes(count)
                if stop.is_set():
                    return
        if not download.is_complete:
            problem = f"ended after {download.filled:,} of {len(download.block):,} bytes"
            raise Unreachable("network", url, problem)

    @contextmanager
    def _response(
        self, signed: SignedFile, byte_range: ByteRange, expected_bytes: int | None
    ) -> Iterator[HTTPResponse]:
        headers = {**signed.headers, "Range": byte_range.http_header(), "Accept-Encoding": "identity"}
        self._policy.counter.add(requests=1)
        limits = self._policy.limits(bare(signed.url), expected_bytes)
        with connection_pool().request(
            "GET", signed.url, headers, limits, self._signed_files.hub
        ) as response:
            if response.status >= 400:
                raise HttpStatusError(response.status, headers_of(response))
            if response.status in REDIRECTS and (location := headers_of(response).get("Location")):
                raise Moved(joined_url(signed.url, location))
            _check_partial(response, signed, byte_range)
            yield response


def _check_partial(response: HTTPResponse, signed: SignedFile, byte_range: ByteRange) -> None:
    """Raise Unreachable unless a response announces exactly this range, unencoded."""
    # Some servers do not say how large the whole file is.
    total = "*" if signed.size is None else rf"(?:{signed.size}|\*)"
    pattern = rf"bytes {byte_range.start}-{byte_range.stop - 1}/{total}"
    content_range = response.headers.get("Content-Range")
    encoding = content_encoding(response)
    is_exact = re.fullmatch(pattern, content_range or "") is not None
    if response.status == 206 and is_exact and encoding == "identity":
        return
    expected = f"bytes {byte_range.start}-{byte_range.stop - 1}/{signed.size}"
    encoded = "" if encoding == "identity" else f" and Content-Encoding {encoding[:50]!r}"
    problem = (
        f"answered {response.status} with Content-Range {content_range!r}{encoded}, "
        f"expected 206 with {expected!r}"
    )
    raise Unreachable("network", bare(signed.url), problem)
