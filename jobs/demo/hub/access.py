"""What a caller of the local Hub may see: tokens, private and gated repositories, and the Hub's refusals."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from jobs.demo.hub.replies import HubReply, json_reply
from jobs.demo.hub.repos import Commit, Repo

_SHA = re.compile(r"[0-9a-f]{40}")
_AFTER_REPO_ID = {"revision", "tree", "refs", "paths-info", "auth-check", "resolve"}

Granted = frozenset[str] | None  # ids of the private and gated repositories open to a caller; None: anonymous


class HubError(Exception):
    """An error answer of the Hub; `code` becomes X-Error-Code."""

    def __init__(self, status: int, message: str, code: str | None = None, sha: str | None = None) -> None:
        super().__init__(status, message, code, sha)
        self.status, self.message, self.code, self.sha = status, message, code, sha

    def reply(self) -> HubReply:
        known = {
            "X-Error-Code": self.code,
            "X-Error-Message": self.message,
            "X-Repo-Commit": self.sha,
        }
        headers = {name: value for name, value in known.items() if value is not None}
        return replace(json_reply({"error": self.message}), status=self.status).with_headers(headers)


def granted_to(authorization: str | None, users: Mapping[str, frozenset[str]]) -> Granted:
    """The repositories open to the caller. Raises HubError for a token that no user has."""
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    if scheme != "Bearer" or token not in users:
        raise HubError(401, "Invalid credentials in Authorization header")
    return users[token]


def open_repo(
    segments: Sequence[str], repos: Mapping[str, Repo], granted: Granted
) -> tuple[Repo, tuple[str, ...]]:
    """The repository that a path begins with, and the rest; a legacy id has no slash.

    Raises HubError if there is none that the caller may see.
    """
    legacy = len(segments) < 2 or segments[1] in _AFTER_REPO_ID or _SHA.fullmatch(segments[1])
    width = 1 if legacy else 2
    repo = repos.get("/".join(segments[:width]))
    if repo is None or (repo.private and repo.id not in (granted or ())):
        if granted is None:
            raise HubError(401, "Invalid username or password.", "RepoNotFound")
        raise HubError(404, "Repository not found", "RepoNotFound")
    if repo.disabled:
        raise HubError(403, "Access to this resource is disabled.")
    return repo, tuple(segments[width:])


def commit_at(repo: Repo, revision: str) -> Commit:
    """The commit that a revision names. Raises HubError if there is none."""
    commit = repo.commit_at(revision)
    if commit is None:
        raise HubError(404, "Invalid rev id", "RevisionNotFound")
    return commit


def check_gate(repo: Repo, granted: Granted) -> None:
    """Raises HubError if the caller has not passed the repository's gate."""
    if repo.gated and repo.id not in (granted or ()):
        message = f"Access to model {repo.id} is restricted."
        raise HubError(401 if granted is None else 403, message, "GatedRepo")
