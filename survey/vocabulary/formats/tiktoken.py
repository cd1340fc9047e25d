"""tiktoken's files: on each line the bytes of a token in base64, and its rank, which is its id.

The files do not say how text is cut (code beside them does), so their tokens have texts only.
"""

from __future__ import annotations

import re

from survey.vocabulary.companions import Companions
from survey.vocabulary.entries import (
    BadVocabulary,
    Entry,
    TokenizerFiles,
    Vocabulary,
    base64_bytes,
    repeated_ids,
    spelled,
)

_LINE = re.compile(rb"[A-Za-z0-9+/]+=* [0-9]{1,9}")


def reads(name: str, content: bytes) -> bool:
    """Whether it is a list of ranks; Llama 3 names such a file tokenizer.model."""
    return name.endswith(".tiktoken") or (name.endswith(".model") and is_tiktoken(content))


def parse(files: TokenizerFiles, companions: Companions) -> Vocabulary:
    """The tokens of a list of ranks. Raises BadVocabulary."""
    return from_tiktoken(files.contents[files.main])


def is_tiktoken(content: bytes) -> bool:
    """Whether a file begins like one of tiktoken."""
    return _LINE.fullmatch(content.partition(b"\n")[0].rstrip(b"\r")) is not None


def from_tiktoken(content: bytes) -> Vocabulary:
    """Parse one token per line: its bytes in base64, then its rank. Raises BadVocabulary."""
    ranked: list[tuple[int, Entry]] = []
    for number, line in enumerate(content.splitlines(), 1):
        if not line:
            continue
        if _LINE.fullmatch(line) is None:
            raise BadVocabulary(f"line {number}: expected base64 and a rank, found {line[:40]!r}")
        data, rank = line.split(b" ")
        ranked.append((int(rank), spelled(base64_bytes(data, f"line {number}"))))
    entries = dict(ranked)
    first = max(entries, default=-1) + 1
    remark = f"its special tokens stand in code: which ids from {first:,} on are tokens is not known"
    remarks = (*repeated_ids(rank for rank, _ in ranked), remark)
    return Vocabulary(entries, None, complete=False, remarks=remarks)
