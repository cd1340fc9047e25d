"""Answer the requests of the Hub's API: a document, a file, or a redirect to the CDN."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol
from urllib.parse import parse_qs, quote, urlencode

from jobs.demo.hub import documents
from jobs.demo.hub.access import Granted, HubError, check_gate, commit_at, granted_to, open_repo
from jobs.demo.hub.quota import Quota
from jobs.demo.hub.replies import HubReply, Span, json_reply, memory
from jobs.demo.hub.repos import Commit, Repo, StoredFile
from jobs.demo.hub.request import Request
from jobs.demo.hub.xet import Xet

_EXPANDED_PAGE_SIZE = 50
_NO_PAGE = "Sorry, we can't find the page you are looking for."


class HubContents(Protocol):
    """The repositories and users that the endpoints serve."""

    endpoint: str
    users: Mapping[str, frozenset[str]]
    repos: dict[str, Repo]
    page_size: int
    xet: Xet
    cdn_origin: str

    def stored(self, repo: Repo, commit: Commit) -> Mapping[str, StoredFile]:
        """The files of a commit by path."""

    def signed_url(self, repo: Repo, commit: Commit, path: str) -> str:
        """The CDN's address of a large file, good for a while."""


class Api:
    """Answers the Hub's requests and counts them."""

    def __init__(self, contents: HubContents) -> None:
        self._contents = contents
        self._quota = Quota()

    def answer(self, request: Request) -> HubReply:
        kind = "resolvers" if "resolve" in request.segments[:3] else "api"
        try:
            reply = self._route(request, granted_to(request.authorization, self._contents.users))
        except HubError as error:
            reply = error.reply()
        return reply.with_headers(self._quota.headers(kind, request.authorization is not None))

    def _route(self, request: Request, granted: Granted) -> HubReply:
        match request.segments:
            case ("api", "whoami-v2"):
                return self._whoami(granted)
            case ("api", "models"):
                return self._listing(request, granted)
            case ("api", "models", *rest):
                repo, after_id = open_repo(rest, self._contents.repos, granted)
                return self._model(request, repo, after_id, granted)
            case ("api", "resolve-cache", "models", *rest):
                repo, after_id = open_repo(rest, self._contents.repos, granted)
                return self._file(repo, after_id, granted, self._small_file)
            case segments:
                repo, after_id = open_repo(segments, self._contents.repos, granted)
                if after_id[:1] == ("resolve",):
                    return self._file(repo, after_id[1:], granted, self._redirect)
        raise HubError(404, _NO_PAGE)

    def _model(self, request: Request, repo: Repo, after_id: Sequence[str], granted: Granted) -> HubReply:
        query = request.query
        match after_id:
            case ():
                return self._info(repo, repo.default_commit(), query)
            case ("revision", revision):
                return self._info(repo, commit_at(repo, revision), query)
            case ("refs",):
                return json_reply(documents.refs_document(repo, query))
            case ("tree", revision, *folder):
                return self._tree(request, repo, revision, "/".join(folder))
            case ("paths-info", revision):
                return self._paths_info(request, repo, revision)
            case ("xet-read-token", revision):
                check_gate(repo, granted)
                commit_at(repo, revision)
                return self._xet_token()
            case ("auth-check",):
                check_gate(repo, granted)
                return json_reply({})
        raise HubError(404, _NO_PAGE)

    def _info(self, repo: Repo, commit: Commit, query: documents.QueryFields) -> HubReply:
        files = self._contents.stored(repo, commit)
        return json_reply(documents.model_document(repo, commit, files, query))

    def _file(
        self,
        repo: Repo,
        segments: Sequence[str],
        granted: Granted,
        answer: Callable[[Repo, Commit, StoredFile], HubReply],
    ) -> HubReply:
        """Answer for the file that `revision/path/of/the/file` names, if the caller may read it."""
        check_gate(repo, granted)
        revision, path = "".join(segments[:1]), "/".join(segments[1:])
        commit = commit_at(repo, revision)
        file = self._contents.stored(repo, commit).get(path)
        if file is None:
            raise HubError(404, "Entry not found", "EntryNotFound", commit.sha)
        return answer(repo, commit, file)

    def _redirect(self, repo: Repo, commit: Commit, file: StoredFile) -> HubReply:
        small = f"/api/resolve-cache/models/{repo.id}/{commit.sha}/{quote(file.path)}"
        is_large = file.pointer_bytes is not None
        location = self._contents.signed_url(repo, commit, file.path) if is_large else small
        headers = {
            "Content-Type": "text/plain; charset=utf-8",
            "Location": location,
            "X-Repo-Commit": commit.sha,
            "X-Linked-Size": str(file.size),
            "X-Linked-Etag": file.etag,
            "ETag": file.etag,
            "Accept-Ranges": "bytes",
        }
        # Without the route to a token (X-Xet-Refresh-Route) the Hub's own client reads from the CDN.
        if (xet_hash := self._contents.xet.hash_of(file)) is not None:
            headers["X-Xet-Hash"] = xet_hash
        return HubReply(302 if is_large else 307, headers, memory(f"Redirecting to {location}".encode()))

    def _small_file(self, _repo: Repo, commit: Commit, file: StoredFile) -> HubReply:
        return file_reply(file, "text/plain; charset=utf-8").with_headers({"X-Repo-Commit": commit.sha})

    def _xet_token(self) -> HubReply:
        xet, url = self._contents.xet, self._contents.cdn_origin
        if not xet.offered:
            raise HubError(404, _NO_PAGE)
        return json_reply({"accessToken": xet.token, "exp": int(time.time()) + 3600, "casUrl": url})

    def _tree(self, request: Request, repo: Repo, revision: str, folder: str) -> HubReply:
        commit = commit_at(repo, revision)
        entries = documents.tree_documents(
            repo, commit, self._contents.stored(repo, commit), folder, request.query
        )
        if folder and not entries:
            raise HubError(404, "Entry not found", "EntryNotFound", commit.sha)
        limit = _EXPANDED_PAGE_SIZE if documents.flag(request.query, "expand") else self._contents.page_size
        return self._page(request, entries, min(limit, self._contents.page_size))

    def _paths_info(self, request: Request, repo: Repo, revision: str) -> HubReply:
        commit = commit_at(repo, revision)
        files = self._contents.stored(repo, commit)
        form = parse_qs(request.body.decode("latin-1"))
        known = documents.tree_documents(repo, commit, files, "", {"recursive": ["true"]})
        paths = {entry["path"] for entry in known}.intersection(form.get("paths", []))
        expand = documents.flag(form, "expand")
        return json_reply(
            [documents.path_document(repo, commit, files, path, expand) for path in sorted(paths)]
        )

    def _listing(self, request: Request, granted: Granted) -> HubReply:
        visible = [
            repo
            for repo in list(self._contents.repos.values())
            if not repo.private or repo.id in (granted or ())
        ]
        chosen = documents.selected_models(visible, request.query)
        limit = _whole_number(request.query, "limit", self._contents.page_size)
        entries = [
            documents.listed_document(repo, self._contents.stored(repo, repo.default_commit()), request.query)
            for repo in chosen
        ]
        return self._page(request, entries, max(1, min(limit, self._contents.page_size)))

    def _page(self, request: Request, entries: Sequence[object], limit: int) -> HubReply:
        start = _whole_number(request.query, "cursor", 0)
        reply = json_reply(entries[start : start + limit])
        if start + limit >= len(entries):
            return reply
        query = urlencode({**request.query, "cursor": [str(start + limit)]}, doseq=True)
        return reply.with_headers(
            {"Link": f'<{self._contents.endpoint}{request.raw_path}?{query}>; rel="next"'}
        )

    def _whoami(self, granted: Granted) -> HubReply:
        if granted is None:
            raise HubError(401, "Invalid username or password.")
        return json_reply({"type": "user", "name": "local-user", "fullname": "Local User", "orgs": []})


def file_reply(file: StoredFile, content_type: str) -> HubReply:
    headers = {"Content-Type": content_type, "ETag": file.etag, "Accept-Ranges": "bytes"}
    return HubReply(200, headers, (Span(file.source, 0, file.size),), is_file=True)


def _whole_number(query: Mapping[str, Sequence[str]], name: str, default: int) -> int:
    text = query.get(name, [str(default)])[-1]
    if re.fullmatch(r"[0-9]{1,9}", text) is None:
        raise HubError(400, f"{name} must be a whole number")
    return int(text)
