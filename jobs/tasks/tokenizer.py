"""The texts of the rows of a matrix, from the tokenizer of the same commit.

A model without a tokenizer, or with one that cannot be read or exceeds its limits, is measured all the same:
its texts are NULL and a note says why. If another try may end differently (the network failed, the time was
short), the next run reads the tokenizer again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from survey.checkpoints.checkpoint import Checkpoint
from survey.checkpoints.tokenizer_files import names_limit_bytes
from survey.errors import SurveyError
from survey.records.measure_definition import TOKENIZER, versions_of
from survey.records.measured_columns import Measurement
from survey.records.target import Target
from survey.records.tokenizer import TokenColumns, TokenizerSummary
from survey.vocabulary.entries import BadVocabulary
from survey.vocabulary.fetch import listed_key, read_companion_files, read_tokenizer
from survey.vocabulary.process.isolation import (
    WALL_S,
    SharedTables,
    TokenizerFailed,
    TokenizerLimits,
    find_table,
    read_token_table,
)
from survey.vocabulary.token_texts import token_texts, without_tokenizer

_MEASURES = versions_of([TOKENIZER])
# The repository itself is broken, so another try would end alike; other reasons may pass.
_LASTING = frozenset({"bad-header", "not-found"})


@dataclass(frozen=True, slots=True)
class TokenizerResult:
    """A tokenizer's columns of a matrix and of its rows.

    columns: None if no tokenizer can be read. measures: name -> version; empty if the next run must read the
    tokenizer again. distances: unused_cosine and unused_l2, [V] each, if the run requests them.
    """

    summary: TokenizerSummary
    columns: TokenColumns | None
    measures: Mapping[str, int]
    distances: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


def tokenizer_of_target(
    checkpoint: Checkpoint,
    target: Target,
    measurement: Measurement,
    left_s: float,
    shared: SharedTables | None = None,
) -> TokenizerResult:
    """The texts of a matrix that was just measured. left_s: the time limit in seconds."""
    black_hole_rows = [black_hole.token_ids for black_hole in measurement.black_holes]
    return tokenizer_of_matrix(
        checkpoint, dict(target.tokenizer_files), measurement.vocab_rows, black_hole_rows, left_s, shared
    )


def tokenizer_of_matrix(
    checkpoint: Checkpoint,
    files: Mapping[str, int],
    rows: int,
    black_hole_rows: Sequence[Sequence[int]],
    left_s: float,
    shared: SharedTables | None = None,
) -> TokenizerResult:
    """The texts of a matrix of V = `rows` rows. left_s: the time limit in seconds.

    files: those of `tokenizer_files`, with their sizes. black_hole_rows: row lists by rank. shared: tables
    that others have named.
    """
    if not files:
        return TokenizerResult(
            without_tokenizer("the repository holds no tokenizer that we know"), None, _MEASURES
        )
    main, until = next(iter(files)), time.monotonic() + left_s
    try:
        companions = read_companion_files(checkpoint, files)
        key = listed_key(checkpoint, files, companions)
        table = None if key is None else find_table(key, rows, shared)
        if table is not None:  # the file with the vocabulary is not even fetched
            return TokenizerResult(*token_texts(table, main, rows, black_hole_rows), _MEASURES)
        tokenizer = read_tokenizer(checkpoint, files, companions)
        limits = TokenizerLimits(names_limit_bytes(files), wall_s=min(WALL_S, until - time.monotonic()))
        table = read_token_table(tokenizer, rows, limits, shared)
        return TokenizerResult(*token_texts(table, main, rows, black_hole_rows), _MEASURES)
    except BadVocabulary as error:
        return TokenizerResult(without_tokenizer(f"{main}: {error}"), None, _MEASURES)
    except TokenizerFailed as error:
        return TokenizerResult(
            without_tokenizer(f"{main}: {error}"), None, _MEASURES if error.lasting else {}
        )
    except SurveyError as error:
        lasting = error.reason in _LASTING
        return TokenizerResult(
            without_tokenizer(f"{error.reason}: {error}"), None, _MEASURES if lasting else {}
        )
