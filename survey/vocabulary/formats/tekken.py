"""Mistral's tekken.json: the bytes of each token in base64, by rank, and the special tokens.

The file does not say how text is cut (code beside it does), so its tokens have texts only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from survey.errors import storable
from survey.vocabulary.companions import Companions
from survey.vocabulary.entries import (
    BadVocabulary,
    Entry,
    TokenizerFiles,
    Vocabulary,
    base64_bytes,
    is_id,
    json_object,
    repeated_ids,
    spelled,
)

MAX_SPECIAL_TOKENS = 1 << 16  # Mistral has 1,000; a short file could claim any number


def reads(name: str, content: bytes) -> bool:
    """Whether it is a tekken.json."""
    return name == "tekken.json"


def parse(files: TokenizerFiles, companions: Companions) -> Vocabulary:
    """The tokens of a tekken.json. Raises BadVocabulary."""
    return from_tekken(json_object(files.contents[files.main]))


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
    ranked: list[tuple[int, Entry]] = []
    for item in vocab[: max(limit, 0)]:
        rank, text = (
            (item.get("rank"), item.get("token_bytes")) if isinstance(item, Mapping) else (None, None)
        )
        if not is_id(rank) or not isinstance(text, str):
            raise BadVocabulary(f"vocab holds {str(item)[:80]}, expected rank and token_bytes")
        ranked.append((specials + rank, spelled(base64_bytes(text.encode(), f"rank {rank}"))))
    entries = dict(ranked)
    entries |= {number: spelled(b"<SPECIAL_%d>" % number, special=True) for number in range(specials)}
    named = content.get("special_tokens")
    for item in named if isinstance(named, list) else ():
        rank, text = _pair(item, "token_str")
        if rank is not None and rank < specials and text is not None:
            entries[rank] = spelled(storable(text).encode(), special=True)
    return Vocabulary(entries, None, remarks=repeated_ids(number for number, _ in ranked))


def _pair(item: Any, name: str) -> tuple[int | None, str | None]:  # Any: JSON
    if not isinstance(item, Mapping):
        return None, None
    rank, text = item.get("rank"), item.get(name)
    return (rank if is_id(rank) else None), (text if isinstance(text, str) else None)
