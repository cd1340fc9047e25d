"""Repositories on the Hub: their commits, files and revisions."""

from __future__ import annotations

from datetime import datetime

from survey.checkpoints.checkpoint import Card
from survey.errors import NotTheHubs, storable
from survey.hub.access import token_for
from survey.hub.api_client import ApiClient, valid_id
from survey.hub.checkpoint import HubCheckpoint
from survey.hub.documents import (
    ApiDocument,
    content_ids,
    document,
    is_commit,
    listed_files,
    model_name,
    stated_base_model,
)
from survey.hub.request_policy import RequestPolicy
from survey.hub.throttle import Throttle
from survey.hub.transport.origins import hub_name
from survey.process.clock import in_utc
from survey.records.settings import Settings


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
    info = ApiClient(settings, policy).model(repo, revision, blobs="true")
    name, sha = model_name(info, repo), _commit(info, repo)
    siblings = info.get("siblings", list, None)
    ids = content_ids(siblings, hub_name(settings.endpoint), name)
    files, card = listed_files(siblings), _card(info)
    return HubCheckpoint(name, revision or "main", sha, files, settings, policy, card, part, content_ids=ids)


def commit_of(
    repo: str, revision: str | None, settings: Settings, throttle: Throttle | None = None
) -> tuple[str, str]:
    """The current name of a repository and the commit of a revision: one small request.

    Raises NotOffered or Unreachable.
    """
    info = ApiClient(settings, RequestPolicy(settings, throttle)).model(repo, revision, expand="sha")
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
    for info in ApiClient(settings, policy).listing(query, pages=max(requests, 1)):
        name, sha = info.raw.get("id"), info.raw.get("sha")
        if isinstance(name, str) and name in repos and is_commit(sha) and not info.raw.get("disabled"):
            commits[name] = sha
        if len(commits) == len(repos):
            break
    return commits


def refs(repo: str, settings: Settings, throttle: Throttle | None = None) -> dict[str, str]:
    """All branches and tags of a repository, sorted, with their commits.

    Raises NotOffered or Unreachable.
    """
    api = ApiClient(settings, RequestPolicy(settings, throttle))
    info = document(api.get(f"/api/models/{valid_id(repo)}/refs", [], repo), repo)
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


def stored_token(settings: Settings) -> str | None:
    """The token that may be sent to the endpoint: stated, or stored by `hf auth login`. Raises NotOffered."""
    return token_for(settings)


def _commit(info: ApiDocument, repo: str) -> str:
    sha = info.get("sha", str)
    if not is_commit(sha):
        raise NotTheHubs("network", repo, f"the Hub names the commit {sha[:100]!r}, expected 40 hex digits")
    return sha


def _card(info: ApiDocument) -> Card:
    library, tags = info.raw.get("library_name"), info.raw.get("tags")
    return Card(
        base_model=stated_base_model(info),
        library_name=storable(library) if isinstance(library, str) else None,
        tags=tuple(storable(tag) for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
        last_modified=_time(info),
    )


def _time(info: ApiDocument) -> datetime | None:
    stated = info.get("lastModified", str, None)
    if stated is None:
        return None
    try:
        return in_utc(datetime.fromisoformat(stated))
    except (ValueError, OverflowError) as error:
        raise NotTheHubs(
            "network", info.where, f"lastModified is {stated[:100]!r}, expected a time"
        ) from error
