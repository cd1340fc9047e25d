"""Signed URLs of files in the storage: shared by connections, and renewed when they expire."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

from survey.errors import BrokenFile, NotTheHubs, Unreachable
from survey.hub.errors import FAILURES, status_of
from survey.hub.file_sizes import Sizes
from survey.hub.file_versions import FileVersions
from survey.hub.request_policy import RequestPolicy
from survey.hub.small_requests import ERROR_CAP_BYTES, REDIRECTS_AT_MOST, Reply, SmallRequests
from survey.hub.transport.origins import origin_of


@dataclass(frozen=True, slots=True)
class SignedFile:
    """A file in the storage: a URL with its signature, or the Hub's own URL.

    size: None if neither the listing nor the response says. xet_hash: of a file in the Xet storage.
    """

    url: str
    headers: Mapping[str, str]
    size: int | None
    xet_hash: str | None = None


class SignedFiles:
    """The files of one commit; each is signed when it is first read."""

    def __init__(
        self,
        endpoint: str,
        repo: str,
        sha: str,
        sizes: Sizes,
        versions: FileVersions,
        small: SmallRequests,
        policy: RequestPolicy,
    ) -> None:
        self._root, self._repo, self._sha = f"{endpoint.rstrip('/')}/{repo}/resolve/{sha}", repo, sha
        self._sizes, self._versions, self._small, self._policy = sizes, versions, small, policy
        self.hub = small.origin
        self._signed: dict[str, SignedFile] = {}
        self._lock = threading.Lock()

    def url(self, file: str) -> str:
        """The Hub's own URL of a file."""
        return f"{self._root}/{quote(file)}"

    def get(self, file: str, refused: SignedFile | None = None) -> SignedFile:
        """A file's signed URL, shared by all connections. refused: the one to renew, if nobody has yet.

        Raises SurveyError.
        """
        with self._lock:
            known = self._signed.get(file)
            if known is None or known is refused:
                known = self._policy.with_retries(lambda: self._sign(file), f"{self._repo}/{file}")
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
        """The size as the storage states it in the response to a request for one byte."""
        where = f"{self._repo}/{file}"

        def request() -> Reply:
            return self._small.once("GET", signed.url, where, ERROR_CAP_BYTES, Range="bytes=0-0")

        return _total(self._policy.with_retries(request, where))

    def move(self, file: str, signed: SignedFile, url: str) -> SignedFile:
        """Follow the redirect of a range; all connections use the new URL from now on. Raises Unreachable."""
        headers = self._small.headers(url) if self._small.is_hubs(url) else {}
        moved = replace(signed, url=url, headers=headers)
        with self._lock:
            self._signed[file] = moved
        return moved

    def check_version(self, file: str, url: str, headers: Mapping[str, str]) -> None:
        """Raise NotTheHubs if a response is of another version of the file than those before."""
        self._versions.check(file, str(origin_of(url)), headers, f"{self._repo}/{file}")

    def check_commit(self, reply: Reply, where: str, *, required: bool) -> None:
        """Raise Unreachable if a response names another commit, NotTheHubs if it names none and must."""
        commit = reply.headers.get("X-Repo-Commit")
        if commit != self._sha and (required or commit is not None):
            if commit is None:
                # As huggingface_hub does: its downloads end with the same error.
                problem = f"came without X-Repo-Commit, expected {self._sha}: no proof of the commit"
                advice = "let the mirror pass the Hub's headers on, or name another endpoint"
                raise NotTheHubs("network", where, problem, advice)
            raise Unreachable("network", where, f"came from commit {commit[:100]}, expected {self._sha}")

    def _sign(self, file: str) -> SignedFile:
        """The file in the storage; follows only the Hub's own redirects. Raises FAILURES, Unreachable."""
        where, url = f"{self._repo}/{file}", self.url(file)
        for _ in range(REDIRECTS_AT_MOST):
            try:
                reply = self._small.once("HEAD", url, where)
            except FAILURES as error:
                if not self._lacks_head(error):
                    raise
                return self._sign_by_get(file)
            if reply.location is not None and self._small.is_hubs(reply.location):
                # A small file, or a renamed repository: this response names no commit.
                self.check_commit(reply, where, required=False)
                url = reply.location
                continue
            self.check_commit(reply, where, required=True)
            self.check_version(file, url, reply.headers)
            if reply.location is None:
                return SignedFile(url, self._small.headers(url), self._size(reply, "Content-Length", where))
            # The signature is in the URL: the token stays with the Hub.
            size = self._size(reply, "X-Linked-Size", where)
            return SignedFile(reply.location, {}, size, reply.headers.get("X-Xet-Hash"))
        raise Unreachable("network", where, "the Hub redirects in circles")

    def _lacks_head(self, error: Exception) -> bool:
        """Whether a mirror serves GET alone; refusals of the Hub itself carry an error code."""
        response = getattr(error, "response", error)
        has_code = "X-Error-Code" in getattr(response, "headers", {})
        return status_of(error) in (404, 405, 501) and not has_code

    def _sign_by_get(self, file: str) -> SignedFile:
        """The same by a GET of one byte, for a mirror that does not support HEAD."""
        where, url = f"{self._repo}/{file}", self.url(file)
        for _ in range(REDIRECTS_AT_MOST):
            reply = self._small.once("GET", url, where, ERROR_CAP_BYTES, Range="bytes=0-0")
            if reply.location is not None and self._small.is_hubs(reply.location):
                url = reply.location
                continue
            self.check_commit(reply, where, required=True)
            self.check_version(file, url, reply.headers)
            if reply.location is not None:
                return SignedFile(reply.location, {}, self._size(reply, "X-Linked-Size", where))
            return SignedFile(url, self._small.headers(url), _total(reply))
        raise Unreachable("network", where, "the Hub redirects in circles")

    def _size(self, reply: Reply, header: str, where: str) -> int | None:
        """The number in a header; None if it is missing, as of some mirrors. Raises Unreachable."""
        text = reply.headers.get(header)
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise Unreachable("network", where, f"{header} is {text[:100]!r}, expected a number")
        return int(text)


def _total(reply: Reply) -> int | None:
    """The size of the whole file, as the response to a request for its first byte states it; None if not."""
    total = re.fullmatch(r"bytes 0-0/([0-9]{1,18})", reply.headers.get("Content-Range", ""))
    return int(total[1]) if total and reply.status == 206 else None
