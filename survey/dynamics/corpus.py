"""Token streams that never use a whole vocabulary: generated, or from a text file."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from survey.dynamics.config import Training
from survey.errors import UsageError

GENERATED_TOKENS = 500_000
ZIPF = 1.0  # frequency ∝ 1 / rank, as words have it
FOLLOWS = 0.5  # how often a token is followed by its own successor: something to learn in context
CORPUS_CAP_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Corpus:
    """tokens: [T]. dead, live: the ids that do not occur in it, and that do, ascending."""

    tokens: NDArray[np.int64]
    dead: NDArray[np.int64]
    live: NDArray[np.int64]
    digest: str


def corpus_of(wanted: Training) -> Corpus:
    """The corpus of a run. Raises UsageError where its text cannot be used."""
    tokens = _generated(wanted) if wanted.corpus is None else _from_text(Path(wanted.corpus), wanted)
    if len(tokens) < wanted.context + 2:
        raise UsageError(
            f"{wanted.corpus or 'the corpus'} has {len(tokens)} tokens, expected more than the context "
            f"of {wanted.context}"
        )
    occurs = np.bincount(tokens, minlength=wanted.vocabulary) > 0
    if occurs.all():
        raise UsageError(
            f"{wanted.corpus or 'the corpus'} uses all {wanted.vocabulary} tokens, so none is dead; "
            "raise --vocabulary, or --dead"
        )
    digest = xxhash.xxh3_64_hexdigest(tokens.tobytes())
    return Corpus(tokens, np.flatnonzero(~occurs), np.flatnonzero(occurs), digest)


def _generated(wanted: Training) -> NDArray[np.int64]:
    """Zipfian frequencies over scattered live ids, and for each id a successor that often follows.

    Every live id occurs: a stream in the order of ids stands in front.
    """
    source = np.random.default_rng(wanted.seed)
    live = np.sort(source.permutation(wanted.vocabulary)[: wanted.vocabulary - wanted.dead])
    weights = 1.0 / np.arange(1, len(live) + 1) ** ZIPF
    by_rank = source.permutation(live)
    tokens = source.choice(by_rank, size=GENERATED_TOKENS, p=weights / weights.sum())
    successor = np.zeros(wanted.vocabulary, dtype=np.int64)
    successor[by_rank] = source.choice(by_rank, size=len(live), p=weights / weights.sum())
    follows = np.flatnonzero(source.random(GENERATED_TOKENS - 1) < FOLLOWS) + 1
    tokens[follows] = successor[tokens[follows - 1]]
    return np.concatenate([live, tokens])


def _from_text(path: Path, wanted: Training) -> NDArray[np.int64]:
    """Bytes where the vocabulary has 256 ids or fewer, else words and single signs.

    A byte beyond the vocabulary becomes a question mark, a rare word id 0.
    """
    try:
        if path.stat().st_size > CORPUS_CAP_BYTES:
            raise UsageError(f"{path}: larger than {CORPUS_CAP_BYTES >> 20} MiB; a part of it will do")
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if wanted.vocabulary <= 256:
        tokens = np.frombuffer(content, dtype=np.uint8).astype(np.int64)
        tokens[tokens >= wanted.vocabulary] = min(ord("?"), wanted.vocabulary - 1)
        return tokens
    try:
        pieces = re.findall(r"\w+|[^\w\s]|\s", content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text: {error}") from error
    room = wanted.vocabulary - wanted.dead - 1  # id 0 is every other word
    ids = {piece: rank + 1 for rank, (piece, _) in enumerate(Counter(pieces).most_common(room))}
    return np.array([ids.get(piece, 0) for piece in pieces], dtype=np.int64)
