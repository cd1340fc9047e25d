"""A glance at models that were surveyed before: where their commit has not moved, nothing is to be done.

One request each, whose answer is a hundred bytes; or where many of one author are asked about, a page of
the Hub's listing for all of them. What has moved is looked at closely by the plan.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

from survey.errors import SurveyError
from survey.hub.throttle import Throttle
from survey.records.settings import Settings
from survey.records.target import ModelRef

# A page of the listing holds an author's other repositories, too: worth it from so many on.
LISTING_FROM = 5


def glance(model: ModelRef, listed: Mapping[str, str], settings: Settings, pace: Throttle) -> tuple[str, str]:
    """The repository's name now and its commit. listed: commits that are known already.

    Raises NotOffered or Unreachable.
    """
    from survey.hub.api import commit_of

    if model.revision is None and model.repo in listed:
        return model.repo, listed[model.repo]
    return commit_of(model.repo, model.revision, settings, pace)


def commits_listed(
    models: Sequence[ModelRef], known: frozenset[str], settings: Settings, pace: Throttle, pool: Executor
) -> dict[str, str]:
    """Commits of the default branches of authors of whom many known models are asked about."""
    from survey.hub.api import commits_of

    by_author: dict[str, set[str]] = defaultdict(set)
    for model in models:
        if model.folder is None and model.revision is None and model.repo in known and "/" in model.repo:
            by_author[model.repo.partition("/")[0]].add(model.repo)
    many = {author: frozenset(repos) for author, repos in by_author.items() if len(repos) >= LISTING_FROM}

    def ask(author: str) -> dict[str, str]:
        try:
            return commits_of(author, many[author], len(many[author]) // LISTING_FROM, settings, pace)
        except SurveyError:
            return {}  # each is asked about by itself

    return {repo: sha for found in pool.map(ask, many) for repo, sha in found.items()}
