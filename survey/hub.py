"""The door to the Hugging Face Hub: metadata through huggingface_hub, tensors by byte range.

huggingface_hub's own ranged readers check neither the status nor the length of what comes (a
server that ignores `Range` makes them return other bytes), so ranges are read here, over the
client's session, and checked: 206, the exact Content-Range, the exact length, the pinned commit.
"""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import NoReturn, TypeVar
from urllib.parse import quote, urljoin, urlsplit

import httpx2
from huggingface_hub import HfApi, ModelInfo, get_session, get_token
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # public, but exported lazily
    build_hf_headers,
    hf_raise_for_status,
    parse_ratelimit_headers,
)

from survey import version
from survey.checkpoint import Card, OnBytes
from survey.errors import BrokenFile, NotOffered, SurveyError, Unreachable, storable
from survey.pace import OwnPace, Pace
from survey.records import ByteRange, Settings, Traffic
from survey.stream import Block, in_order

LIBRARY = "centroid-survey"  # how the Hub's logs see us
TIMEOUT = httpx2.Timeout(10.0, read=30.0, pool=None)
_SHA = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[\w.-]+(?:/[\w.-]+)?", re.ASCII)
SIGNING_TRIES = 3  # a URL that is refused as often right after it was signed stays refused
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

_FAILURES = (HfHubHTTPError, httpx2.HTTPError, HFValidationError, OfflineModeIsEnabled)

Result = TypeVar("Result")
_hook_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class SignedFile:
    """A file as the storage serves it: a URL with its signature, or the Hub's own URL."""

    url: str
    headers: Mapping[str, str]
    size: int


class Answered(Exception):
    """The storage answered with an error. No URL is kept: its query is the signature, a secret."""

    def __init__(self, status: int, headers: httpx2.Headers) -> None:
        super().__init__(status)
        self.status, self.headers = status, headers


class Part:
    """A block that fills up."""

    def __init__(self, block: bytearray) -> None:
        self.block, self.got = block, 0

    @property
    def full(self) -> bool:
        return self.got == len(self.block)

    def add(self, piece: bytes) -> None:
        self.block[self.got : self.got + len(piece)] = piece
        self.got += len(piece)


@dataclass(slots=True)
class Noted:
    """What one small request cost: also where it was redirected, or died without an answer."""

    timeout: httpx2.Timeout
    requests: int = 0
    responses: list[httpx2.Response] = field(default_factory=list)
    longest_wait_s: float | None = None  # where the library waits by itself, as long as it is told

    @property
    def bytes(self) -> int:
        return sum(response.num_bytes_downloaded for response in self.responses)


# Filled by hooks of the session while a small request is under way in this thread.
_noted: ContextVar[Noted | None] = ContextVar("noted", default=None)


class Counter:
    """Traffic, added to from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.total = Traffic()

    def add(self, *, bytes: int = 0, requests: int = 0, retries: int = 0) -> None:
        with self._lock:
            self.total += Traffic(bytes, requests, retries)


class Manners:
    """How one model's requests behave: patience, a common pace, a deadline, and what they cost."""

    def __init__(self, settings: Settings, pace: Pace | None = None, limit_s: float | None = None) -> None:
        self.patience, self.pace, self.counter = settings.patience, pace or OwnPace(), Counter()
        self._limit_s = limit_s if limit_s is not None else settings.timeout_s
        self._until = time.monotonic() + self._limit_s

    def left_s(self, where: str) -> float:
        """Seconds until the deadline.

        Raises Unreachable (`timeout`) where it has passed.
        """
        left = self._until - time.monotonic()
        if left <= 0:
            raise Unreachable("timeout", where, f"not finished after {self._limit_s:.0f} s")
        return left

    def timeout(self, where: str) -> httpx2.Timeout:
        """How long one request may be silent: never beyond the deadline."""
        left = self.left_s(where)
        connect, read = (min(left, TIMEOUT.as_dict()[name] or left) for name in ("connect", "read"))
        return httpx2.Timeout(connect=connect, read=read, write=left, pool=None)

    def patiently(self, call: Callable[[], Result], where: str) -> Result:
        """One small request, made again while the server is busy or out of reach."""
        for attempt in itertools.count(1):
            self.pace.wait()
            noted = Noted(self.timeout(where))
            reset = _noted.set(noted)
            try:
                _session()  # so that the library's own requests are noted, too
                return call()
            except (*_FAILURES, Answered, Unreachable) as error:
                self.left_s(where)
                if attempt >= self.patience.tries or not _worth_again(error):
                    _translate(error, where)
                self.counter.add(retries=1)
                wait_s = self.wait_s(attempt, error, where)
            finally:
                _noted.reset(reset)
                self.counter.add(bytes=noted.bytes, requests=noted.requests)
            time.sleep(wait_s)
        raise AssertionError("an endless loop returns or raises")

    def wait_s(self, failures: int, error: Exception, where: str) -> float:
        """How long to wait after a failure; where the server says so, everybody waits."""
        asked_s = _asked_wait_s(error)
        wait_s = self.patience.wait_s(failures, asked_s)
        if asked_s is not None:
            self.pace.pause(wait_s)
        return min(wait_s, self.left_s(where))


class HubCheckpoint:
    """One commit of a repository on the Hub; everything is read at that commit."""

    folder = None

    def __init__(
        self,
        repo: str,
        revision: str,
        sha: str,
        files: Mapping[str, int],
        settings: Settings,
        manners: Manners,
        card: Card | None = None,
    ) -> None:
        """Nothing is asked of the Hub before something is read."""
        self.repo, self.revision, self.sha, self.files = repo, revision, sha, files
        self.card = card or Card()
        self._hub, self._manners = settings, manners
        self._signed: dict[str, SignedFile] = {}
        self._signing = threading.Lock()

    @property
    def traffic(self) -> Traffic:
        return self._manners.counter.total

    def read_file(self, file: str, cap_bytes: int) -> bytes:
        return self._ask(file, lambda: self._read_small(file, cap_bytes))

    def read_range(self, file: str, wanted: ByteRange) -> bytes:
        return bytes(self._fetch(file, wanted, threading.Event(), lambda count: None))

    def stream(self, file: str, ranges: Sequence[ByteRange], on_bytes: OnBytes) -> Iterator[Block]:
        return in_order(
            ranges,
            lambda wanted, stop: self._fetch(file, wanted, stop, on_bytes),
            self._hub.connections,
        )

    def _read_small(self, file: str, cap_bytes: int) -> bytes:
        where = f"{self.repo}/{file}"
        with _session().stream(
            "GET",
            self._url(file),
            headers=self._headers(),
            timeout=self._manners.timeout(where),
            follow_redirects=True,
        ) as response:
            if response.status_code >= 400 and not self._is_hubs(str(response.url)):
                raise Answered(response.status_code, response.headers)
            hf_raise_for_status(response)
            self._check_commit(response, where, required=False)
            found = bytearray()
            for piece in response.iter_bytes():
                found += piece
                if len(found) > cap_bytes:
                    raise BrokenFile("bad-header", where, f"is larger than {cap_bytes:,} bytes, our cap")
        return bytes(found)

    def _sign(self, file: str) -> SignedFile:
        """Where the storage serves the file now; follows the Hub's own redirects only."""
        where, url = f"{self.repo}/{file}", self._url(file)
        for _ in range(5):
            response = _session().request(
                "HEAD",
                url,
                headers=self._headers(),
                timeout=self._manners.timeout(where),
                follow_redirects=False,
            )
            hf_raise_for_status(response)
            location = urljoin(url, response.headers.get("Location", ""))
            if response.status_code in _REDIRECTS and self._is_hubs(location):
                # A small file, or a repository that was renamed: that answer names no commit.
                self._check_commit(response, where, required=False)
                url = location
                continue
            self._check_commit(response, where, required=True)
            if response.status_code not in _REDIRECTS:
                return SignedFile(url, self._headers(), self._size(response, "Content-Length", where))
            # The signature is in the URL: the token stays with the Hub.
            return SignedFile(location, {}, self._size(response, "X-Linked-Size", where))
        raise Unreachable("network", where, "the Hub redirects in circles")

    def _size(self, response: httpx2.Response, header: str, where: str) -> int:
        text = response.headers.get(header, "")
        if not text.isdecimal():
            raise Unreachable("network", where, f"{header} is {text!r}, expected a number")
        return int(text)

    def _is_hubs(self, url: str) -> bool:
        """Whether a URL has the Hub's own origin, which alone may see the token."""
        return urlsplit(url)[:2] == urlsplit(self._hub.endpoint)[:2]

    def _check_commit(self, response: httpx2.Response, where: str, *, required: bool) -> None:
        commit = response.headers.get("X-Repo-Commit")
        if commit != self.sha and (required or commit is not None):
            raise Unreachable("network", where, f"came from commit {commit}, expected {self.sha}")

    # ------------------------------------------------------------------------ byte ranges

    def _signed_file(self, file: str, refused: SignedFile | None = None) -> SignedFile:
        """The file's signed URL, shared by all connections; a refused one is signed anew once."""
        with self._signing:
            known = self._signed.get(file)
            if known is None or known is refused:
                known = self._ask(file, lambda: self._sign(file))
                listed = self.files[file]
                if known.size != listed:
                    raise BrokenFile(
                        "bad-header",
                        f"{self.repo}/{file}",
                        f"has {known.size:,} bytes, expected {listed:,} as the Hub lists it",
                    )
                self._signed[file] = known
            return known

    def _fetch(self, file: str, wanted: ByteRange, stop: threading.Event, on_bytes: OnBytes) -> bytearray:
        """Exactly the wanted bytes, resumed where a connection broke."""
        where, failures, refusals = f"{self.repo}/{file}", 0, 0
        signed = self._signed_file(file)
        part = Part(bytearray(len(wanted)))
        while not part.full and not stop.is_set():
            before = part.got
            self._manners.pace.wait()
            try:
                self._receive(signed, wanted, part, stop, on_bytes)
            except (httpx2.HTTPError, Answered, Unreachable) as error:
                self._manners.left_s(where)
                failures += 1
                if part.got > before:
                    failures = refusals = 0
                if _status(error) in (401, 403) and refusals < SIGNING_TRIES:
                    refusals += 1  # most likely the signature has expired
                    signed = self._signed_file(file, refused=signed)
                    wait_s = 0.0
                elif failures < self._manners.patience.tries and _worth_again(error):
                    wait_s = self._manners.wait_s(max(failures, 1), error, where)
                else:
                    _translate(error, where)
                self._manners.counter.add(retries=1)
                stop.wait(wait_s)
        return part.block

    def _receive(
        self,
        signed: SignedFile,
        wanted: ByteRange,
        part: Part,
        stop: threading.Event,
        on_bytes: OnBytes,
    ) -> None:
        """One request for what is missing; `part` keeps whatever came, also when it fails."""
        for piece in self._pieces(signed, ByteRange(wanted.start + part.got, wanted.stop)):
            self._manners.counter.add(bytes=len(piece))
            if len(piece) > len(part.block) - part.got:
                raise Unreachable("network", _bare(signed.url), "sends more bytes than it announced")
            part.add(piece)
            on_bytes(len(piece))
            if stop.is_set():
                return
        if not part.full:
            raise Unreachable(
                "network", _bare(signed.url), f"ended after {part.got:,} of {len(wanted):,} bytes"
            )

    def _pieces(self, signed: SignedFile, asked: ByteRange) -> Iterator[bytes]:
        headers = {**signed.headers, "Range": asked.http_header(), "Accept-Encoding": "identity"}
        self._manners.counter.add(requests=1)
        # A new session on each attempt: the library closes it under us after a connect error.
        with _session().stream(
            "GET",
            signed.url,
            headers=headers,
            timeout=self._manners.timeout(_bare(signed.url)),
            follow_redirects=False,
        ) as response:
            if response.status_code >= 400:
                raise Answered(response.status_code, response.headers)
            expected = f"bytes {asked.start}-{asked.stop - 1}/{signed.size}"
            found = response.headers.get("Content-Range")
            if response.status_code != 206 or found != expected:
                raise Unreachable(
                    "network",
                    _bare(signed.url),
                    f"answered {response.status_code} with Content-Range {found!r}, "
                    f"expected 206 with {expected!r}",
                )
            yield from response.iter_raw()

    # ----------------------------------------------------------------------------- pieces

    def _ask(self, file: str, call: Callable[[], Result]) -> Result:
        return self._manners.patiently(call, f"{self.repo}/{file}")

    def _headers(self) -> dict[str, str]:
        return {
            **build_hf_headers(token=self._hub.token, library_name=LIBRARY, library_version=version()),
            "Accept-Encoding": "identity",
        }

    def _url(self, file: str) -> str:
        return f"{self._hub.endpoint}/{self.repo}/resolve/{self.sha}/{quote(file)}"


def resolve(repo: str, revision: str | None, settings: Settings, pace: Pace | None = None) -> HubCheckpoint:
    """The commit that a branch, tag or commit stands for now, and its files: one request.

    Raises NotOffered or Unreachable.
    """
    api, manners = _api(settings), Manners(settings, pace)
    info = manners.patiently(lambda: _model_info(api, repo, revision), repo)
    if not _SHA.fullmatch(info.sha or ""):
        raise Unreachable("network", repo, f"the Hub names the commit {info.sha!r}, expected 40 hex digits")
    assert info.sha is not None
    # A renamed repository answers under its new name; that is the one to know it by.
    name = info.id if isinstance(info.id, str) and _HUB_ID.fullmatch(info.id) else repo
    files = {storable(item.rfilename): item.size or 0 for item in info.siblings or []}
    return HubCheckpoint(name, revision or "main", info.sha, files, settings, manners, _card(info))


def _model_info(api: HfApi, repo: str, revision: str | None) -> ModelInfo:
    try:
        timeout = noted.timeout if (noted := _noted.get()) else TIMEOUT
        return api.model_info(
            repo,
            revision=revision,
            files_metadata=True,
            timeout=timeout,  # type: ignore[arg-type]  # httpx2 takes both
        )
    except (HfHubHTTPError, HFValidationError):
        raise
    except (KeyError, TypeError, ValueError) as error:
        # A proxy or a login page answers 200 to everything.
        problem = f"what answers is not the Hub's: {type(error).__name__}: {error}"
        raise Unreachable("network", repo, problem) from error


def refs(repo: str, settings: Settings, pace: Pace | None = None) -> list[str]:
    """All branches and tags of a repository, sorted.

    Raises NotOffered or Unreachable.
    """
    api = _api(settings)
    found = Manners(settings, pace).patiently(lambda: api.list_repo_refs(repo), repo)
    return sorted({ref.name for ref in (*found.branches, *found.tags)})


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
    while entry := manners.patiently(lambda: _next_listed(entries, settings), where):
        yield entry


def _next_listed(entries: Iterator[ModelInfo], settings: Settings) -> Listed | None:
    noted = _noted.get()
    if noted is not None:
        noted.longest_wait_s = settings.patience.longest_wait_s
    try:
        info = next(entries, None)
    except (HfHubHTTPError, HFValidationError):
        raise
    except (AttributeError, KeyError, TypeError, ValueError, httpx2.InvalidURL) as error:
        problem = f"what answers is not the Hub's: {type(error).__name__}: {error}"
        raise Unreachable("network", f"{settings.endpoint}/api/models", problem) from error
    return None if info is None else _listed(info)


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


def _session() -> httpx2.Client:
    session = get_session()
    with _hook_lock:
        hooks = session.event_hooks
        if _note_request not in hooks.get("request", []):
            session.event_hooks = {
                "request": [*hooks.get("request", []), _note_request],
                "response": [*hooks.get("response", []), _note_response],
            }
    return session


def _note_request(request: httpx2.Request) -> None:
    noted = _noted.get()
    if noted is not None:
        noted.requests += 1
        if not any(request.extensions.get("timeout", {}).values()):
            # Some of the library's requests (listings, refs) would wait for an answer for ever.
            request.extensions = {**request.extensions, "timeout": noted.timeout.as_dict()}


def _note_response(response: httpx2.Response) -> None:
    noted = _noted.get()
    if noted is None:
        return
    noted.responses.append(response)
    answered = Answered(response.status_code, response.headers)
    if noted.longest_wait_s is not None and (_asked_wait_s(answered) or 0.0) > noted.longest_wait_s:
        raise answered


def _card(info: ModelInfo) -> Card:
    base = getattr(info.card_data, "base_model", None)
    first = base[0] if isinstance(base, list) and base else base
    changed = info.last_modified
    return Card(
        base_model=storable(first) if isinstance(first, str) else None,
        library_name=info.library_name if isinstance(info.library_name, str) else None,
        tags=tuple(storable(tag) for tag in info.tags or () if isinstance(tag, str)),
        last_modified=changed.astimezone(UTC).replace(tzinfo=None) if changed else None,
    )


def _bare(url: str) -> str:
    """A URL without its query, which is the signature: a secret."""
    return url.partition("?")[0]


def _answer(error: Exception) -> tuple[int, httpx2.Headers] | None:
    """Status and headers of the answer behind an error, if there was one."""
    if isinstance(error, Answered):
        return error.status, error.headers
    response = getattr(error, "response", None)
    return (response.status_code, response.headers) if isinstance(response, httpx2.Response) else None


def _status(error: Exception) -> int | None:
    answer = _answer(error)
    return answer[0] if answer else None


def _worth_again(error: Exception) -> bool:
    if isinstance(error, httpx2.TransportError):
        return True
    if isinstance(error, Unreachable):
        return error.reason == "network"
    status = _status(error)
    return status in (408, 429) or (status is not None and status >= 500)


def _asked_wait_s(error: Exception) -> float | None:
    """How long a 429 or 503 asks to wait, if it says."""
    answer = _answer(error)
    if answer is None or answer[0] not in (429, 503):
        return None
    headers = answer[1]
    stated = headers.get("Retry-After", "")
    if stated.isdecimal():
        return float(stated)
    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit and limit.remaining == 0 else None


def _translate(error: Exception, where: str) -> NoReturn:
    """Raise what the door's callers understand."""
    if isinstance(error, SurveyError):
        raise error
    status = _status(error)
    offers: list[tuple[type[Exception], str, str]] = [
        # GatedRepoError is a RepositoryNotFoundError, so it is asked first.
        (GatedRepoError, "gated", "its owner asks people to accept terms first"),
        (DisabledRepoError, "disabled", "the Hub has disabled it"),
        (RevisionNotFoundError, "revision-not-found", "no such branch, tag or commit"),
        (RemoteEntryNotFoundError, "not-found", "no such file at this commit"),
        (RepositoryNotFoundError, "not-found", "no such model, or a private one"),
        (HFValidationError, "not-found", f"not a model id: {error}"),
    ]
    for kind, reason, problem in offers:
        if isinstance(error, kind):
            raise NotOffered(reason, where, problem) from error
    if status in (401, 403):
        raise NotOffered("unauthorised", where, f"the Hub answered {status}") from error
    if status == 429:
        raise Unreachable("rate-limited", where, "the Hub asks to slow down (429)") from error
    if isinstance(error, OfflineModeIsEnabled):
        raise Unreachable("network", where, "HF_HUB_OFFLINE is set") from error
    kind_name = f"the server answered {status}" if status else f"{type(error).__name__}: {error}"
    raise Unreachable("network", where, kind_name) from error
