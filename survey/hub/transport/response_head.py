"""The head of a response, made harmless before the standard library's client parses it."""

from __future__ import annotations

import http.client
import io
import re

HEAD_CAP_BYTES = 1 << 15  # the Hub's take 2 kB, those of its storage 1 kB
_HEAD_ENDS = (b"\r\n", b"\n", b"")


class ResponseFile(io.BufferedReader):
    """The file that the client reads a response from: line by line, and bounded in all, until the head ends.

    The client hands the head to `email`, as if it were a letter. `email` parses the parameters of a
    Content-Type in quadratic time (60 kB of semicolons: 7 s, beyond any deadline), and raises whatever a
    charset that is named there raises. Nothing here reads the type of a response, so it is left out.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__(raw)
        self._is_first, self._in_head = True, True
        self._is_interim = self._skipping = False  # a 100, which another head follows; a Content-Type
        self._head_bytes = 0

    def readline(self, size: int | None = -1) -> bytes:
        while self._in_head:
            line = super().readline(size)
            self._head_bytes += len(line)
            if self._head_bytes > HEAD_CAP_BYTES:
                raise http.client.HTTPException(f"its headers take more than {HEAD_CAP_BYTES:,} bytes")
            if self._is_first:
                self._is_first, self._is_interim = False, _status(line) == "100"
                return line
            if line in _HEAD_ENDS:
                self._is_first = self._in_head = self._is_interim
                return line
            if line[:1] not in (b" ", b"\t"):  # these continue the line before
                self._skipping = line.partition(b":")[0].strip().lower() == b"content-type"
            if not self._skipping:
                # `email` would see the beginning of another header after a lone carriage return.
                return line.rstrip(b"\r\n").replace(b"\r", b" ") + b"\r\n"
        return super().readline(size)


def refuse_unclear_framing(response: http.client.HTTPResponse) -> None:
    """Raise HTTPException if it is not clear where the body ends, or whether its bytes are the file's.

    The client knows `chunked` alone, takes the first of several lengths, and would hand on the frames of
    `gzip, chunked` as bytes of the body.
    """
    codings = [text.strip().lower() for text in response.headers.get_all("Transfer-Encoding", [])]
    if codings not in ([], ["chunked"], ["identity"]):
        raise http.client.HTTPException(f"its Transfer-Encoding is {', '.join(codings)[:50]!r}")
    for name in ("Content-Length", "Content-Range"):
        values = {text.strip() for text in response.headers.get_all(name, [])}
        if len(values) > 1:
            raise http.client.HTTPException(f"it has {len(values)} headers {name}, which differ")


def content_encoding(response: http.client.HTTPResponse) -> str:
    """How the body is encoded, in small letters: `identity`, a name or several."""
    names = [name.strip().lower() for name in response.headers.get_all("Content-Encoding", [])]
    return ", ".join(filter(None, names)) or "identity"


def _status(line: bytes) -> str:
    """The status as the client will read it, which takes +100 and 1_00 for 100, too. Raises BadStatusLine."""
    status = [*str(line, "iso-8859-1").split(None, 2), "", ""][1]
    if status and not re.fullmatch("[0-9]{3}", status):
        raise http.client.BadStatusLine(repr(line[:100]))
    return status
