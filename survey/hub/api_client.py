"""Requests to the Hub's API: one document, or a listing page by page; bounded, and valid JSON or an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import httpx2
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # public, but exported lazily
    validate_repo_id,
)

from survey.errors import BrokenFile, NotOffered, NotTheHubs, storable
from survey.formats.bounded_json import parse_json
from survey.hub.documents import ApiDocument, document
from survey.hub.errors import translate
from survey.hub.request_policy import RequestPolicy
from survey.hub.small_requests import Reply, SmallRequests, bare
from survey.hub.transport.origins import joined_url
from survey.records.settings import Settings

API_CAP_BYTES = 32 << 20  # of a document; the largest known, of a repository of 50,000 files, has 12 MB
MAX_PAGES = 1000  # of a listing


class ApiClient:
    """Requests to the Hub's API; responses are bounded JSON."""

    def __init__(self, settings: Settings, policy: RequestPolicy) -> None:
        self._settings, self._policy = settings, policy
        self._small = SmallRequests(settings, policy)
        self._endpoint = settings.endpoint.rstrip("/")

    def model(self, repo: str, revision: str | None, **query: str) -> ApiDocument:
        """The document of a model at a revision. Raises NotOffered or Unreachable."""
        path = f"/api/models/{valid_id(repo)}"
        if revision is not None:
            if storable(revision) != revision:
                raise NotOffered("revision-not-found", repo, f"{revision!r:.100} is not UTF-8")
            path += f"/revision/{quote(revision, safe='')}"
        return document(self.get(path, list(query.items()), repo), repo)

    def get(self, path: str, query: list[tuple[str, str]], where: str) -> Any:  # Any: JSON
        """One JSON document. Raises NotOffered or Unreachable."""
        url = self._endpoint + path + (f"?{urlencode(query)}" if query else "")
        return _json(self._policy.with_retries(lambda: self._request(url, where), where), where)

    def listing(self, query: list[tuple[str, str]], pages: int | None = None) -> Iterator[ApiDocument]:
        """The models of a listing, page by page. pages: stop after so many; None reads to its end.

        Raises NotOffered or Unreachable.
        """
        where = bare(f"{self._endpoint}/api/models")
        url: str | None = f"{self._endpoint}/api/models?{urlencode(query)}"
        for _ in range(pages or MAX_PAGES):
            reply = self._page(str(url), where)
            entries = _json(reply, where)
            if not isinstance(entries, list):
                raise NotTheHubs(
                    "network",
                    where,
                    f"not an answer of the Hub: a {type(entries).__name__}, expected a list",
                )
            for entry in entries:
                yield document(entry, where)
            url = self._next(reply, where, is_empty=not entries)
            if url is None:
                return
        if pages is None:
            raise NotTheHubs("network", where, f"goes on after {MAX_PAGES:,} pages")

    def _page(self, url: str, where: str) -> Reply:
        # A person waits for a listing: if the server asks for a wait of hours, give up.
        longest_s = self._settings.retry_policy.longest_wait_s
        return self._policy.with_retries(lambda: self._request(url, where), where, longest_s=longest_s)

    def _request(self, url: str, where: str) -> Reply:
        return self._small.get(url, where, API_CAP_BYTES)

    def _next(self, reply: Reply, where: str, *, is_empty: bool) -> str | None:
        """The URL of the next page, which must be the Hub's: the token is sent along. Raises NotTheHubs."""
        link = httpx2.Response(200, headers=reply.headers).links.get("next", {}).get("url")
        if not link:
            return None
        url = joined_url(reply.url, link)
        if not self._small.is_hubs(url) or not self._small.is_hubs(reply.url):
            raise NotTheHubs(
                "network", where, f"its next page is {bare(url)[:200]}, expected one of the same host"
            )
        if is_empty or url == reply.url:
            raise NotTheHubs(
                "network",
                where,
                "names itself, or a page after an empty one, as its next page: it has no end",
            )
        return url


def _json(reply: Reply, where: str) -> Any:  # Any: JSON
    try:
        return parse_json(reply.body, "bad-header", where)
    except BrokenFile as error:
        raise NotTheHubs("network", where, f"not an answer of the Hub: {error.problem}") from error


def valid_id(repo: str) -> str:
    """A valid model id, which is safe in a URL. Raises NotOffered."""
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        translate(error, repo)
    return repo
