"""Small requests to the Hub without retries: a document of its API, the headers of a file, a small file.

Each has a deadline and a cap on its body, also after decompression: 700 kB of gzip can become 2 GB. The token
goes to the Hub's own origin alone, wherever a redirect leads.
"""

from __future__ import annotations

import http.client
import zlib
from dataclasses import dataclass, replace
from platform import python_version
from urllib.parse import unquote, urlsplit

import httpx2
from huggingface_hub import __version__ as hub_version
from huggingface_hub import constants

from survey import version
from survey.errors import BrokenFile, NoHub, NotTheHubs, Unreachable
from survey.hub.access import endpoint_name, token_for
from survey.hub.errors import HttpStatusError, headers_of, raise_for_status
from survey.hub.request_policy import RequestPolicy
from survey.hub.transport.connections import connection_pool
from survey.hub.transport.origins import basic_credentials, joined_url, origin_of
from survey.hub.transport.response_head import content_encoding
from survey.process.redaction import redacted
from survey.records.settings import Settings

LIBRARY = "centroid-survey"  # our name in the Hub's logs
REDIRECTS = frozenset({301, 302, 303, 307, 308})
REDIRECTS_AT_MOST = 5
ERROR_CAP_BYTES = 1 << 16  # read of a refusal, so that its connection can be reused
SMALL_READ_BYTES = 1 << 16
_OVERHEAD_BYTES = 1 << 20  # of a response: its headers and its framing


def bare(url: str) -> str:
    """A URL without its query, which holds the signature, and without its password: both are secrets."""
    return redacted(url.partition("?")[0])


@dataclass(frozen=True, slots=True)
class Reply:
    """The response to one request; the body is decompressed."""

    url: str
    status: int
    headers: httpx2.Headers
    body: bytes = b""

    @property
    def location(self) -> str | None:
        """The target of a redirect; None if this is not one."""
        target = self.headers.get("Location")
        return joined_url(self.url, target) if self.status in REDIRECTS and target else None


class SmallRequests:
    """Requests to one Hub, counted and bounded by its policy."""

    def __init__(self, settings: Settings, policy: RequestPolicy) -> None:
        self._settings, self._policy = settings, policy
        self.origin = origin_of(settings.endpoint)

    def is_hubs(self, url: str) -> bool:
        """Whether a URL has the Hub's own origin, which alone may see the token. Raises Unreachable."""
        return origin_of(url) == self.origin

    def headers(self, url: str, encoding: str = "identity") -> dict[str, str]:
        """The headers that identify us, with the token if the URL is the Hub's. Raises NotOffered."""
        token = token_for(self._settings) if self.is_hubs(url) else None
        # Not by huggingface_hub's `build_hf_headers`: it may make a request of its own first, without any
        # deadline, to name the program that it believes to run in.
        stated = {"User-Agent": f"{LIBRARY}/{version()}; hf_hub/{hub_version}; python/{python_version()}"}
        if token is not None:
            stated["Authorization"] = f"Bearer {token}"
        user = urlsplit(self._settings.endpoint)
        if token is None and user.username and self.is_hubs(url):
            stated["Authorization"] = basic_credentials(unquote(user.username), unquote(user.password or ""))
        return {**stated, "Accept-Encoding": encoding}

    def get(self, url: str, where: str, cap_bytes: int, *, expected_bytes: int = 0, **extra: str) -> Reply:
        """A body of at most `cap_bytes`, after all redirects. extra: further headers.

        Raises Unreachable, BrokenFile, FAILURES.
        """
        for _ in range(REDIRECTS_AT_MOST):
            reply = self.once(
                "GET",
                url,
                where,
                cap_bytes,
                expected_bytes=expected_bytes,
                range_is_described=False,
                **extra,
            )
            if reply.location is not None:
                url = reply.location
                continue
            if reply.status != 200:
                raise Unreachable("network", where, f"answered {reply.status}, expected 200")
            return reply
        raise Unreachable("network", where, "the Hub redirects in circles")

    def once(
        self,
        method: str,
        url: str,
        where: str,
        cap_bytes: int = 0,
        *,
        expected_bytes: int = 0,
        range_is_described: bool = False,
        **extra: str,
    ) -> Reply:
        """One request; a redirect is not followed. Raises Unreachable, BrokenFile, FAILURES.

        range_is_described: whether the answer to a Range is about it, and not the bytes themselves.
        """
        if constants.HF_HUB_OFFLINE:
            problem, remedy = (
                "HF_HUB_OFFLINE is set, so no request is made",
                "unset it, or survey checkpoint folders",
            )
            raise NoHub("network", endpoint_name(self._settings.endpoint), problem, remedy)
        limits = self._policy.limits(where, expected_bytes)
        limits = replace(limits, max_bytes=max(cap_bytes, ERROR_CAP_BYTES) + _OVERHEAD_BYTES)
        # With gzip, a HEAD would state the compressed length, and a range would be of compressed bytes.
        encoding = "gzip" if method == "GET" and not extra else "identity"
        headers = {**self.headers(url, encoding), **extra}
        self._policy.counter.add(requests=1)
        with connection_pool().request(method, url, headers, limits, self.origin) as response:
            received = headers_of(response)
            if response.status < 200 or (300 <= response.status < 400 and response.status not in REDIRECTS):
                raise Unreachable("network", where, f"answered {response.status}, expected 200")
            if response.status == 200 and "Range" in extra and not range_is_described:
                problem = "answered 200 with all of it, expected 206: byte ranges are not served there"
                raise NotTheHubs("network", where, problem)
            refused = response.status >= 300
            body = self._body(response, where, ERROR_CAP_BYTES if refused else cap_bytes, refused)
        if response.status >= 400 and not self.is_hubs(url):
            raise HttpStatusError(response.status, received)  # the storage's refusals are not the Hub's
        raise_for_status(method, url, response.status, received)
        return Reply(url, response.status, received, body)

    def _body(
        self,
        response: http.client.HTTPResponse,
        where: str,
        cap_bytes: int,
        refused: bool,
    ) -> bytes:
        encoding = content_encoding(response)
        if encoding not in ("identity", "gzip", "x-gzip", "deflate") and not refused:
            raise Unreachable("network", where, f"is encoded as {encoding[:50]!r}, expected gzip or nothing")
        inflate = None if encoding == "identity" or refused else zlib.decompressobj(zlib.MAX_WBITS | 32)
        body, is_begun = bytearray(), False
        try:
            while piece := response.read(SMALL_READ_BYTES):
                is_begun = True
                self._policy.counter.add(bytes=len(piece))
                body += inflate.decompress(piece, cap_bytes + 1 - len(body)) if inflate else piece
                if inflate is not None and inflate.unused_data:
                    raise Unreachable("network", where, "holds more than one stream of gzip")
                if len(body) > cap_bytes:
                    if refused:
                        return b""
                    raise BrokenFile("bad-header", where, f"is larger than {cap_bytes:,} bytes, our cap")
        except (zlib.error, ValueError) as error:  # chunks of a negative length, and the like
            raise Unreachable("network", where, f"its framing is broken: {error}") from error
        if response.length or (is_begun and inflate is not None and not inflate.eof):
            raise Unreachable("network", where, f"ended after {len(body):,} bytes, before its end")
        return bytes(body)
