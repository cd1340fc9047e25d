"""Answer the requests of the Hub's API: check what the caller may see, then send a document or a redirect."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import Protocol
from urllib.parse import parse_qs, quote, urlencode

from jobs.demo.hub import documents
from jobs.demo.hub.link import Request
from jobs.demo.hub.replies import HubReply, Span, json_reply, memory
from jobs.demo.hub.repos import Commit, Repo, StoredFile

_SHA = re.compile(r"[0-9a-f]{40}")
_AFTER_REPO_ID = {"revision", "tree", "refs", "paths-info", "auth-check", "resolve"}
_WINDOW_S = 300
_EXPANDED_PAGE_SIZE = 50
_NO_PAGE = "Sorry, we can't find the page you are looking for."


class Refused(Exception):
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


class Shelf(Protocol):
    """The repositories and users that the endpoints serve."""

    endpoint: str
    users: Mapping[str, frozenset[str]]
    repos: dict[str, Repo]
    page_size: int

    def stored(self, repo: Repo, commit: Commit) -> Mapping[str, StoredFile]:
        """The files of a commit by path."""

    def signed_url(self, repo: Repo, commit: Commit, path: str) -> str:
        """The CDN's address of a large file, good for a while."""


class Api:
    """Answers the Hub's requests and counts them."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._used = {"api": 0, "resolvers": 0}
        self._lock = Lock()
        self._started = time.monotonic()

    def answer(self, request: Request) -> HubReply:
        resource = "resolvers" if "resolve" in request.segments[:3] else "api"
        try:
            reply = self._route(request, self._granted(request))
        except Refused as refusal:
            reply = refusal.reply()
        return reply.with_headers(self._rate_limit(resource, request.authorization is not None))

    def _granted(self, request: Request) -> frozenset[str] | None:
        """The repositories open to the caller; None for an anonymous one."""
        if request.authorization is None:
            return None
        scheme, _, token = request.authorization.partition(" ")
        if scheme != "Bearer" or token not in self._shelf.users:
            raise Refused(401, "Invalid credentials in Authorization header")
        return self._shelf.users[token]

    def _route(self, request: Request, granted: frozenset[str] | None) -> HubReply:
        match request.segments:
            case ("api", "whoami-v2"):
                return self._whoami(granted)
            case ("api", "models"):
                return self._listing(request, granted)
            case ("api", "models", *rest):
                repo, after_id = self._open_repo(rest, granted)
                return self._model(request, repo, after_id, granted)
            case ("api", "resolve-cache", "models", *rest):
                repo, after_id = self._open_repo(rest, granted)
                return self._file(repo, after_id, granted, self._small_file)
            case segments:
                repo, after_id = self._open_repo(segments, granted)
                if after_id[:1] == ("resolve",):
                    return self._file(repo, after_id[1:], granted, self._redirect)
        raise Refused(404, _NO_PAGE)

    def _model(
        self, request: Request, repo: Repo, after_id: Sequence[str], granted: frozenset[str] | None
    ) -> HubReply:
        query = request.query
        match after_id:
            case ():
                return self._info(repo, repo.default_commit(), query)
            case ("revision", revision):
                return self._info(repo, _commit(repo, revision), query)
            case ("refs",):
                return json_reply(documents.refs_document(repo, query))
            case ("tree", revision, *folder):
                return self._tree(request, repo, revision, "/".join(folder))
            case ("paths-info", revision):
                return self._paths_info(request, repo, revision)
            case ("auth-check",):
                _check_gate(repo, granted)
                return json_reply({})
        raise Refused(404, _NO_PAGE)

    def _info(self, repo: Repo, commit: Commit, query: documents.QueryFields) -> HubReply:
        files = self._shelf.stored(repo, commit)
        return json_reply(documents.model_document(repo, commit, files, query))

    def _open_repo(
        self, segments: Sequence[str], granted: frozenset[str] | None
    ) -> tuple[Repo, tuple[str, ...]]:
        """The repository that a path begins with, and the rest; a legacy id has no slash."""
        legacy = len(segments) < 2 or segments[1] in _AFTER_REPO_ID or _SHA.fullmatch(segments[1])
        width = 1 if legacy else 2
        repo = self._shelf.repos.get("/".join(segments[:width]))
        if repo is None or (repo.private and repo.id not in (granted or ())):
            if granted is None:
                raise Refused(401, "Invalid username or password.", "RepoNotFound")
            raise Refused(404, "Repository not found", "RepoNotFound")
        if repo.disabled:
            raise Refused(403, "Access to this resource is disabled.")
        return repo, tuple(segments[width:])

    def _file(
        self,
        repo: Repo,
        segments: Sequence[str],
        granted: frozenset[str] | None,
        answer: Callable[[Repo, Commit, StoredFile], HubReply],
    ) -> HubReply:
        """Answer for the file that `revision/path/of/the/file` names, if the caller may read it."""
        _check_gate(repo, granted)
        revision, path = "".join(segments[:1]), "/".join(segments[1:])
        commit = _commit(repo, revision)
        file = self._shelf.stored(repo, commit).get(path)
        if file is None:
            raise Refused(404, "Entry not found", "EntryNotFound", commit.sha)
        return answer(repo, commit, file)

    def _redirect(self, repo: Repo, commit: Commit, file: StoredFile) -> HubReply:
        small = f"/api/resolve-cache/models/{repo.id}/{commit.sha}/{quote(file.path)}"
        is_large = file.pointer_bytes is not None
        location = self._shelf.signed_url(repo, commit, file.path) if is_large else small
        headers = {
            "Content-Type": "text/plain; charset=utf-8",
            "Location": location,
            "X-Repo-Commit": commit.sha,
            "X-Linked-Size": str(file.size),
            "X-Linked-Etag": file.etag,
            "ETag": file.etag,
            "Accept-Ranges": "bytes",
        }
        return HubReply(302 if is_large else 307, headers, memory(f"Redirecting to {location}".encode()))

    def _small_file(self, _repo: Repo, commit: Commit, file: StoredFile) -> HubReply:
        return file_reply(file, "text/plain; charset=utf-8").with_headers({"X-Repo-Commit": commit.sha})

    def _tree(self, request: Request, repo: Repo, revision: str, folder: str) -> HubReply:
        commit = _commit(repo, revision)
        entries = documents.tree_documents(
            repo, commit, self._shelf.stored(repo, commit), folder, request.query
        )
        if folder and not entries:
            raise Refused(404, "Entry not found", "EntryNotFound", commit.sha)
        limit = _EXPANDED_PAGE_SIZE if documents.flag(request.query, "expand") else self._shelf.page_size
        return self._page(request, entries, min(limit, self._shelf.page_size))

    def _paths_info(self, request: Request, repo: Repo, revision: str) -> HubReply:
        commit = _commit(repo, revision)
        files = self._shelf.stored(repo, commit)
        form = parse_qs(request.body.decode("latin-1"))
        known = documents.tree_documents(repo, commit, files, "", {"recursive": ["true"]})
        paths = {entry["path"] for entry in known}.intersection(form.get("paths", []))
        expand = documents.flag(form, "expand")
        return json_reply(
            [documents.path_document(repo, commit, files, path, expand) for path in sorted(paths)]
        )

    def _listing(self, request: Request, granted: frozenset[str] | None) -> HubReply:
        visible = [
            repo
            for repo in list(self._shelf.repos.values())
            if not repo.private or repo.id in (granted or ())
        ]
        chosen = documents.selected_models(visible, request.query)
        limit = _whole_number(request.query, "limit", self._shelf.page_size)
        entries = [
            documents.listed_document(repo, self._shelf.stored(repo, repo.default_commit()), request.query)
            for repo in chosen
        ]
        return self._page(request, entries, max(1, min(limit, self._shelf.page_size)))

    def _page(self, request: Request, entries: Sequence[object], limit: int) -> HubReply:
        start = _whole_number(request.query, "cursor", 0)
        reply = json_reply(entries[start : start + limit])
        if start + limit >= len(entries):
            return reply
        query = urlencode({**request.query, "cursor": [str(start + limit)]}, doseq=True)
        return reply.with_headers({"Link": f'<{self._shelf.endpoint}{request.raw_path}?{query}>; rel="next"'})

    def _whoami(self, granted: frozenset[str] | None) -> HubReply:
        if granted is None:
            raise Refused(401, "Invalid username or password.")
        return json_reply({"type": "user", "name": "local-user", "fullname": "Local User", "orgs": []})

    def _rate_limit(self, resource: str, known_caller: bool) -> dict[str, str]:
        """The headers of the Hub's quotas, counted over all callers; they are never enforced."""
        quota = {"api": (500, 1000), "resolvers": (3000, 5000)}[resource][known_caller]
        with self._lock:
            self._used[resource] += 1
            left = max(quota - self._used[resource], 1)
        reset_s = _WINDOW_S - int(time.monotonic() - self._started) % _WINDOW_S
        return {
            "RateLimit": f'"{resource}";r={left};t={reset_s}',
            "RateLimit-Policy": f'"fixed window";"{resource}";q={quota};w={_WINDOW_S}',
        }


def _commit(repo: Repo, revision: str) -> Commit:
    commit = repo.commit_at(revision)
    if commit is None:
        raise Refused(404, "Invalid rev id", "RevisionNotFound")
    return commit


def _check_gate(repo: Repo, granted: frozenset[str] | None) -> None:
    if repo.gated and repo.id not in (granted or ()):
        message = f"Access to model {repo.id} is restricted."
        raise Refused(401 if granted is None else 403, message, "GatedRepo")


def file_reply(file: StoredFile, content_type: str) -> HubReply:
    headers = {"Content-Type": content_type, "ETag": file.etag, "Accept-Ranges": "bytes"}
    return HubReply(200, headers, (Span(file.source, 0, file.size),), is_file=True)


def _whole_number(query: Mapping[str, Sequence[str]], name: str, default: int) -> int:
    text = query.get(name, [str(default)])[-1]
    if re.fullmatch(r"[0-9]{1,9}", text) is None:
        raise Refused(400, f"{name} must be a whole number")
    return int(text)
