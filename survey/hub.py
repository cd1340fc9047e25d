"""One commit of a repository on the Hub: its small files, and its tensors by byte range.

huggingface_hub's own ranged readers check neither the status nor the length of what comes (a
server that ignores `Range` makes them return other bytes), so ranges are read here, over
lines of our own, and checked: 206, the exact Content-Range, the exact length, the pinned commit.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPResponse
from typing import TypeVar
from urllib.parse import quote

from survey.checkpoint import Card, OnBytes
from survey.errors import BrokenFile, NotTheHubs, Unreachable
from survey.hub_access import joined
from survey.hub_errors import FAILURES, Answered, headers_of, status_of
from survey.hub_http import Manners
from survey.hub_line import lines, received
from survey.hub_sizes import Sizes
from survey.hub_small import REDIRECTS, REDIRECTS_AT_MOST, Reply, SmallRequests, bare
from survey.stream import Block, in_order, room
from survey.target import ByteRange, Settings, Traffic
from survey.width import Width

SIGNING_TRIES = 3  # a URL that is refused as often right after it was signed stays refused

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class SignedFile:
    """A file as the storage serves it: a URL with its signature, or the Hub's own URL.

    size: None where neither the listing nor the answer says.
    """

    url: str
    headers: Mapping[str, str]
    size: int | None


class Moved(Exception):
    """A range is served elsewhere: some mirrors redirect GET alone."""

    def __init__(self, url: str) -> None:
        super().__init__("moved")  # the URL is signed, a secret
        self.url = url


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
        files: Mapping[str, int | None],
        settings: Settings,
        manners: Manners,
        card: Card | None = None,
    ) -> None:
        """Nothing is asked of the Hub before something is read, or the size of a file that has none yet."""
        self.repo, self.revision, self.sha = repo, revision, sha
        self.files: Sizes = Sizes(files, self._ask_size)
        self.card = card or Card()
        self._hub, self._manners = settings, manners
        self._small = SmallRequests(settings, manners)
        self._signed: dict[str, SignedFile] = {}
        self._signing = threading.Lock()

    @property
    def traffic(self) -> Traffic:
        return self._manners.counter.total

    def read_file(self, file: str, cap_bytes: int) -> bytes:
        return self._ask(file, lambda: self._read_small(file, cap_bytes))

    def read_range(self, file: str, wanted: ByteRange) -> bytes:
        return bytes(self._fetch(file, wanted, threading.Event(), lambda count: None, len(wanted)))

    def stream(self, file: str, ranges: Sequence[ByteRange], on_bytes: OnBytes) -> Iterator[Block]:
        width = Width(self._hub.connections)

        def came(count: int) -> None:
            width.add(count)
            on_bytes(count)

        return in_order(ranges, lambda wanted, stop: self._fetch(file, wanted, stop, came), width)

    def _read_small(self, file: str, cap_bytes: int) -> bytes:
        where, listed = f"{self.repo}/{file}", self.files.known(file)
        reply = self._small.get(self._url(file), where, cap_bytes, expected_bytes=listed or cap_bytes)
        self._check_commit(reply, where, required=False)
        if listed is not None and len(reply.body) != listed:
            problem = f"came with {len(reply.body):,} bytes, expected {listed:,} as the Hub lists it"
            raise Unreachable("network", where, problem)
        return reply.body

    def _sign(self, file: str) -> SignedFile:
        """Where the storage serves the file now; follows the Hub's own redirects only."""
        where, url = f"{self.repo}/{file}", self._url(file)
        for _ in range(REDIRECTS_AT_MOST):
            try:
                reply = self._small.once("HEAD", url, where)
            except FAILURES as error:
                if not self._knows_no_head(error):
                    raise
                return self._sign_by_get(file)
            if reply.location is not None and self._small.is_hubs(reply.location):
                # A small file, or a repository that was renamed: that answer names no commit.
                self._check_commit(reply, where, required=False)
                url = reply.location
                continue
            self._check_commit(reply, where, required=True)
            if reply.location is None:
                return SignedFile(url, self._small.headers(url), self._size(reply, "Content-Length", where))
            # The signature is in the URL: the token stays with the Hub.
            return SignedFile(reply.location, {}, self._size(reply, "X-Linked-Size", where))
        raise Unreachable("network", where, "the Hub redirects in circles")

    def _knows_no_head(self, error: Exception) -> bool:
        """Whether a mirror serves GET alone: the Hub itself says in its refusals what is refused."""
        answer = getattr(error, "response", error)
        coded = "X-Error-Code" in getattr(answer, "headers", {})
        return status_of(error) in (404, 405, 501) and not coded

    def _sign_by_get(self, file: str) -> SignedFile:
        """The same by asking for one byte, of a mirror that does not know HEAD."""
        where, url = f"{self.repo}/{file}", self._url(file)
        for _ in range(REDIRECTS_AT_MOST):
            reply = self._small.once("GET", url, where, 1 << 16, Range="bytes=0-0")
            if reply.location is not None and self._small.is_hubs(reply.location):
                url = reply.location
                continue
            self._check_commit(reply, where, required=True)
            if reply.location is not None:
                return SignedFile(reply.location, {}, self._size(reply, "X-Linked-Size", where))
            total = re.fullmatch(r"bytes 0-0/([0-9]{1,18})", reply.headers.get("Content-Range", ""))
            return SignedFile(url, self._small.headers(url), int(total[1]) if total else None)
        raise Unreachable("network", where, "the Hub redirects in circles")

    def _size(self, reply: Reply, header: str, where: str) -> int | None:
        """What a header says; None where it is missing, as it is in what some mirrors answer."""
        text = reply.headers.get(header)
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise Unreachable("network", where, f"{header} is {text[:100]!r}, expected a number")
        return int(text)

    def _ask_size(self, file: str) -> int:
        """The size of a file that the listing tells without one."""
        size = self._signed_file(file).size
        if size is None:
            where = f"{self.repo}/{file}"
            raise Unreachable("network", where, "neither the listing nor the answer to HEAD says its size")
        return size

    def _check_commit(self, reply: Reply, where: str, *, required: bool) -> None:
        commit = reply.headers.get("X-Repo-Commit")
        if commit != self.sha and (required or commit is not None):
            if commit is None:
                raise NotTheHubs(
                    "network",
                    where,
                    f"came without X-Repo-Commit, expected {self.sha}: no proof of the commit",
                )
            raise Unreachable("network", where, f"came from commit {commit[:100]}, expected {self.sha}")

    # ------------------------------------------------------------------------ byte ranges

    def _signed_file(self, file: str, refused: SignedFile | None = None) -> SignedFile:
        """The file's signed URL, shared by all connections; a refused one is signed anew once."""
        with self._signing:
            known = self._signed.get(file)
            if known is None or known is refused:
                known = self._ask(file, lambda: self._sign(file))
                listed = self.files.known(file)
                if known.size is None:
                    known = replace(known, size=listed)
                elif listed is not None and known.size != listed:
                    raise BrokenFile(
                        "bad-header",
                        f"{self.repo}/{file}",
                        f"has {known.size:,} bytes, expected {listed:,} as the Hub lists it",
                    )
                self._signed[file] = known
            return known

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
        signed = self._signed_file(file)
        part = Part(room(len(wanted)))
        while not part.full and not stop.is_set():
            before = part.got
            self._manners.pace.wait(self._manners.left_s(where))
            try:
                self._receive(signed, wanted, part, stop, on_bytes, expected_bytes)
            except Moved as error:
                moves += 1
                if moves > REDIRECTS_AT_MOST:
                    raise Unreachable("network", where, "its ranges are redirected in circles") from None
                signed = self._move(file, signed, error.url)
            except (*FAILURES, Unreachable) as error:
                failures += 1
                if part.got > before:
                    failures = refusals = 0
                wait_s = 0.0
                if status_of(error) in (401, 403) and refusals < SIGNING_TRIES:
                    self._manners.left_s(where)
                    refusals += 1  # most likely the signature has expired
                    signed = self._signed_file(file, refused=signed)
                else:
                    self._manners.give_up(error, failures, where)
                    wait_s = self._manners.wait_s(max(failures, 1), error, where)
                self._manners.counter.add(retries=1)
                stop.wait(wait_s)
        return part.block

    def _move(self, file: str, signed: SignedFile, url: str) -> SignedFile:
        """The file where a range of it was redirected to; known to all connections from now on."""
        headers = self._small.headers(url) if self._small.is_hubs(url) else {}
        moved = SignedFile(url, headers, signed.size)
        with self._signing:
            self._signed[file] = moved
        return moved

    def _receive(
        self,
        signed: SignedFile,
        wanted: ByteRange,
        part: Part,
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
        with lines().ask("GET", signed.url, headers, limits) as response:
            if response.status >= 400:
                raise Answered(response.status, headers_of(response))
            if response.status in REDIRECTS and (location := response.headers.get("Location")):
                raise Moved(joined(signed.url, location))
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

    # ----------------------------------------------------------------------------- pieces

    def _ask(self, file: str, call: Callable[[], Result]) -> Result:
        return self._manners.patiently(call, f"{self.repo}/{file}")

    def _url(self, file: str) -> str:
        return f"{self._hub.endpoint.rstrip('/')}/{self.repo}/resolve/{self.sha}/{quote(file)}"
