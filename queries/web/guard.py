"""The guard of a served catalog: it refuses requests of other origins and sets the security headers."""

from __future__ import annotations

import secrets

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN = "/api/queries"  # needs no header of ours: it reveals nothing of the catalog, and is computed once
TOKEN = "_token"  # the parameter that proves that a link stands in our page
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
ANSWER_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"  # the policy of every answer
# A proxy in front may look at the last of several, and we at the first.
ONCE = frozenset((b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"))
HEADER_HINT = "ask with the header X-Requested-With: survey, which pages of other origins cannot send"


class Guard:
    """ASGI middleware: refuses pages of other origins, and restricts how browsers may use the answers.

    The origin that a browser states does not suffice, as browsers send no Sec-Fetch-Site to a plain-http
    name. A custom header suffices, which a page may send to another origin only after a preflight request;
    so does a token that only our page has.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if (refusal := self._refusal(scope)) is not None:
            refusal.headers.update({**HEADERS, "Content-Security-Policy": ANSWER_POLICY})
            return await refusal(scope, receive, send)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Content-Security-Policy", ANSWER_POLICY)
            await send(message)

        return await self._app(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        names = [name for name, _ in scope["headers"] if name in ONCE]
        if len(names) > len(set(names)):
            twice = next(name for name in names if names.count(name) > 1).decode()
            return JSONResponse({"error": f"the header {twice} came more than once, expected one"}, 400)
        if scope["path"] != "/" and not self._may_ask(Request(scope)):
            return JSONResponse({"error": f"pages of other origins may not ask; {HEADER_HINT}"}, 403)
        return None

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
