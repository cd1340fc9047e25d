"""Token streams that leave a part of the vocabulary unused: generated, or from a text file."""

from __future__ import annotations

import errno
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from survey.dynamics.config import Training
from survey.errors import UsageError
from survey.process.bounded_file import read_named

GENERATED_TOKENS = 500_000
ZIPF = 1.0  # frequency ∝ 1 / rank, as of words
FOLLOWS = 0.5  # share of tokens that are followed by their own successor: something to learn in context
CORPUS_CAP_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Corpus:
    """tokens: [T]. dead, live: the ids that do not occur in it, and those that do, ascending."""

    tokens: NDArray[np.int64]
    dead: NDArray[np.int64]
    live: NDArray[np.int64]
    digest: str


def corpus_of(config: Training) -> Corpus:
    """The corpus of a run. Raises UsageError if its text cannot be used."""
    tokens = _generated(config) if config.corpus is None else _from_text(Path(config.corpus), config)
    if len(tokens) < config.context + 2:
        raise UsageError(
            f"{config.corpus or 'the corpus'} has {len(tokens)} tokens, expected more than the context "
            f"of {config.context}"
        )
    occurs = np.bincount(tokens, minlength=config.vocabulary) > 0
    if occurs.all():
        raise UsageError(
            f"{config.corpus or 'the corpus'} uses all {config.vocabulary} tokens, so none is dead; "
            "raise --vocabulary, or --dead"
        )
    digest = xxhash.xxh3_64_hexdigest(tokens.tobytes())
    return Corpus(tokens, np.flatnonzero(~occurs), np.flatnonzero(occurs), digest)


def _generated(config: Training) -> NDArray[np.int64]:
    """Ids [T] with Zipfian frequencies over scattered live ids; each has a successor that often follows it.

    Every live id occurs: all of them in order begin the stream.
    """
    source = np.random.default_rng(config.seed)
    live = np.sort(source.permutation(config.vocabulary)[: config.vocabulary - config.dead])
    weights = 1.0 / np.arange(1, len(live) + 1) ** ZIPF
    by_rank = source.permutation(live)
    tokens = source.choice(by_rank, size=GENERATED_TOKENS, p=weights / weights.sum())
    successor = np.zeros(config.vocabulary, dtype=np.int64)
    successor[by_rank] = source.choice(by_rank, size=len(live), p=weights / weights.sum())
    follows = np.flatnonzero(source.random(GENERATED_TOKENS - 1) < FOLLOWS) + 1
    tokens[follows] = successor[tokens[follows - 1]]
    return np.concatenate([live, tokens])


def _from_text(path: Path, config: Training) -> NDArray[np.int64]:
    """The text as ids [T]: bytes if the vocabulary has 256 ids or fewer, else words and single signs.

    A byte beyond the vocabulary becomes a question mark, a rare word id 0.
    """
    try:
        content = read_named(path, CORPUS_CAP_BYTES)
    except OSError as error:
        advice = "; a part of it will do" if error.errno == errno.EFBIG else ""
        raise UsageError(f"{path}: cannot be read: {error.strerror}{advice}") from error
    if config.vocabulary <= 256:
        tokens = np.frombuffer(content, dtype=np.uint8).astype(np.int64)
        tokens[tokens >= config.vocabulary] = min(ord("?"), config.vocabulary - 1)
        return tokens
    try:
        pieces = re.findall(r"\w+|[^\w\s]|\s", content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text: {error}") from error
    common = config.vocabulary - config.dead - 1  # id 0 is every other word
    ids = {piece: rank + 1 for rank, (piece, _) in enumerate(Counter(pieces).most_common(common))}
    return np.array([ids.get(piece, 0) for piece in pieces], dtype=np.int64)
