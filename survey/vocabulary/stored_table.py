"""A packed token table as it lies in a catalog: compressed, and checked as a whole when it is read.

Names come from whoever may write to the catalog, so what a file holds is unpacked with all checks of
`table.py`. A file that is not whole, or of a machine with another byte order, counts as none.
"""

from __future__ import annotations

import hashlib
import sys
import zlib

from survey.vocabulary.table import ANSWER_CAP_BYTES

STORED_CAP_BYTES = ANSWER_CAP_BYTES + (1 << 20)  # what does not compress grows a little
_MAGIC = b"token table 1 " + sys.byteorder.encode() + b"\n"
_DIGEST_BYTES = 32


def compressed(answer: bytes) -> bytes:
    """The content of the file."""
    return _MAGIC + hashlib.sha256(answer).digest() + zlib.compress(answer, 3)


def answer_of(content: bytes) -> bytes | None:
    """The packed table, or the packed reason why there is none; None if the content is not whole."""
    if not content.startswith(_MAGIC):
        return None
    start = len(_MAGIC) + _DIGEST_BYTES
    try:
        answer = zlib.decompressobj().decompress(content[start:], ANSWER_CAP_BYTES)
    except zlib.error:
        return None
    return answer if hashlib.sha256(answer).digest() == content[len(_MAGIC) : start] else None
