"""What the report knows of each model: its row, its point in the charts, its card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from catalog.read.reader import Reader
from queries.histograms import exponent_counts, norm_counts
from queries.text.card import FACTS
from queries.text.render import json_value

SHOWN_BLACK_HOLES = 8  # in a card
_KEY = ("repo", "sha", "matrix")
_CHOSEN = "(select * from models order by measured_at desc, repo, sha, matrix limit $limit)"


@dataclass(frozen=True, slots=True)
class Model:
    """One row of the view `models`, and what of it the page shows.

    norms: rows in each bar of `NORM_STEP` medians, the last one for all beyond.
    exponents: `first`, and the counts `dead` and `live` from there on.
    card: JSON for the page's script.
    """

    row: dict[str, Any]
    norms: list[int] | None
    exponents: dict[str, Any] | None
    card: dict[str, Any]
    hole_columns: tuple[str, ...]
    link: str

    @property
    def point(self) -> dict[str, Any] | None:
        """The model in the charts that show one point for each."""
        row = self.row
        if row["centroid_ratio"] is None:
            return None
        dead, live = row["dead_centroid_l2"], row["live_centroid_l2"]
        return {
            "repo": self.card["title"],
            "family": row["family"] or "(unknown)",
            "ratio": brief(row["centroid_ratio"]),
            "angle": brief(row["dead_live_angle_deg"]),
            "dead": row["dead_count"],
            "relative": brief(dead / live) if live and dead is not None else None,
            "card": self.link,
        }


def gather(reader: Reader, limit: int, tell: Callable[[str], None]) -> tuple[list[Model], int]:
    """The models measured last, by name, and how many there are in all."""
    answer = reader.ask(f"select * from {_CHOSEN} order by repo, matrix, sha", {"limit": limit})
    rows = [dict(zip(answer.names, row, strict=True)) for row in answer.rows]
    ((total,),) = reader.ask("select count(*) from models").rows
    tell(f"reading the norms of {len(rows)} models")
    norms = norm_counts(reader, _CHOSEN, {"limit": limit})
    exponents = exponent_counts(reader, _CHOSEN, {"limit": limit})
    holes, hole_columns = _holes(reader, limit)
    made = []
    for number, row in enumerate(rows):
        key = tuple(row[name] for name in _KEY)
        counts = exponents.get(key)
        card = {
            "title": _title(row),
            "facts": [brief(row[name]) for name in FACTS],
            "norms": norms.get(key),
            "exponents": counts,
            "holes": holes.get(key, []),
            "more_holes": max(0, row["black_hole_count"] - SHOWN_BLACK_HOLES),
        }
        made.append(Model(row, norms.get(key), counts, card, hole_columns, f"#card-{number}"))
    return made, total


def brief(value: Any) -> Any:  # Any: whatever SQL returns
    """A value as JSON with six digits: a page is read by people, and stays small."""
    if isinstance(value, datetime):
        return value.isoformat(" ", "minutes")
    plain = json_value(value)
    return float(f"{plain:.6g}") if isinstance(plain, float) else plain


def _holes(reader: Reader, limit: int) -> tuple[dict[tuple[Any, ...], list[list[Any]]], tuple[str, ...]]:
    columns = [
        "rank",
        "population",
        "norm",
        "angle_to_live_deg",
        "token_ids[1:4] as first_tokens",
        "texts[1:4] as first_texts",
    ]
    answer = reader.ask(
        f"select repo, sha, matrix, {', '.join(columns)} from black_holes "
        f"join (select repo, sha, matrix from {_CHOSEN}) using (repo, sha, matrix) "
        f"where rank <= {SHOWN_BLACK_HOLES} order by repo, sha, matrix, rank",
        {"limit": limit},
    )
    black_holes: dict[tuple[Any, ...], list[list[Any]]] = {}
    for repo, sha, matrix, *hole in answer.rows:
        black_holes.setdefault((repo, sha, matrix), []).append([brief(value) for value in hole])
    return black_holes, tuple(answer.names[3:])


def _title(row: dict[str, Any]) -> str:
    plain = row["revision"] == "main" or row["sha"].startswith("local-")
    revision = "" if plain else f"@{row['revision']}"
    side = "" if row["matrix"] == "output" else f" ({row['matrix']})"
    return f"{row['repo']}{revision}{side}"
