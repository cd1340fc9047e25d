"""Black holes: two or more rows whose stored bytes are identical."""

from __future__ import annotations

from survey.measures.dead_and_live import live_mean
from survey.numerics.vectors import number
from survey.onepass.result import PassResult
from survey.records.columns import TokenId, UInt64
from survey.records.measurement import BlackHole, IdenticalRows


def identical_rows(folded: PassResult) -> IdenticalRows:
    """The black holes, ranked by population, ties by smallest token id."""
    hashes = folded.identity.row_hashes()
    angles = folded.angles_to(live_mean(folded))
    ranked = sorted(zip(folded.members, angles, strict=True), key=lambda hole: (-len(hole[0]), hole[0][0]))
    dead_count = sum(len(rows) for rows in folded.members)
    return IdenticalRows(
        unique_rows=folded.identity.unique_rows,
        black_hole_count=len(ranked),
        black_hole_sizes=tuple(len(rows) for rows, _ in ranked),
        dead_count=dead_count,
        live_count=folded.vocab_rows - dead_count,
        dead_fraction=dead_count / folded.vocab_rows,
        black_holes=tuple(
            BlackHole(
                rank=rank,
                population=len(rows),
                token_ids=tuple(TokenId(row) for row in rows),
                norm=number(folded.norms[rows[0]]),
                angle_to_live_deg=angle,
                row_hash=UInt64(int(hashes[rows[0]])),
            )
            for rank, (rows, angle) in enumerate(ranked, 1)
        ),
    )
