"""Where the storage serves a file now: a URL with a signature, shared by connections, signed anew at need."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

from survey.errors import BrokenFile, NotTheHubs, Unreachable
from survey.hub.errors import FAILURES, status_of
from survey.hub.file_sizes import Sizes
from survey.hub.requests import RequestPolicy
from survey.hub.small_requests import ERROR_CAP_BYTES, REDIRECTS_AT_MOST, Reply, SmallRequests


@dataclass(frozen=True, slots=True)
class SignedFile:
    """A file as the storage serves it: a URL with its signature, or the Hub's own URL.

    size: None where neither the listing nor the answer says.
    """

    url: str
    headers: Mapping[str, str]
    size: int | None


class SignedFiles:
    """The files of one commit, each signed when it is first read."""

    def __init__(
        self, endpoint: str, repo: str, sha: str, sizes: Sizes, small: SmallRequests, manners: RequestPolicy
    ) -> None:
        self._root, self._repo, self._sha = f"{endpoint.rstrip('/')}/{repo}/resolve/{sha}", repo, sha
        self._sizes, self._small, self._manners = sizes, small, manners
        self._signed: dict[str, SignedFile] = {}
        self._lock = threading.Lock()

    def url(self, file: str) -> str:
        """The Hub's own address of a file."""
        return f"{self._root}/{quote(file)}"

    def get(self, file: str, refused: SignedFile | None = None) -> SignedFile:
        """The file's signed URL, shared by all connections; a refused one is signed anew once."""
        with self._lock:
            known = self._signed.get(file)
            if known is None or known is refused:
                known = self._manners.patiently(lambda: self._sign(file), f"{self._repo}/{file}")
                listed = self._sizes.known(file)
                if known.size is None:
                    known = replace(known, size=self._size_at(known, file) if listed is None else listed)
                elif listed is not None and known.size != listed:
                    raise BrokenFile(
                        "bad-header",
                        f"{self._repo}/{file}",
                        f"has {known.size:,} bytes, expected {listed:,} as the Hub lists it",
                    )
                self._signed[file] = known
            return known

    def _size_at(self, signed: SignedFile, file: str) -> int | None:
        """The size as the storage says it, of which one byte is asked for."""
        where = f"{self._repo}/{file}"

        def ask() -> Reply:
            return self._small.once("GET", signed.url, where, ERROR_CAP_BYTES, Range="bytes=0-0")

        return _total(self._manners.patiently(ask, where))

    def move(self, file: str, signed: SignedFile, url: str) -> SignedFile:
        """The file where a range of it was redirected to; known to all connections from now on."""
        headers = self._small.headers(url) if self._small.is_hubs(url) else {}
        moved = SignedFile(url, headers, signed.size)
        with self._lock:
            self._signed[file] = moved
        return moved

    def check_commit(self, reply: Reply, where: str, *, required: bool) -> None:
        commit = reply.headers.get("X-Repo-Commit")
        if commit != self._sha and (required or commit is not None):
            if commit is None:
                # As huggingface_hub refuses it, whose downloads end with the same complaint.
                problem = f"came without X-Repo-Commit, expected {self._sha}: no proof of the commit"
                mend = "let the mirror pass the Hub's headers on, or name another endpoint"
                raise NotTheHubs("network", where, f"{problem}; {mend}")
            raise Unreachable("network", where, f"came from commit {commit[:100]}, expected {self._sha}")

    def _sign(self, file: str) -> SignedFile:
        """Where the storage serves the file now; follows the Hub's own redirects only."""
        where, url = f"{self._repo}/{file}", self.url(file)
        for _ in range(REDIRECTS_AT_MOST):
            try:
                reply = self._small.once("HEAD", url, where)
            except FAILURES as error:
                if not self._knows_no_head(error):
                    raise
                return self._sign_by_get(file)
            if reply.location is not None and self._small.is_hubs(reply.location):
                # A small file, or a repository that was renamed: that answer names no commit.
                self.check_commit(reply, where, required=False)
                url = reply.location
                continue
            self.check_commit(reply, where, required=True)
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
        where, url = f"{self._repo}/{file}", self.url(file)
        for _ in range(REDIRECTS_AT_MOST):
            reply = self._small.once("GET", url, where, ERROR_CAP_BYTES, Range="bytes=0-0")
            if reply.location is not None and self._small.is_hubs(reply.location):
                url = reply.location
                continue
            self.check_commit(reply, where, required=True)
            if reply.location is not None:
                return SignedFile(reply.location, {}, self._size(reply, "X-Linked-Size", where))
            return SignedFile(url, self._small.headers(url), _total(reply))
        raise Unreachable("network", where, "the Hub redirects in circles")

    def _size(self, reply: Reply, header: str, where: str) -> int | None:
        """What a header says; None where it is missing, as it is in what some mirrors answer."""
        text = reply.headers.get(header)
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise Unreachable("network", where, f"{header} is {text[:100]!r}, expected a number")
        return int(text)


def _total(reply: Reply) -> int | None:
    """How large the whole is of which the first byte came, if that is said."""
    total = re.fullmatch(r"bytes 0-0/([0-9]{1,18})", reply.headers.get("Content-Range", ""))
    return int(total[1]) if total and reply.status == 206 else None
