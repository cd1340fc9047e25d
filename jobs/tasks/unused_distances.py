"""Distances to rows that are known to be unused, if a run requests them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from jobs.tasks.tokenizer import TokenizerResult
from survey.api import distances_to_unused
from survey.opening import Matrix
from survey.records.measure_definition import UNUSED_DISTANCES, versions_of
from survey.records.settings import Settings
from survey.records.tokenizer import TokenizerSummary, TokenTexts
from survey.vocabulary.unused_tokens import chosen_rows


@dataclass(frozen=True, slots=True)
class TokenColumns:
    """Columns from a tokenizer, and distances to rows that it leaves unused. measures: name -> version."""

    naming: TokenizerSummary
    names: TokenTexts | None
    distances: Mapping[str, NDArray[np.float64]]
    measures: Mapping[str, int]


def with_distances(
    matrix: Matrix, tokenizer: TokenizerResult, settings: Settings, on_progress: Callable[[int], None]
) -> TokenColumns:
    """The distances of every row, [V] each, after two more reads of the matrix.

    Empty if none are requested, or no row is known to be unused. Raises SurveyError if the matrix cannot be
    read again.
    """
    # Unread texts are not absent: the next run reads them.
    texts_unread = not tokenizer.measures and settings.reference is not None and settings.reference.asks_texts
    if settings.reference is None or texts_unread:
        return TokenColumns(tokenizer.naming, tokenizer.names, {}, tokenizer.measures)
    texts = tokenizer.names.text if tokenizer.names else None
    unused = chosen_rows(settings.reference, texts, matrix.shape[0])
    naming = replace(tokenizer.naming, reference_rows=len(unused))
    measures = {**tokenizer.measures, **versions_of([UNUSED_DISTANCES])}
    if not unused:
        return TokenColumns(naming, tokenizer.names, {}, measures)
    distances = distances_to_unused(matrix, unused, on_progress)
    return TokenColumns(
        naming, tokenizer.names, {"unused_cosine": distances.cosine, "unused_l2": distances.l2}, measures
    )
