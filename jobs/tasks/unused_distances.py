"""Distances to rows that are known to be unused, if a run requests them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from jobs.tasks.tokenizer import TokenizerResult
from survey.api import distances_to_unused
from survey.opening import Matrix
from survey.records.measure_definition import UNUSED_DISTANCES, versions_of
from survey.records.settings import Settings
from survey.vocabulary.unused_tokens import chosen_rows


def with_distances(
    matrix: Matrix, tokenizer: TokenizerResult, settings: Settings, on_progress: Callable[[int], None]
) -> TokenizerResult:
    """The result with the distances of every row, after two more reads of the matrix.

    Unchanged if none are requested; without distances if no row is known to be unused. Raises SurveyError if
    the matrix cannot be read again.
    """
    # Unread texts are not absent: the next run reads them.
    texts_unread = not tokenizer.measures and settings.reference is not None and settings.reference.asks_texts
    if settings.reference is None or texts_unread:
        return tokenizer
    columns = tokenizer.columns
    texts, phantom = (columns.text, columns.phantom) if columns else (None, None)
    unused = chosen_rows(settings.reference, texts, matrix.shape[0], phantom)
    result = replace(
        tokenizer,
        summary=replace(tokenizer.summary, reference_rows=len(unused)),
        measures={**tokenizer.measures, **versions_of([UNUSED_DISTANCES])},
    )
    if not unused:
        return result
    distances = distances_to_unused(matrix, unused, on_progress)
    return replace(result, distances={"unused_cosine": distances.cosine, "unused_l2": distances.l2})
