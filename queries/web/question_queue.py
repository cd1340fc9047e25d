"""The queue of queries of a served catalog: limits of those that run, those that wait, and their answers."""

from __future__ import annotations

import re
import threading
from typing import Any
from urllib.parse import quote

from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from queries.web.query_process import Question, ask_apart

CONCURRENT_QUERIES = 2
MAX_QUESTIONS = 8  # that run, wait, or have an answer that is being read: each takes a thread or memory
MEDIA = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "md": "text/markdown; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}


class QuestionQueue:
    """Runs questions, a few at a time; refuses one more than `length` with the status 503."""

    def __init__(self, seconds: float, length: int = MAX_QUESTIONS) -> None:
        self._seconds, self._length = seconds, length
        self._entries = threading.BoundedSemaphore(length)
        self._turns = threading.BoundedSemaphore(CONCURRENT_QUERIES)

    def answer(self, question: Question, name: str) -> Response:
        """The answer; a download called `name` unless its form is JSON. Raises UsageError as `ask_apart`."""
        if not self._entries.acquire(blocking=False):
            busy = {"error": f"busy: {self._length} questions are being asked; try again"}
            return JSONResponse(busy, 503, headers={"Retry-After": f"{self._seconds:.0f}"})
        try:
            with self._turns:
                content = ask_apart(question, self._seconds)
            form = question.form
            headers = {} if form == "json" else {"Content-Disposition": _download(f"{name}.{form}")}
            return _QueuedResponse(self._entries, content, media_type=MEDIA[form], headers=headers)
        except BaseException:
            self._entries.release()
            raise


def _download(name: str) -> str:
    """The header of a download. Its name is that of a query's file, which may hold anything."""
    plain = re.sub(r"[^\w .-]", "_", name)
    return (
        f'attachment; filename="{plain}"'
        if plain.isascii()
        else f"attachment; filename*=UTF-8''{quote(plain)}"
    )


class _QueuedResponse(Response):
    """A response that leaves the queue only once it has been read, because it is in memory until then."""

    def __init__(self, entries: threading.BoundedSemaphore, content: bytes, **described: Any) -> None:
        super().__init__(content, **described)
        self._entries = entries

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_two(message: Message) -> None:
            last = message["type"] == "http.response.body"
            await send({**message, "more_body": True} if last else message)
            if last:  # the server accepts the second part only after it sent the first
                await send({"type": "http.response.body"})

        try:
            await super().__call__(scope, receive, send_in_two)
        finally:
            self._entries.release()
