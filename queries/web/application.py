"""The routes of a served catalog: its page, answers to SQL, lists of queries and views. None writes."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from catalog.files import FOLDERS
from catalog.read.reader import Reader
from catalog.read.view_columns import view_columns
from catalog.store.open import open_for_reading
from queries.library import load, pick, query_list
from queries.text.model_rows import MODEL_ROWS
from queries.text.status import COUNTS
from queries.web.guard import OPEN, TOKEN, Guard
from queries.web.query_process import Question
from queries.web.question_queue import MAX_QUESTIONS, MEDIA, QuestionQueue
from queries.web.report import Heading, Live, build_report
from survey.errors import UsageError

SHOWN_ROWS, FILE_ROWS = 10_000, 5_000_000
FORM = "format"  # in a query string, beside TOKEN; every other parameter is the named query's
PAGE_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class Served:
    """A catalog, and the limits of one query to it. limit: models in the page. questions: in the queue."""

    catalog: str
    heading: Heading
    limit: int
    seconds: float
    memory_mb: int
    folders: Sequence[Path] = ()
    questions: int = MAX_QUESTIONS


def app(served: Served, hosts: Sequence[str]) -> Starlette:
    """The pages as an ASGI application.

    hosts: names by which browsers may call it. The list protects against DNS rebinding, in which a foreign
    page uses a host name of its own that resolves to this machine.
    """
    pages = Pages(served)
    routes = [
        Route("/", pages.report),
        Route("/api/sql", pages.sql),
        Route("/api/query/{name}", pages.query),
        Route("/api/models/{name:path}", pages.model),
        Route(OPEN, pages.queries),
        Route("/api/views", pages.views),
        Route("/api/status", pages.status),
    ]
    guards = [
        Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
        Middleware(Guard, token=pages.live.token),
    ]
    return Starlette(routes=routes, middleware=guards, exception_handlers={UsageError: _refused})


class Pages:
    """One method for each route, and what they share: the named queries, the last page, the queue."""

    def __init__(self, served: Served) -> None:
        self.live = Live(secrets.token_urlsafe(16), secrets.token_urlsafe(32))
        self._served = served
        self._library = load(served.folders)
        self._queue = QuestionQueue(served.seconds, served.questions)
        self._lock = threading.Lock()  # of the page and the list of queries, which are computed once
        self._files: object = None  # from which the page was built
        self._html = ""

    def report(self, request: Request) -> Response:
        """The report, built anew if the catalog's files have changed."""
        with self._lock:
            files = _catalog_files(self._served.catalog)
            if self._files != files:
                self._html, self._files = self._build(), files
        nonce = secrets.token_urlsafe(16)  # a new one for every request replaces that of the stored page
        policy = {"Content-Security-Policy": PAGE_POLICY.format(nonce=nonce)}
        return HTMLResponse(self._html.replace(self.live.nonce, nonce), headers=policy)

    def sql(self, request: Request) -> Response:
        """The answer to the SELECT in q."""
        if not (statement := request.query_params.get("q", "").strip()):
            raise UsageError("q is missing: /api/sql?q=SELECT …")
        return self._ask(statement, {}, request, "answer")

    def query(self, request: Request) -> Response:
        """The answer of a named query."""
        query = pick(self._library, request.path_params["name"])
        given = {key: value for key, value in request.query_params.items() if key not in (FORM, TOKEN)}
        return self._ask(query.sql, query.bind(given), request, query.name)

    def model(self, request: Request) -> Response:
        """The rows of one model."""
        return self._ask(MODEL_ROWS, {"model": request.path_params["name"]}, request, "model")

    def status(self, request: Request) -> Response:
        """The counts of `survey status`."""
        return self._ask(COUNTS, {}, request, "status")

    def queries(self, request: Request) -> Response:
        """The named queries with their parameters and columns."""
        with self._lock:
            return Response(self._query_list, media_type=MEDIA["json"])

    def views(self, request: Request) -> Response:
        """The views with their columns, units and meanings."""
        return JSONResponse(
            {
                view: [
                    {"name": item.name, "type": item.sql_type, "unit": item.unit, "meaning": item.meaning}
                    for item in columns
                ]
                for view, columns in view_columns().items()
            }
        )

    def _ask(self, sql: str, parameters: Mapping[str, object], request: Request, name: str) -> Response:
        form = request.query_params.get(FORM, "json")
        if form not in MEDIA:
            raise UsageError(f"format={form}: expected one of {', '.join(MEDIA)}")
        rows = SHOWN_ROWS if form in ("json", "md") else FILE_ROWS
        question = Question(self._served.catalog, sql, parameters, form, rows, self._served.memory_mb)
        return self._queue.answer(question, name)

    def _build(self) -> str:
        served = self._served
        try:
            with Reader(open_for_reading(served.catalog)) as reader:
                return build_report(reader, served.heading, served.limit, lambda _: None, live=self.live)
        except MemoryError as error:
            raise UsageError("the page takes more memory than there is: name a smaller --limit") from error

    @cached_property
    def _query_list(self) -> bytes:
        answer = query_list(self._library)
        return json.dumps([dict(zip(answer.names, row, strict=True)) for row in answer.rows]).encode()


def _refused(request: Request, error: Exception) -> Response:
    return Response(json.dumps({"error": str(error)}), 400, media_type="application/json")


def _catalog_files(catalog: str) -> object:
    store = open_for_reading(catalog)
    return [
        (folder, [(file.name, file.size, file.version) for file in store.files(folder)]) for folder in FOLDERS
    ]
