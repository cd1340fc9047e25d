"""Black holes that are no dead rows: a trained row and its copies.

A tokenizer without a padding token is often given one whose row is set to that of another token, `eos` say.
Both rows are then in a black hole, though the token was trained. Dead rows lie together with other dead ones
or are short; a copied row is as long as trained rows are, and as far as these from every other row.
"""

from __future__ import annotations

import numpy as np

from survey.onepass.result import PassResult
from survey.populations.dense_spots import CLOSER, SAMPLE, nearest_distances
from survey.populations.evenly import evenly
from survey.populations.search import LEAST_ROWS
from survey.records.measured_columns import Copies

MOST_COPIES = 4  # rows in a black hole
MOST_TRIED = 4096  # black holes; more are no copies that somebody made by hand, and take seconds to compare
USUAL = 256  # live rows that say how far apart rows usually are


def copies(result: PassResult) -> Copies:
    """Rows in black holes of a trained row and its copies; None if that cannot be told."""
    return Copies(copied_rows=_copied_rows(result))


def _copied_rows(result: PassResult) -> int | None:
    projections = result.projections
    distinct = projections.distinct
    if len(distinct) < LEAST_ROWS:
        return None
    holes = [
        rows for rows in result.black_hole_rows if len(rows) <= MOST_COPIES and projections.usable[rows[0]]
    ]
    live = distinct[~projections.dead[distinct]]
    if not holes:
        return 0
    if len(live) < LEAST_ROWS or len(holes) > MOST_TRIED:
        return None
    firsts = np.array([rows[0] for rows in holes], dtype=np.int64)
    all_firsts = projections.firsts[projections.usable[projections.firsts]][:SAMPLE]
    peers = np.union1d(evenly(distinct, SAMPLE), np.union1d(firsts, all_firsts))
    some = projections.rows[evenly(live, USUAL)]
    usual = float(np.median(nearest_distances(some, projections.rows[peers])))
    apart = nearest_distances(projections.rows[firsts], projections.rows[peers])
    least, most = np.quantile(projections.lengths[live], (0.01, 0.99))
    lengths = projections.lengths[firsts]
    is_copied = (apart >= CLOSER**2 * usual) & (lengths >= least) & (lengths <= most)
    return sum(len(rows) for rows, copied in zip(holes, is_copied.tolist(), strict=True) if copied)
