"""Current commits of surveyed models, by light requests: a model whose commit has not changed needs no plan.

One request of a hundred bytes for each model; or, for many models of one author, a page of the Hub's
listing for all of them. The planner opens only models with a new commit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import NamedTuple

from survey.errors import SurveyError
from survey.hub.throttle import Throttle
from survey.records.settings import Settings
from survey.records.target import ModelRef, name_with_part

# A page of the listing also holds an author's other repositories: it pays from this many models on.
LISTING_FROM = 5


class CurrentCommit(NamedTuple):
    """The current commit of a model. repo: its current name, with the part that is meant."""

    repo: str
    sha: str


@dataclass(frozen=True, slots=True)
class KnownCommits:
    """The commits from the Hub's listing; makes one light request for any other surveyed model.

    repos: those with rows in the catalog. listed: repository -> commit of its default branch, from
    the Hub's listing.
    """

    repos: frozenset[str]
    listed: Mapping[str, str]
    settings: Settings
    throttle: Throttle

    def of(self, model: ModelRef) -> CurrentCommit | None:
        """The current commit of a model; None for a folder or a model that was never surveyed.

        Raises NotOffered or Unreachable.
        """
        if model.name not in self.repos or model.folder is not None:
            return None
        if model.revision is None and model.repo in self.listed:
            return CurrentCommit(model.name, self.listed[model.repo])
        from survey.hub.repositories import commit_of  # here: a list of folders needs no Hub client

        repo, sha = commit_of(model.repo, model.revision, self.settings, self.throttle)
        return CurrentCommit(name_with_part(repo, model.part), sha)


def read_known_commits(
    models: Sequence[ModelRef],
    repos: frozenset[str],
    settings: Settings,
    throttle: Throttle,
    pool: Executor,
) -> KnownCommits:
    """List the default branches of authors of whom the list names many surveyed models."""
    from survey.hub.repositories import commits_of

    by_author: dict[str, set[str]] = defaultdict(set)
    for model in models:
        if model.folder is None and model.revision is None and model.repo in repos and "/" in model.repo:
            by_author[model.repo.partition("/")[0]].add(model.repo)
    to_list = {author: frozenset(repos) for author, repos in by_author.items() if len(repos) >= LISTING_FROM}

    def read_listing(author: str) -> dict[str, str]:
        try:
            pages = len(to_list[author]) // LISTING_FROM
            return commits_of(author, to_list[author], pages, settings, throttle)
        except SurveyError:
            return {}  # a request for each model instead

    listed = {repo: sha for commits in pool.map(read_listing, to_list) for repo, sha in commits.items()}
    return KnownCommits(repos, listed, settings, throttle)
