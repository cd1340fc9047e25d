"""Serve a Hub on loopback to the unmodified huggingface_hub client, with its CDN on another origin.

with LocalHub() as hub:
    sha = hub.add_repo("org/name", {"config.json": b"{}", "model.safetensors": Path("big")})
    HfApi(endpoint=hub.endpoint).model_info("org/name")

Import from this module, also what is defined in the modules beside it.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from threading import Event, RLock
from types import MappingProxyType, TracebackType
from typing import Any
from urllib.parse import quote

from jobs.demo.hub.access import HubError
from jobs.demo.hub.api import Api, file_reply
from jobs.demo.hub.faults import (
    CorruptBytes,
    Drip,
    Fault,
    FaultAction,
    Garbage,
    IgnoreRange,
    ResetAfter,
    ServerName,
    ShortBody,
    Stall,
    Status,
    Verbatim,
    WithHeaders,
    WrongCommit,
    WrongContentRange,
)
from jobs.demo.hub.http_server import HttpServer
from jobs.demo.hub.link import ReplyShape
from jobs.demo.hub.replies import HubReply, Source, memory
from jobs.demo.hub.repos import Commit, Repo, StoredFile, commit_sha, folder_files, stored_file
from jobs.demo.hub.request import LoggedRequest, Request
from jobs.demo.hub.signatures import UrlSigner
from jobs.demo.hub.xet import Xet

__all__ = [
    "Commit",
    "CorruptBytes",
    "Drip",
    "Fault",
    "FaultAction",
    "Garbage",
    "IgnoreRange",
    "LocalHub",
    "LoggedRequest",
    "ReplyShape",
    "Repo",
    "ResetAfter",
    "ShortBody",
    "Stall",
    "Status",
    "Verbatim",
    "WithHeaders",
    "WrongCommit",
    "WrongContentRange",
]

NO_USERS: Mapping[str, frozenset[str]] = MappingProxyType({})
UNSHAPED = ReplyShape()

_REPO_ID = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)?")


LOOPBACK = "127.0.0.1"


class LocalHub:
    """Both servers, their repositories and faults. Public attributes may be changed while the servers run.

    users: token -> ids of the repositories whose gate it passed, or that it sees though private.
    large_file_bytes: from this size on a file lies on the CDN; *.safetensors and *.bin always do.
    page_size: maximum number of entries in one page of a listing.
    """

    def __init__(
        self,
        *,
        users: Mapping[str, frozenset[str]] = NO_USERS,
        signature_lifetime_s: float = 3600,
        large_file_bytes: int = 10_000,
        shape: ReplyShape = UNSHAPED,
        page_size: int = 1000,
        host: str = LOOPBACK,
    ) -> None:
        self.users = users
        self.signature_lifetime_s = signature_lifetime_s
        self.large_file_bytes = large_file_bytes
        self.page_size = page_size
        self.shape = shape
        self.repos: dict[str, Repo] = {}
        self.log: list[LoggedRequest] = []
        self.faults: list[Fault] = []
        self.closing = Event()
        self._lock = RLock()
        self._stored: dict[tuple[str, str], dict[str, StoredFile]] = {}
        self._signer = UrlSigner()
        self.xet = Xet()
        self._hub = HttpServer(host, "hub", self, Api(self).answer)
        self._cdn = self._start_cdn(host)
        self.endpoint, self.cdn_origin = self._hub.origin, self._cdn.origin

    def _start_cdn(self, host: str) -> HttpServer:
        if host != LOOPBACK:  # no second address is free to take: another port is another origin, too
            return HttpServer(host, "cdn", self, self._answer_cdn)
        try:
            return HttpServer("127.0.0.2", "cdn", self, self._answer_cdn)
        except OSError:  # not every system answers on all of 127/8
            return HttpServer(LOOPBACK, "cdn", self, self._answer_cdn)

    def __enter__(self) -> "LocalHub":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop at once; replies that are being sent are cut."""
        if not self.closing.is_set():
            self.closing.set()
            self._hub.close()
            self._cdn.close()

    # ---- repositories

    def add_repo(
        self,
        id: str,
        files: Mapping[str, Source] | Path,
        *,
        branch: str = "main",
        **fields: Any,  # Any: the fields of Repo, each of its own type
    ) -> str:
        """Make a repository, or change fields of one, and commit; returns the sha.

        Raises ValueError if the id is none, TypeError for a field that a repository lacks.
        """
        if _REPO_ID.fullmatch(id) is None:
            raise ValueError(f"{id!r} is not a repository id such as 'org/name'")
        with self._lock:
            repo = self.repos.setdefault(id, Repo(id))
            for name, value in fields.items():
                if not hasattr(repo, name):
                    raise TypeError(f"a repository has no field {name!r}")
                setattr(repo, name, value)
            return self.commit(id, files, branch=branch)

    def commit(self, id: str, files: Mapping[str, Source] | Path, *, branch: str = "main") -> str:
        """Move a branch to a new commit that holds exactly these files; returns its sha."""
        files = folder_files(files) if isinstance(files, Path) else dict(files)
        stored = {path: stored_file(path, source, self.large_file_bytes) for path, source in files.items()}
        with self._lock:
            repo = self.repos[id]
            sha = commit_sha(id, repo.branches.get(branch, ""), stored.values())
            repo.commits[sha] = Commit(sha, files)
            repo.branches[branch] = sha
            self._stored[id, sha] = stored
            return sha

    def tag(self, id: str, name: str, sha: str) -> None:
        """Name a commit. Raises KeyError if the repository has no such commit."""
        repo = self.repos[id]
        repo.tags[name] = repo.commits[sha].sha

    def expire_signatures(self) -> None:
        """Make every CDN address signed so far answer 403."""
        self._signer = UrlSigner()

    # ---- the log

    def requests(
        self, server: ServerName | None = None, path_contains: str | None = None
    ) -> list[LoggedRequest]:
        """The logged requests, oldest first, of one server or of paths that contain a string."""
        return [
            entry
            for entry in list(self.log)
            if server in (None, entry.server) and (path_contains or "") in entry.path
        ]

    def clear_log(self) -> None:
        self.log.clear()

    # ---- the CDN

    def stored(self, repo: Repo, commit: Commit) -> dict[str, StoredFile]:
        key = repo.id, commit.sha
        if key not in self._stored:  # a Repo put into `repos` by hand
            large = self.large_file_bytes
            self._stored[key] = {path: stored_file(path, file, large) for path, file in commit.files.items()}
        return self._stored[key]

    def signed_url(self, repo: Repo, commit: Commit, path: str) -> str:
        signature = self._signer.signed_query(
            (repo.id, commit.sha, *path.split("/")), self.signature_lifetime_s
        )
        location = f"{quote(repo.id, safe='')}/{commit.sha}/{quote(path)}"
        return f"{self.cdn_origin}/{location}?{signature}"

    def _answer_cdn(self, request: Request) -> HubReply:
        if request.segments[:2] == ("v1", "reconstructions"):
            try:
                return self.xet.answer(request)
            except HubError as error:
                return error.reply()
        if not self._signer.is_valid(request):
            denied = b"<Error><Code>AccessDenied</Code><Message>Access denied</Message></Error>"
            return HubReply(403, {"Content-Type": "application/xml"}, memory(denied))
        repo_id, sha, *path = request.segments
        return file_reply(self._stored[repo_id, sha]["/".join(path)], "binary/octet-stream")
