"""Vocabularies that list the bytes of each token by rank: tiktoken's files and Mistral's tekken.json.

The files do not say how text is cut (code beside them does), so their tokens have texts only.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from survey.errors import storable
from survey.vocabulary.entries import BadVocabulary, Entry, Vocabulary, is_id, spelled

MAX_SPECIAL_TOKENS = 1 << 16  # Mistral has 1,000; a short file could claim any number
_LINE = re.compile(rb"[A-Za-z0-9+/]+=* [0-9]{1,9}")


def is_tiktoken(content: bytes) -> bool:
    """Whether a file begins like one of tiktoken (Llama 3 names such a file tokenizer.model)."""
    return _LINE.fullmatch(content.partition(b"\n")[0].rstrip(b"\r")) is not None


def from_tiktoken(content: bytes) -> Vocabulary:
    """Parse one token per line: its bytes in base64, then its rank. Raises BadVocabulary."""
    entries: dict[int, Entry] = {}
    for number, line in enumerate(content.splitlines(), 1):
        if not line:
            continue
        if _LINE.fullmatch(line) is None:
            raise BadVocabulary(f"line {number}: expected base64 and a rank, found {line[:40]!r}")
        data, rank = line.split(b" ")
        entries[int(rank)] = spelled(_unpacked(data, f"line {number}"))
    first = max(entries, default=-1) + 1
    remark = f"its special tokens stand in code: which ids from {first:,} on are tokens is not known"
    return Vocabulary(entries, None, complete=False, remarks=(remark,))


def from_tekken(content: Mapping[str, Any]) -> Vocabulary:
    """Parse a tekken.json: special tokens have the first ids, then come the ranks. Raises BadVocabulary."""
    config, vocab = content.get("config"), content.get("vocab")
    if not isinstance(config, Mapping) or not isinstance(vocab, list):
        raise BadVocabulary("expected config and vocab")
    specials = config.get("default_num_special_tokens", 1000)
    size = config.get("default_vocab_size")
    if not is_id(specials) or specials > MAX_SPECIAL_TOKENS:
        raise BadVocabulary(f"default_num_special_tokens is {specials!r}")
    limit = size - specials if isinstance(size, int) else len(vocab)
    entries: dict[int, Entry] = {}
    for item in vocab[: max(limit, 0)]:
        rank, text = (
            (item.get("rank"), item.get("token_bytes")) if isinstance(item, Mapping) else (None, None)
        )
        if not is_id(rank) or not isinstance(text, str):
            raise BadVocabulary(f"vocab holds {str(item)[:80]}, expected rank and token_bytes")
        entries[specials + rank] = spelled(_unpacked(text.encode(), f"rank {rank}"))
    entries |= {number: spelled(b"<SPECIAL_%d>" % number, special=True) for number in range(specials)}
    named = content.get("special_tokens")
    for item in named if isinstance(named, list) else ():
        rank, text = _pair(item, "token_str")
        if rank is not None and rank < specials and text is not None:
            entries[rank] = spelled(storable(text).encode(), special=True)
    return Vocabulary(entries, None)


def _pair(item: Any, name: str) -> tuple[int | None, str | None]:  # Any: JSON
    if not isinstance(item, Mapping):
        return None, None
    rank, text = item.get("rank"), item.get(name)
    return (rank if is_id(rank) else None), (text if isinstance(text, str) else None)


def _unpacked(data: bytes, where: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadVocabulary(f"{where}: not base64: {error}") from error
