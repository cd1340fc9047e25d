"""Black holes: two or more rows whose stored bytes are identical."""

from __future__ import annotations

from survey.measures.dead_and_live import live_mean
from survey.numerics.vectors import finite_or_none
from survey.onepass.result import PassResult
from survey.onepass.row_identity import by_population
from survey.records.column_field import TokenId, UInt64
from survey.records.measured_columns import BlackHole, IdenticalRows


def identical_rows(result: PassResult) -> IdenticalRows:
    """The black holes, ranked by population, ties by smallest token id."""
    hashes = result.identity.row_hashes()
    angles = result.angles_to(live_mean(result))
    ranked = sorted(
        zip(result.black_hole_rows, angles, strict=True), key=lambda black_hole: by_population(black_hole[0])
    )
    dead_count = sum(len(rows) for rows in result.black_hole_rows)
    return IdenticalRows(
        unique_rows=result.identity.unique_rows,
        black_hole_count=len(ranked),
        black_hole_sizes=tuple(len(rows) for rows, _ in ranked),
        dead_count=dead_count,
        live_count=result.vocab_rows - dead_count,
        dead_fraction=dead_count / result.vocab_rows,
        black_holes=tuple(
            BlackHole(
                rank=rank,
                population=len(rows),
                token_ids=tuple(TokenId(row) for row in rows),
                norm=finite_or_none(result.norms[rows[0]]),
                angle_to_live_deg=angle,
                row_hash=UInt64(int(hashes[rows[0]])),
            )
            for rank, (rows, angle) in enumerate(ranked, 1)
        ),
    )
