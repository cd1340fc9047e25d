"""The HTTP session of the S3 client: an answer has a largest size, and comes from the host that was asked.

Imported with the client alone (see `fsspec_client.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiobotocore.httpsession import AIOHTTPSession

MAX_ANSWER_BYTES = 1 << 26  # a range has 16 MB at most, a page of a listing 1 MB


class BoundedSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore is not typed
    """A session that reads no answer beyond MAX_ANSWER_BYTES, and follows no redirect.

    What an object store redirects to is not the store that was named. The client itself follows a bucket to
    its region, by a header.
    """

    async def send(self, request: Any) -> Any:  # Any: aiobotocore is not typed
        is_streamed, request.stream_output = request.stream_output, True  # else all of it is read in there
        answer = await super().send(request)
        answer.raw.content = _BoundedContent(answer.raw.content, answer.raw.close)
        if not is_streamed:
            await answer.content
        return answer

    async def _get_session(self, proxy_url: str | None) -> Any:
        return _WithoutRedirects(await super()._get_session(proxy_url))


class _WithoutRedirects:
    def __init__(self, session: Any) -> None:
        self._session = session

    async def request(self, method: str, **options: Any) -> Any:
        return await self._session.request(method, allow_redirects=False, **options)


class _BoundedContent:
    """The content of an answer, which raises ValueError once it is larger than any of ours."""

    def __init__(self, content: Any, close: Callable[[], None]) -> None:
        self._content, self._close, self._bytes = content, close, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def read(self, count: int = -1) -> bytes:
        if count >= 0:
            return self._counted(await self._content.read(count))
        pieces = []
        while piece := await self._content.readany():
            pieces.append(self._counted(piece))
        return b"".join(pieces)

    def _counted(self, piece: bytes) -> bytes:
        self._bytes += len(piece)
        if self._bytes > MAX_ANSWER_BYTES:
            self._close()
            raise ValueError(f"the store's answer has more than {MAX_ANSWER_BYTES:,} bytes")
        return piece
