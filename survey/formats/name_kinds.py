"""A selection of the names of hundreds of thousands of tensors, most of which differ in numbers alone.

A kind is a name without its numbers. A mixture of experts has as many tensors as layers times experts, of a
few kinds, and no head among them. Of each kind more names are kept than any matrix has parts.
"""

from __future__ import annotations

import re
import sys

import xxhash

from survey.errors import BrokenFile
from survey.formats.json_stream import NAME_A_FILE

KEPT_OF_A_KIND = 2048
KINDS_CAP = 100_000
KEPT_CAP_BYTES = 32 << 20  # 200,000 names
_NUMBER = re.compile(r"(?<![A-Za-z0-9])\d+(?![A-Za-z0-9])")  # w1 and w2 are two kinds


class Kinds:
    """Count names by kind, and keep the first of each. left_out: number of names that were not kept."""

    def __init__(self, reason: str, where: str) -> None:
        self._counts: dict[int, int] = {}
        self._reason, self._where = reason, where
        self.left_out = 0
        self._kept_bytes = 0

    def keep(self, name: str) -> bool:
        """Count a name, and say whether to keep it.

        Raises BrokenFile (`reason`) if there are too many kinds, or the kept names take too many bytes.
        """
        kind = xxhash.xxh3_64_intdigest(_NUMBER.sub("0", name).encode("utf-8", "surrogatepass"))
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if len(self._counts) > KINDS_CAP:
            problem = f"names more than {KINDS_CAP:,} kinds of tensors"
            raise BrokenFile(self._reason, self._where, problem, NAME_A_FILE)
        kept = count <= KEPT_OF_A_KIND
        self.left_out += not kept
        self._kept_bytes += sys.getsizeof(name) if kept else 0
        if self._kept_bytes > KEPT_CAP_BYTES:
            problem = f"names tensors in more than {KEPT_CAP_BYTES:,} bytes"
            raise BrokenFile(self._reason, self._where, problem, NAME_A_FILE)
        return kept
