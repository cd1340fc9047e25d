"""Names for the rows of a matrix, from the tokenizer of the same commit.

A model without a tokenizer, or with one that cannot be read, is measured all the same: its names
are NULL and a note says why. Where the network failed, nothing is noted, and the next run asks again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from survey.checkpoint import Checkpoint
from survey.errors import SurveyError
from survey.measurement import Measurement, Naming, TokenNames
from survey.measures.names import NAMES, name_rows, nameless
from survey.target import Target
from survey.vocabulary.entries import BadVocabulary
from survey.vocabulary.read import read_vocabulary

# The repository itself is broken, so asking again would give the same; all else may pass.
_LASTING = frozenset({"bad-header", "not-found"})


@dataclass(frozen=True, slots=True)
class Named:
    """What the tokenizer says. measures: empty where it has to be asked again."""

    naming: Naming
    names: TokenNames | None
    measures: Mapping[str, int]


def name_target(checkpoint: Checkpoint, target: Target, measurement: Measurement) -> Named:
    """Names of a matrix that was just measured."""
    holes = [hole.token_ids for hole in measurement.black_holes]
    return name_matrix(checkpoint, dict(target.tokenizer_files), measurement.vocab_rows, holes)


def name_matrix(
    checkpoint: Checkpoint, files: Mapping[str, int], rows: int, black_holes: Sequence[Sequence[int]]
) -> Named:
    """Names of a matrix of V = `rows` rows. files: of `tokenizer_files`. black_holes: rows, by rank."""
    if not files:
        return Named(nameless("the repository holds no tokenizer that we know"), None, NAMES)
    try:
        vocabulary = read_vocabulary(checkpoint, files)
        return Named(*name_rows(vocabulary, next(iter(files)), rows, black_holes), NAMES)
    except BadVocabulary as error:
        return Named(nameless(str(error)), None, NAMES)
    except SurveyError as error:
        lasting = error.reason in _LASTING
        return Named(nameless(f"{error.reason}: {error}"), None, NAMES if lasting else {})
