"""One commit of a repository on the Hub: its small files, and its tensors by byte range.

huggingface_hub's own ranged readers check neither the status nor the length of what comes (a
server that ignores `Range` makes them return other bytes), so ranges are read here, over
lines of our own, and checked: 206, the exact Content-Range, the exact length, the pinned commit.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import TypeVar
from urllib.parse import quote, urljoin, urlsplit

import httpx2
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # public, but exported lazily
    build_hf_headers,
    hf_raise_for_status,
)

from survey import version
from survey.checkpoint import Card, OnBytes
from survey.errors import BrokenFile, Unreachable
from survey.hub_http import Answered, Manners, bare, session, status_of, translate, worth_again
from survey.hub_line import BROKEN, lines, received
from survey.stream import Block, in_order, room
from survey.target import ByteRange, FileRange, Settings, Traffic, named
from survey.width import Width

LIBRARY = "centroid-survey"  # how the Hub's logs see us
SIGNING_TRIES = 3  # a URL that is refused as often right after it was signed stays refused
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class SignedFile:
    """A file as the storage serves it: a URL with its signature, or the Hub's own URL."""

    url: str
    headers: Mapping[str, str]
    size: int


class Part:
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
        files: Mapping[str, int],
        settings: Settings,
        manners: Manners,
        card: Card | None = None,
        part: str | None = None,
    ) -> None:
        """Nothing is asked of the Hub before something is read."""
        self.hub_id, self.part, self.repo = repo, part, named(repo, part)
        self.revision, self.sha, self.files = revision, sha, files
        self.card = card or Card()
        self._hub, self._manners = settings, manners
        self._signed: dict[str, SignedFile] = {}
        self._signing = threading.Lock()

    @property
    def traffic(self) -> Traffic:
        return self._manners.counter.total

    def read_file(self, file: str, cap_bytes: int) -> bytes:
        return self._ask(file, lambda: self._read_small(file, cap_bytes))

    def read_range(self, file: str, wanted: ByteRange) -> bytes:
        return bytes(self._fetch(file, wanted, threading.Event(), lambda count: None))

    def stream(self, ranges: Sequence[FileRange], on_bytes: OnBytes) -> Iterator[Block]:
        width = Width(self._hub.connections)

        def came(count: int) -> None:
            width.add(count)
            on_bytes(count)

        return in_order(
            ranges, lambda wanted, stop: self._fetch(wanted.file, wanted.bytes, stop, came), width
        )

    def _read_small(self, file: str, cap_bytes: int) -> bytes:
        where = f"{self.repo}/{file}"
        with session().stream(
            "GET",
            self._url(file),
            headers=self._headers(),
            timeout=self._manners.timeout(where),
            follow_redirects=True,
        ) as response:
            if response.status_code >= 400 and not self._is_hubs(str(response.url)):
                raise Answered(response.status_code, response.headers)
            hf_raise_for_status(response)
            self._check_commit(response, where, required=False)
            found = io.BytesIO()  # hands out what it holds without a copy
            for piece in response.iter_bytes():
                found.write(piece)
                if found.tell() > cap_bytes:
                    raise BrokenFile("bad-header", where, f"is larger than {cap_bytes:,} bytes, our cap")
        return found.getvalue()

    def _sign(self, file: str) -> SignedFile:
        """Where the storage serves the file now; follows the Hub's own redirects only."""
        where, url = f"{self.repo}/{file}", self._url(file)
        for _ in range(5):
            response = session().request(
                "HEAD",
                url,
                headers=self._headers(),
                timeout=self._manners.timeout(where),
                follow_redirects=False,
            )
            hf_raise_for_status(response)
            location = urljoin(url, response.headers.get("Location", ""))
            if response.status_code in _REDIRECTS and self._is_hubs(location):
                # A small file, or a repository that was renamed: that answer names no commit.
                self._check_commit(response, where, required=False)
                url = location
                continue
            self._check_commit(response, where, required=True)
            if response.status_code not in _REDIRECTS:
                return SignedFile(url, self._headers(), self._size(response, "Content-Length", where))
            # The signature is in the URL: the token stays with the Hub.
            return SignedFile(location, {}, self._size(response, "X-Linked-Size", where))
        raise Unreachable("network", where, "the Hub redirects in circles")

    def _size(self, response: httpx2.Response, header: str, where: str) -> int:
        text = response.headers.get(header, "")
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise Unreachable("network", where, f"{header} is {text!r}, expected a number")
        return int(text)

    def _is_hubs(self, url: str) -> bool:
        """Whether a URL has the Hub's own origin, which alone may see the token."""
        return urlsplit(url)[:2] == urlsplit(self._hub.endpoint)[:2]

    def _check_commit(self, response: httpx2.Response, where: str, *, required: bool) -> None:
        commit = response.headers.get("X-Repo-Commit")
        if commit != self.sha and (required or commit is not None):
            raise Unreachable("network", where, f"came from commit {commit}, expected {self.sha}")

    # ------------------------------------------------------------------------ byte ranges

    def _signed_file(self, file: str, refused: SignedFile | None = None) -> SignedFile:
        """The file's signed URL, shared by all connections; a refused one is signed anew once."""
        with self._signing:
            known = self._signed.get(file)
            if known is None or known is refused:
                known = self._ask(file, lambda: self._sign(file))
                listed = self.files[file]
                if known.size != listed:
                    raise BrokenFile(
                        "bad-header",
                        f"{self.repo}/{file}",
                        f"has {known.size:,} bytes, expected {listed:,} as the Hub lists it",
                    )
                self._signed[file] = known
            return known

    def _fetch(self, file: str, wanted: ByteRange, stop: threading.Event, on_bytes: OnBytes) -> memoryview:
        """Exactly the wanted bytes, resumed where a connection broke."""
        where, failures, refusals = f"{self.repo}/{file}", 0, 0
        signed = self._signed_file(file)
        part = Part(room(len(wanted)))
        while not part.full and not stop.is_set():
            before = part.got
            self._manners.pace.wait()
            try:
                self._receive(signed, wanted, part, stop, on_bytes)
            except (*BROKEN, Answered, Unreachable) as error:
                self._manners.left_s(where)
                failures += 1
                if part.got > before:
                    failures = refusals = 0
                if status_of(error) in (401, 403) and refusals < SIGNING_TRIES:
                    refusals += 1  # most likely the signature has expired
                    signed = self._signed_file(file, refused=signed)
                    wait_s = 0.0
                elif failures < self._manners.patience.tries and worth_again(error):
                    wait_s = self._manners.wait_s(max(failures, 1), error, where)
                else:
                    translate(error, where)
                self._manners.counter.add(retries=1)
                stop.wait(wait_s)
        return part.block

    def _receive(
        self,
        signed: SignedFile,
        wanted: ByteRange,
        part: Part,
        stop: threading.Event,
        on_bytes: OnBytes,
    ) -> None:
        """One request for what is missing; `part` keeps whatever came, also when it fails."""
        missing = ByteRange(wanted.start + part.got, wanted.stop)
        with self._answer(signed, missing) as response:
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
    def _answer(self, signed: SignedFile, asked: ByteRange) -> Iterator[HTTPResponse]:
        headers = {**signed.headers, "Range": asked.http_header(), "Accept-Encoding": "identity"}
        self._manners.counter.add(requests=1)
        timeout = self._manners.timeout(bare(signed.url))
        with lines().get(signed.url, headers, timeout) as response:
            if response.status >= 400:
                raise Answered(response.status, httpx2.Headers(response.getheaders()))
            expected = f"bytes {asked.start}-{asked.stop - 1}/{signed.size}"
            found = response.headers.get("Content-Range")
            if response.status != 206 or found != expected:
                raise Unreachable(
                    "network",
                    bare(signed.url),
                    f"answered {response.status} with Content-Range {found!r}, "
                    f"expected 206 with {expected!r}",
                )
            yield response

    # ----------------------------------------------------------------------------- pieces

    def _ask(self, file: str, call: Callable[[], Result]) -> Result:
        return self._manners.patiently(call, f"{self.repo}/{file}")

    def _headers(self) -> dict[str, str]:
        return {
            **build_hf_headers(token=self._hub.token, library_name=LIBRARY, library_version=version()),
            "Accept-Encoding": "identity",
        }

    def _url(self, file: str) -> str:
        return f"{self._hub.endpoint}/{self.hub_id}/resolve/{self.sha}/{quote(file)}"
