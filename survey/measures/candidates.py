"""Which populations of rows that lie close together count as undertrained.

Trained rows may lie close together, too: a thousand numbers, the bytes, a language, rarer words around a
centre of their own. Rows that only common gradients moved are shorter than the others, and as close to each
other as their initial values were; trained rows are at most 2.6 times as close as others. So

- a population outside, as far from the other rows' mean as these themselves, and no shorter, is trained,
  unless it is too large for a block of alike words, or closer together than any words lie;
- one of initial values, around the origin or around the others' centre, or one that is dense was not trained.
  Among rows of one length it is a cone that was moved the way that all rows have in common: words of a kind
  have a direction of their own. It counts, too, if the others have no direction in common, as trained words
  would;
- of any other it cannot be told. Neither if it holds most rows and lies little apart, or may be words beside
  a few that are longer; nor if it is the others' cloud in a smaller scale and not very dense; nor if several
  lie far out: languages, say, or rows that were never met.

If the tokenizer names at least half of a population's tokens as nothing that a text holds, they are no words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from survey.populations.population import DENSEST, MAJORITY, MAJORITY_FARTHER, NEARLY_ALL
from survey.records.measured_columns import UndertrainedPopulation

OUTSIDE = 0.9  # of the other rows' median distance from their centre: as far as these lie
NO_SHORTER = 0.8  # of the other rows' median norm
LARGE, LARGE_ROWS = 1 / 8, 320  # of all rows, and more than 256 bytes: no block of alike words is so large
FAR_OUT, NOT_SHORT = 0.7, 0.5  # as OUTSIDE and NO_SHORTER: two populations like that are clusters
RESERVED = 0.5  # of a population's rows: then they are no words
# Times closer to each other than the other rows are. The latter around the origin, as scales of one cloud are
# that differ tenfold, and if they are as long as LONG of the others' median norm, as blocks of words may be.
DENSE, VERY_DENSE, LONG = 3.0, 8.0, 0.7

CLUSTERS = (
    "several populations lie far from the other rows' centre: whether they are clusters of trained rows or "
    "were never trained cannot be told"
)
UNDECIDED = "most rows lie closer together than the few others: which of them were trained cannot be told"
LOOSE = (
    "rows lie closer together than the others, but no closer than trained rows may, such as bytes, a "
    "language or rarer words: whether they were trained cannot be told"
)


def judged(described: Sequence[UndertrainedPopulation]) -> tuple[UndertrainedPopulation, ...]:
    """Whether the rows of each count as undertrained; None if that cannot be told."""
    in_clusters = _in_clusters(described)
    in_scales = any(item.shape in ("scale", "most") for item in described)
    return tuple(replace(item, candidate=_is_candidate(item, in_clusters, in_scales)) for item in described)


def undecided_note(described: Sequence[UndertrainedPopulation]) -> str | None:
    """Why it is not known which rows count, if it is not; described: judged.

    Populations that are dense count whatever some loose rows are.
    """
    undecided = [item for item in described if item.candidate is None]
    candidates = [item for item in described if item.candidate]
    if any(_is_loose_majority(item) or (not candidates and _is_nearly_all(item)) for item in undecided):
        return UNDECIDED
    if any(_is_cluster(item) for item in undecided) and _in_clusters(described):
        return CLUSTERS
    loose = [item for item in undecided if not _is_nearly_all(item)]
    if not loose or any(_is_dense(item) for item in candidates):
        return None
    return f"{sum(item.rows for item in loose)} {LOOSE}"


def remark(described: Sequence[UndertrainedPopulation]) -> str | None:
    """Which rows are not counted, if some lie close together; described: judged."""
    left_out = sum(item.rows for item in described if item.candidate is False)
    loose = sum(item.rows for item in described if item.candidate is None and not _is_nearly_all(item))
    remarks = []
    if left_out:
        remarks.append(
            f"{left_out} rows lie close together, but outside and no shorter than the others, as trained "
            "rows do: they are not counted"
        )
    if loose:
        remarks.append(f"{loose} {LOOSE}, and they are not counted")
    return "; ".join(remarks) or None


def _is_candidate(item: UndertrainedPopulation, in_clusters: bool, in_scales: bool) -> bool | None:
    """in_clusters: whether several populations lie far out. in_scales: whether one is a scale of others."""
    if _is_reserved(item):
        return True
    if _is_loose_majority(item) or _is_nearly_all(item):
        return None
    if item.shape == "middle":
        return None if in_scales else True
    if item.shape != "cone" and _is_far_out(item, OUTSIDE, NO_SHORTER) and not _is_no_block(item):
        return False
    if in_clusters and _is_cluster(item):
        return None
    return True if item.shape in ("initial values", "cone") or _is_dense(item) else None


def _is_reserved(item: UndertrainedPopulation) -> bool:
    return item.reserved_share is not None and item.reserved_share >= RESERVED


def _is_loose_majority(item: UndertrainedPopulation) -> bool:
    """Together with the next as `Population.is_undecided`."""
    return item.compared_share > MAJORITY and item.contrast is not None and item.contrast < MAJORITY_FARTHER


def _is_nearly_all(item: UndertrainedPopulation) -> bool:
    """Whether the others are so few that they may be the odd ones: of all other rows they tell nothing."""
    is_sparse = item.compared_share > NEARLY_ALL and not _is_densest(item)
    return is_sparse or item.shape == "most"


def _is_large(item: UndertrainedPopulation) -> bool:
    return item.compared_share >= LARGE and item.rows >= LARGE_ROWS


def _is_no_block(item: UndertrainedPopulation) -> bool:
    """Whether it is too large or too dense for a block of alike words."""
    return _is_large(item) or _is_densest(item)


def _is_densest(item: UndertrainedPopulation) -> bool:
    return item.density is None or item.density >= DENSEST  # None: infinitely many times


def _is_dense(item: UndertrainedPopulation) -> bool:
    is_block = (item.relative_norm or 0.0) >= LONG and not _is_large(item)
    least = VERY_DENSE if is_block or item.shape in ("origin", "scale") else DENSE
    return item.density is None or item.density >= least


def _in_clusters(described: Sequence[UndertrainedPopulation]) -> bool:
    return sum(_is_cluster(item) and not _is_reserved(item) for item in described) > 1


def _is_cluster(item: UndertrainedPopulation) -> bool:
    is_far_out = item.shape == "cone" or _is_far_out(item, FAR_OUT, NOT_SHORT)
    return is_far_out and not _is_densest(item)


def _is_far_out(item: UndertrainedPopulation, distance: float, length: float) -> bool:
    return (item.centre_distance or 0.0) >= distance and (item.relative_norm or 0.0) >= length
