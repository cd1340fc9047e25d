"""Xet, the Hub's storage: the chunks that a range of a file consists of, by its public protocol.

The Hub grants a token for one commit and names the storage's address; there, the reconstruction of a range
is a list of terms: chunks [start, end) of a container (xorb), and their size. Nothing is tried again: whoever
asks can read the bytes instead.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Any

from survey.errors import BrokenFile, NotTheHubs, Unreachable
from survey.formats.bounded_json import parse_json
from survey.hub.api_client import ApiClient
from survey.hub.documents import ApiDocument, document
from survey.hub.errors import FAILURES, translate
from survey.hub.request_policy import RequestPolicy
from survey.hub.small_requests import SmallRequests, bare
from survey.hub.transport.origins import is_readable_in_transit, origin_of
from survey.records.settings import Settings
from survey.records.tensors import ByteRange, ChunkRun

RECONSTRUCTION_CAP_BYTES = 8 << 20  # a range of 2 GB in runs of single chunks: 30,000 terms
_HASH = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"[!-~]{1,8192}")  # what a header can hold


class XetStorage:
    """The storage behind one commit of a repository."""

    def __init__(self, repo: str, sha: str, settings: Settings, policy: RequestPolicy) -> None:
        self._repo, self._sha, self._settings, self._policy = repo, sha, settings, policy
        self._small = SmallRequests(settings, policy)

    def chunks(self, file_hash: str, byte_range: ByteRange) -> tuple[ChunkRun, ...]:
        """The chunks of a range of the file with this hash. Raises SurveyError."""
        if not _HASH.fullmatch(file_hash):
            raise NotTheHubs("network", self._repo, f"a file's Xet hash is {file_hash[:100]!r}")
        url, token = self._access()
        # The sizes of single chunks are an addition to the protocol, which a storage may ignore.
        url += f"/v1/reconstructions/{file_hash}?chunk_byte_sizes=true"
        where = bare(url)
        try:
            reply = self._small.once(
                "GET",
                url,
                where,
                RECONSTRUCTION_CAP_BYTES,
                range_is_described=True,
                Authorization=f"Bearer {token}",
                Range=byte_range.http_header(),
            )
        except FAILURES as error:
            translate(error, where)
        if reply.status not in (200, 206):  # a redirect would carry the token elsewhere
            raise Unreachable("network", where, f"answered {reply.status}, expected 200")
        return runs_of(_json(reply.body, where), len(byte_range), where)

    def _access(self) -> tuple[str, str]:
        """The address of the storage, and a token for it that may read this commit."""
        path = f"/api/models/{self._repo}/xet-read-token/{self._sha}"
        grant = document(ApiClient(self._settings, self._policy).get(path, [], self._repo), self._repo)
        url, token = grant.get("casUrl", str), grant.get("accessToken", str)
        origin_of(url)  # raises if it is no address
        if is_readable_in_transit(url) and not is_readable_in_transit(self._settings.endpoint):
            raise NotTheHubs("network", self._repo, f"its storage {bare(url)[:200]} is not encrypted")
        if not _TOKEN.fullmatch(token):
            raise NotTheHubs("network", self._repo, "its token for the storage is none")
        return bare(url).rstrip("/"), token


def runs_of(value: Any, size: int, where: str) -> tuple[ChunkRun, ...]:  # Any: JSON
    """The terms of a reconstruction as runs from the beginning of a range of `size` bytes.

    Raises NotTheHubs if they are not those of such a range.
    """
    answer = document(value, where)
    at = -_count(answer, "offset_into_first_range")
    runs = []
    for entry in answer.get("terms", list):
        run = _run(document(entry, where), at, where)
        if run.end <= 0 or run.start >= size:
            raise NotTheHubs("network", where, "a term lies outside the range")
        runs.append(run)
        at += run.size
    if at < size:
        raise NotTheHubs("network", where, f"its terms end after {at:,} bytes, expected {size:,}")
    return tuple(runs)


def _run(term: ApiDocument, start: int, where: str) -> ChunkRun:
    chunks = document(term.get("range", dict), where)
    xorb, size = term.get("hash", str), _count(term, "unpacked_length")
    first, stop = _count(chunks, "start"), _count(chunks, "end")
    sizes = tuple(term.get("chunk_byte_sizes", list, []))
    if not _HASH.fullmatch(xorb) or not first < stop or not size:
        raise NotTheHubs("network", where, "a term names no chunks")
    if sizes and not (
        all(type(item) is int and item > 0 for item in sizes)
        and len(sizes) == stop - first
        and sum(sizes) == size
    ):
        raise NotTheHubs("network", where, "the sizes of a term's chunks are not those of the term")
    return ChunkRun(xorb, first, stop, start, size, tuple(accumulate(sizes[:-1], initial=0)) if sizes else ())


def _count(answer: ApiDocument, name: str) -> int:
    value: int = answer.get(name, int)
    if isinstance(value, bool) or not 0 <= value < 1 << 62:
        raise NotTheHubs("network", answer.where, f"{name} is {value}")
    return value


def _json(body: bytes, where: str) -> Any:  # Any: JSON
    try:
        return parse_json(body, "bad-header", where)
    except BrokenFile as error:
        raise NotTheHubs("network", where, f"not an answer of the storage: {error.problem}") from error
