"""The Hub's API: commits, files, revisions and listings of models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import httpx2
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # public, but exported lazily
    validate_repo_id,
)

from survey.checkpoints.checkpoint import Card
from survey.errors import BrokenFile, NotTheHubs, storable
from survey.formats.bounded_json import parse_json
from survey.hub.access import joined_url, token_for
from survey.hub.checkpoint import HubCheckpoint
from survey.hub.documents import ApiDocument, document, is_commit, listed_files, model_name
from survey.hub.errors import translate
from survey.hub.requests import RequestPolicy
from survey.hub.small_requests import Reply, SmallRequests, bare
from survey.hub.throttle import Throttle
from survey.records.settings import Settings

API_CAP_BYTES = 32 << 20  # of a document; the largest known, of a repository of 50,000 files, has 12 MB
MAX_PAGES = 1000  # of a listing


def resolve(
    repo: str,
    revision: str | None,
    settings: Settings,
    throttle: Throttle | None = None,
    part: str | None = None,
) -> HubCheckpoint:
    """The checkpoint that a branch, tag or commit stands for now: one request.

    part: the folder or file of it that is meant. Raises NotOffered or Unreachable.
    """
    policy = RequestPolicy(settings, throttle)
    info = _Api(settings, policy).model(repo, revision, blobs="true")
    name, sha = model_name(info, repo), _commit(info, repo)
    files = listed_files(info.get("siblings", list, None))
    return HubCheckpoint(name, revision or "main", sha, files, settings, policy, _card(info), part)


def commit_of(
    repo: str, revision: str | None, settings: Settings, throttle: Throttle | None = None
) -> tuple[str, str]:
    """The current name of a repository and the commit of a revision: one small request.

    Raises NotOffered or Unreachable.
    """
    info = _Api(settings, RequestPolicy(settings, throttle)).model(repo, revision, expand="sha")
    return model_name(info, repo), _commit(info, repo)


def commits_of(
    author: str, repos: frozenset[str], requests: int, settings: Settings, throttle: Throttle
) -> dict[str, str]:
    """The commits of an author's repositories, from the first `requests` pages of the Hub's listing.

    Repositories on later pages are left out. Raises NotOffered or Unreachable.
    """
    policy = RequestPolicy(settings, throttle)
    query = [("author", author), ("sort", "downloads"), ("expand", "sha"), ("expand", "disabled")]
    commits: dict[str, str] = {}
    for info in _Api(settings, policy).listing(query, pages=max(requests, 1)):
        name, sha = info.raw.get("id"), info.raw.get("sha")
        if name in repos and is_commit(sha) and not info.raw.get("disabled"):
            commits[name] = sha
        if len(commits) == len(repos):
            break
    return commits


def refs(repo: str, settings: Settings, throttle: Throttle | None = None) -> dict[str, str]:
    """All branches and tags of a repository, sorted, with their commits.

    Raises NotOffered or Unreachable.
    """
    api = _Api(settings, RequestPolicy(settings, throttle))
    info = document(api.get(f"/api/models/{_checked(repo)}/refs", [], repo), repo)
    # If a branch and a tag share a name, the Hub means the branch.
    commits: dict[str, str] = {}
    for kind in ("tags", "branches"):
        for entry in info.get(kind, list):
            ref = document(entry, f"{repo}: {kind}")
            if not is_commit(sha := ref.get("targetCommit", str)):
                raise NotTheHubs(
                    "network", repo, f"{kind} name the commit {sha[:100]!r}, expected 40 hex digits"
                )
            commits[storable(ref.get("name", str))] = sha
    return dict(sorted(commits.items()))


@dataclass(frozen=True, slots=True)
class Listed:
    """A model in the Hub's listing: strings from outside, of which only the types are checked.

    parameters: their number for each dtype; empty if the Hub has not counted them.
    """

    repo: str
    downloads: int
    gated: bool
    parameters: Mapping[str, int]
    model_type: str | None
    base_model: str | None


def listed_models(author: str | None, settings: Settings, throttle: Throttle) -> Iterator[Listed]:
    """Text-generation models with safetensors, the most downloaded first, requested page by page.

    Raises NotOffered or Unreachable.
    """
    query = [("author", author)] if author else []
    query += [("filter", "safetensors"), ("pipeline_tag", "text-generation"), ("sort", "downloads")]
    query += [("expand", name) for name in ("downloads", "gated", "safetensors", "config", "cardData")]
    for info in _Api(settings, RequestPolicy(settings, throttle)).listing(query):
        yield _listed(info)


def _listed(info: ApiDocument) -> Listed:
    config, counted = info.raw.get("config"), info.raw.get("safetensors")
    kind = config.get("model_type") if isinstance(config, dict) else None
    counts = counted.get("parameters") if isinstance(counted, dict) else None
    return Listed(
        repo=storable(info.get("id", str)),
        downloads=_count(info.raw.get("downloads")) or 0,
        gated=bool(info.raw.get("gated")),
        parameters={
            storable(dtype): number
            for dtype, stated in (counts.items() if isinstance(counts, dict) else ())
            if (number := _count(stated)) is not None
        },
        model_type=storable(kind) if isinstance(kind, str) else None,
        base_model=_base_model(info),
    )


def _count(value: Any) -> int | None:  # Any: JSON
    """A plausible count; None for anything else."""
    return value if type(value) is int and 0 <= value < 1 << 62 else None


def stored_token(settings: Settings) -> str | None:
    """The token that may be sent to the endpoint: stated, or stored by `hf auth login`. Raises NotOffered."""
    return token_for(settings)


class _Api:
    """Requests to the Hub's API; responses are bounded JSON."""

    def __init__(self, settings: Settings, policy: RequestPolicy) -> None:
        self._settings, self._policy = settings, policy
        self._small = SmallRequests(settings, policy)
        self._endpoint = settings.endpoint.rstrip("/")

    def model(self, repo: str, revision: str | None, **query: str) -> ApiDocument:
        """The document of a model at a revision. Raises NotOffered or Unreachable."""
        path = f"/api/models/{_checked(repo)}"
        if revision is not None:
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


def _checked(repo: str) -> str:
    """A valid model id, which is safe in a URL. Raises NotOffered."""
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        translate(error, repo)
    return repo


def _commit(info: ApiDocument, repo: str) -> str:
    sha = info.get("sha", str)
    if not is_commit(sha):
        raise NotTheHubs("network", repo, f"the Hub names the commit {sha[:100]!r}, expected 40 hex digits")
    return sha


def _base_model(info: ApiDocument) -> str | None:
    data = info.raw.get("cardData")
    base = data.get("base_model") if isinstance(data, dict) else None
    first = base[0] if isinstance(base, list) and base else base
    return storable(first) if isinstance(first, str) else None


def _card(info: ApiDocument) -> Card:
    library, tags = info.raw.get("library_name"), info.raw.get("tags")
    return Card(
        base_model=_base_model(info),
        library_name=storable(library) if isinstance(library, str) else None,
        tags=tuple(storable(tag) for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
        last_modified=_time(info),
    )


def _time(info: ApiDocument) -> datetime | None:
    stated = info.get("lastModified", str, None)
    if stated is None:
        return None
    try:
        return datetime.fromisoformat(stated).astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError) as error:
        raise NotTheHubs(
            "network", info.where, f"lastModified is {stated[:100]!r}, expected a time"
        ) from error
