"""What the Hub knows of models: commits, files, revisions, listings; through huggingface_hub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any

import httpx2
from huggingface_hub import HfApi, ModelInfo, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from survey import version
from survey.checkpoint import Card
from survey.errors import Unreachable, storable
from survey.hub import LIBRARY, HubCheckpoint
from survey.hub_http import TIMEOUT, Manners, noted_now
from survey.pace import Pace
from survey.target import Settings

_SHA = re.compile(r"[0-9a-f]{40}")
_ELSEWHERE = re.compile(r"(?:^|/)\.{0,2}(?:/|$)|\\|[\x00-\x1f]")  # ``, `.`, `..` between slashes
_HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?", re.ASCII)


def resolve(
    repo: str,
    revision: str | None,
    settings: Settings,
    pace: Pace | None = None,
    part: str | None = None,
) -> HubCheckpoint:
    """The commit that a branch, tag or commit stands for now, and its files: one request.

    part: the folder or file of it that is meant. Raises NotOffered or Unreachable.
    """
    api, manners = _api(settings), Manners(settings, pace)
    info = manners.patiently(lambda: _model_info(api, repo, revision, files_metadata=True), repo)
    if not _SHA.fullmatch(info.sha or ""):
        raise Unreachable("network", repo, f"the Hub names the commit {info.sha!r}, expected 40 hex digits")
    assert info.sha is not None
    # A renamed repository answers under its new name; that is the one to know it by.
    name = info.id if isinstance(info.id, str) and _HUB_ID.fullmatch(info.id) else repo
    files = _files(info)
    return HubCheckpoint(name, revision or "main", info.sha, files, settings, manners, _card(info), part)


def _files(info: ModelInfo) -> dict[str, int]:
    """Names and sizes in bytes; a name that a URL could lead elsewhere by is left out."""
    return {
        storable(item.rfilename): item.size if type(item.size) is int and item.size >= 0 else 0
        for item in info.siblings or []
        if isinstance(item.rfilename, str) and not _ELSEWHERE.search(item.rfilename)
    }


def _model_info(api: HfApi, repo: str, revision: str | None, **wanted: Any) -> ModelInfo:
    try:
        timeout = noted.timeout if (noted := noted_now.get()) else TIMEOUT
        return api.model_info(
            repo,
            revision=revision,
            timeout=timeout,  # type: ignore[arg-type]  # httpx2 takes both
            **wanted,  # Any: the library's own words for what to answer
        )
    except (HfHubHTTPError, HFValidationError):
        raise
    except (KeyError, TypeError, ValueError) as error:
        # A proxy or a login page answers 200 to everything.
        problem = f"what answers is not the Hub's: {type(error).__name__}: {error}"
        raise Unreachable("network", repo, problem) from error


def commit_of(
    repo: str, revision: str | None, settings: Settings, pace: Pace | None = None
) -> tuple[str, str]:
    """The name that a repository has now, and the commit of a revision: one request, and a small answer.

    Raises NotOffered or Unreachable.
    """
    api, manners = _api(settings), Manners(settings, pace)
    info = manners.patiently(lambda: _model_info(api, repo, revision, expand=["sha"]), repo)
    return str(info.id), str(info.sha)


def commits_of(
    author: str, repos: frozenset[str], requests: int, settings: Settings, pace: Pace
) -> dict[str, str]:
    """The commits of an author's repositories, read off the Hub's listing in about so many requests.

    Those that stand further down are left out. Raises NotOffered or Unreachable.
    """
    where = f"{settings.endpoint}/api/models"
    entries = iter(_api(settings).list_models(author=author, sort="downloads", expand=["sha", "disabled"]))
    manners = Manners(replace(settings, patience=replace(settings.patience, tries=1)), pace)
    found: dict[str, str] = {}
    while len(found) < len(repos) and manners.counter.total.requests <= requests:
        info = manners.patiently(lambda: _next_entry(entries, settings), where)
        if info is None:
            break
        if info.id in repos and not info.disabled:
            found[info.id] = str(info.sha)
    return found


def refs(repo: str, settings: Settings, pace: Pace | None = None) -> dict[str, str]:
    """All branches and tags of a repository, sorted, with their commits.

    Raises NotOffered or Unreachable.
    """
    api = _api(settings)
    found = Manners(settings, pace).patiently(lambda: api.list_repo_refs(repo), repo)
    # Where a branch and a tag share a name, the Hub means the branch.
    commits = {ref.name: ref.target_commit for ref in (*found.tags, *found.branches)}
    return dict(sorted(commits.items()))


@dataclass(frozen=True, slots=True)
class Listed:
    """A model as the Hub's listing shows it: strings from outside, of which only the types are checked.

    parameters: how many of each dtype; empty where the Hub has not counted them.
    """

    repo: str
    downloads: int
    gated: bool
    parameters: Mapping[str, int]
    model_type: str | None
    base_model: str | None


def listed(author: str | None, settings: Settings, pace: Pace) -> Iterator[Listed]:
    """Text-generation models with safetensors, the most downloaded first, asked for page by page.

    Raises NotOffered or Unreachable.
    """
    where = f"{settings.endpoint}/api/models"
    entries = iter(
        _api(settings).list_models(
            author=author,
            filter="safetensors",
            pipeline_tag="text-generation",
            sort="downloads",
            expand=["downloads", "gated", "safetensors", "config", "cardData"],
        )
    )
    # The library itself asks a busy server again; once it gives up, the listing cannot go on.
    once = replace(settings, patience=replace(settings.patience, tries=1))
    manners = Manners(once, pace)
    while info := manners.patiently(lambda: _next_entry(entries, settings), where):
        yield _listed(info)


def _next_entry(entries: Iterator[ModelInfo], settings: Settings) -> ModelInfo | None:
    noted = noted_now.get()
    if noted is not None:
        noted.longest_wait_s = settings.patience.longest_wait_s
    try:
        return next(entries, None)
    except (HfHubHTTPError, HFValidationError):
        raise
    except (AttributeError, KeyError, TypeError, ValueError, httpx2.InvalidURL) as error:
        problem = f"what answers is not the Hub's: {type(error).__name__}: {error}"
        raise Unreachable("network", f"{settings.endpoint}/api/models", problem) from error


def _listed(info: ModelInfo) -> Listed:
    config = info.config if isinstance(info.config, dict) else {}
    kind = config.get("model_type")
    counts = info.safetensors.parameters if info.safetensors else {}
    return Listed(
        repo=str(info.id),
        downloads=info.downloads if isinstance(info.downloads, int) else 0,
        gated=bool(info.gated),
        parameters={
            str(dtype): count
            for dtype, count in (counts.items() if isinstance(counts, dict) else ())
            if isinstance(count, int) and count >= 0
        },
        model_type=kind if isinstance(kind, str) else None,
        base_model=_card(info).base_model,
    )


def stored_token() -> str | None:
    """The token that `hf auth login` stored on this machine."""
    return get_token()


def _api(settings: Settings) -> HfApi:
    return HfApi(
        endpoint=settings.endpoint,
        token=settings.token,
        library_name=LIBRARY,
        library_version=version(),
    )


def _card(info: ModelInfo) -> Card:
    base = getattr(info.card_data, "base_model", None)
    first = base[0] if isinstance(base, list) and base else base
    changed = info.last_modified
    tags = info.tags if isinstance(info.tags, list) else ()
    return Card(
        base_model=storable(first) if isinstance(first, str) else None,
        library_name=info.library_name if isinstance(info.library_name, str) else None,
        tags=tuple(storable(tag) for tag in tags if isinstance(tag, str)),
        last_modified=changed.astimezone(UTC).replace(tzinfo=None) if changed else None,
    )
