"""The report, live: its page over a catalog as it is now, questions in SQL, answers as files.

Every route only reads. Questions run apart, with a limit of time and memory (`queries.web.query_process`).
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from catalog.layout import FOLDERS
from catalog.read.reader import Reader
from catalog.read.views import view_columns
from catalog.store.open import open_for_reading
from queries.library import Query, load, pick, query_list
from queries.text.card import card_rows
from queries.text.status import COUNTS
from queries.web.query_process import Question, ask_apart
from queries.web.report import Heading, Live, build_report
from survey.errors import UsageError

MEDIA = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "md": "text/markdown; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
SHOWN_ROWS, FILE_ROWS = 10_000, 5_000_000
CONCURRENT_QUERIES = 2  # questions
IN_LINE = 8  # questions that run, wait, or whose answer is being read: each holds a thread, or its answer
OPEN = "/api/queries"  # asked without a header of ours: it tells of no catalog, and is made once
FORM, TOKEN = "format", "_token"  # in a query string; its other parameters are the named query's
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
ANSWER_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"  # the policy of an answer
PAGE_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADER_HINT = "ask with the header X-Requested-With: survey, which pages of other origins cannot send"


@dataclass(frozen=True, slots=True)
class Served:
    """A catalog, and what one question to it may cost. limit: models in the page."""

    catalog: str
    heading: Heading
    limit: int
    seconds: float
    memory_mb: int
    folders: Sequence[Path] = ()


class _Answer(Response):
    """An answer that holds its place in the line until it has been read, for until then it is in memory."""

    def __init__(self, place: threading.BoundedSemaphore, content: bytes, **described: Any) -> None:
        super().__init__(content, **described)
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def in_two(message: Message) -> None:
            last = message["type"] == "http.response.body"
            await send({**message, "more_body": True} if last else message)
            if last:  # the server takes another part only once it has passed the one before on
                await send({"type": "http.response.body"})

        try:
            await super().__call__(scope, receive, in_two)
        finally:
            self._place.release()


@dataclass
class _Page:
    """The page as it was made last, and of which files."""

    files: object = None
    html: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


def app(served: Served, hosts: Sequence[str]) -> Starlette:
    """The pages as an ASGI application. hosts: names by which browsers may call it.

    A page of somebody else's whose name comes to mean this machine calls it by another.
    """
    library, page = load(served.folders), _Page()
    live = Live(secrets.token_urlsafe(16), secrets.token_urlsafe(32))
    line, turns = threading.BoundedSemaphore(IN_LINE), threading.BoundedSemaphore(CONCURRENT_QUERIES)

    def index(request: Request) -> Response:
        with page.lock:
            now = _files(served.catalog)
            if page.files != now:
                with Reader(open_for_reading(served.catalog)) as reader:
                    page.html = build_report(reader, served.heading, served.limit, lambda _: None, live=live)
                page.files = now
        nonce = secrets.token_urlsafe(16)  # a new one each time; what stands in the page is replaced
        policy = {"Content-Security-Policy": PAGE_POLICY.format(nonce=nonce)}
        return HTMLResponse(page.html.replace(live.nonce, nonce), headers=policy)

    def ask(sql: str, parameters: Mapping[str, object], request: Request, name: str) -> Response:
        form = request.query_params.get(FORM, "json")
        if form not in MEDIA:
            raise UsageError(f"format={form}: expected one of {', '.join(MEDIA)}")
        rows = SHOWN_ROWS if form in ("json", "md") else FILE_ROWS
        question = Question(served.catalog, sql, parameters, form, rows, served.memory_mb)
        if not line.acquire(blocking=False):
            busy = {"error": f"busy: {IN_LINE} questions are being asked; try again"}
            return JSONResponse(busy, 503, headers={"Retry-After": f"{served.seconds:.0f}"})
        try:
            with turns:
                answer = ask_apart(question, served.seconds)
        except BaseException:
            line.release()
            raise
        headers = {} if form == "json" else {"Content-Disposition": f'attachment; filename="{name}.{form}"'}
        return _Answer(line, answer, media_type=MEDIA[form], headers=headers)

    def sql(request: Request) -> Response:
        if not (statement := request.query_params.get("q", "").strip()):
            raise UsageError("q is missing: /api/sql?q=SELECT …")
        return ask(statement, {}, request, "answer")

    def query(request: Request) -> Response:
        chosen: Query = pick(library, request.path_params["name"])
        given = {key: value for key, value in request.query_params.items() if key not in (FORM, TOKEN)}
        return ask(chosen.sql, chosen.bind(given), request, chosen.name)

    def model(request: Request) -> Response:
        with Reader(open_for_reading(served.catalog)) as reader:
            statement, parameters = card_rows(reader, request.path_params["name"])
        return ask(statement, parameters, request, "model")

    @cache
    def listing() -> bytes:
        answer = query_list(library)
        return json.dumps([dict(zip(answer.names, row, strict=True)) for row in answer.rows]).encode()

    def queries(request: Request) -> Response:
        with page.lock:  # made once, whoever asks meanwhile
            return Response(listing(), media_type=MEDIA["json"])

    def views(request: Request) -> Response:
        found = {
            view: [
                {"name": item.name, "type": item.sql_type, "unit": item.unit, "meaning": item.meaning}
                for item in columns
            ]
            for view, columns in view_columns().items()
        }
        return JSONResponse(found)

    def status(request: Request) -> Response:
        return ask(COUNTS, {}, request, "status")

    routes = [
        Route("/", index),
        Route("/api/sql", sql),
        Route("/api/query/{name}", query),
        Route("/api/models/{name:path}", model),
        Route(OPEN, queries),
        Route("/api/views", views),
        Route("/api/status", status),
    ]
    guards = [
        Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
        Middleware(_Guard, token=live.token),
    ]
    return Starlette(routes=routes, middleware=guards, exception_handlers={UsageError: _refused})


def listen(served: Served, host: str, port: int, names: Sequence[str], tell: Callable[[str], None]) -> None:
    """Answer on host:port until Ctrl-C; `tell` the URL when it does.

    Raises UsageError where the port cannot be had.
    """
    import uvicorn

    from queries.web.bounded_connections import CONNECTIONS, BoundedProtocol

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}; name another --port") from error
    shown = f"[{host}]" if ":" in host else host
    known = ["127.0.0.1", "localhost", shown, *names]
    config = uvicorn.Config(
        app(served, known),
        http=BoundedProtocol,
        ws="none",
        limit_concurrency=CONNECTIONS,
        log_level="warning",
        server_header=False,
    )
    tell(f"http://{shown}:{listening.getsockname()[1]}")
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])


class _Guard:
    """Answers to pages of other origins are refused, and every answer says how it may be used.

    What browsers say of themselves is not enough: to a plain-http name they send no Sec-Fetch-Site.
    A header that they send abroad only after asking, or a token that stands in our page, is.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request = Request(scope)
        if scope["path"] != "/" and not self._may_ask(request):
            refusal = JSONResponse({"error": f"pages of other origins may not ask; {HEADER_HINT}"}, 403)
            refusal.headers.update({**HEADERS, "Content-Security-Policy": ANSWER_POLICY})
            return await refusal(scope, receive, send)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Content-Security-Policy", ANSWER_POLICY)
            await send(message)

        return await self._app(scope, receive, with_headers)

    def _may_ask(self, request: Request) -> bool:
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return False
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
            return False
        if request.scope["path"] == OPEN:
            return True
        token = request.query_params.get(TOKEN, "").encode()
        return "x-requested-with" in request.headers or secrets.compare_digest(token, self._token)


def _refused(request: Request, error: Exception) -> Response:
    return Response(json.dumps({"error": str(error)}), 400, media_type="application/json")


def _files(catalog: str) -> object:
    place = open_for_reading(catalog)
    return [
        (folder, [(file.name, file.size, file.version) for file in place.files(folder)]) for folder in FOLDERS
    ]
