"""`make indicators`: the detector of untrained rows beside published ones, on planted matrices: docs/undertrained.md.

The exit code is 1 if the detector misses a target anywhere: of untrained rows 95 % are flagged, and of flagged
rows 95 % are untrained, wherever a published indicator has an R-precision of 95 %; where no row is untrained,
none is flagged. Each matrix counts by itself, but for those of fewer than 100 untrained rows: all seeds of these
count together, as 95 % of twenty rows are one row.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402 - the two folders above hold what is imported below
from indicators.informed import informed  # noqa: E402
from indicators.published import Scores, precision_and_recall, published  # noqa: E402
from support.planted_rows import LOOKALIKES, TRAINED, UNTRAINED, planted  # noqa: E402

import survey  # noqa: E402

TARGET = 0.95
SIZES = ((1_000, 64), (4_000, 256), (20_000, 128), (262_144, 64), (262_144, 256))
SEEDS = {1_000: 3, 4_000: 2, 20_000: 2, 262_144: 2}
FEW_ROWS, SEEDS_OF_FEW = 100, 40  # untrained: so many matrices of 1,000 rows count together
FAINTEST, FAINTEST_SIZE = "a cone of contrast 1.4", (1_000, 64)


@dataclass(frozen=True, slots=True)
class Result:
    """Of one matrix. indicators: R-precisions of norm, cosine and L2; precision and recall of the others.

    right: how many of the flagged rows are untrained. is_known: whether our flag is known at all. informed:
    precision and recall of the rule that knows all other rows.
    """

    untrained: int
    indicators: tuple[float | None, ...]
    unsloth: Scores
    mergekit: Scores
    ours: Scores
    informed: Scores
    flagged: int
    right: int
    is_known: bool

    @property
    def best_indicator(self) -> float:
        return max(value or 0.0 for value in self.indicators)


def missed(results: Sequence[Result]) -> int:
    """How many of these matrices of one case and size miss a target; those of few untrained rows are one."""
    if results[0].untrained == 0:
        return sum(result.flagged > 0 for result in results)
    if results[0].untrained >= FEW_ROWS:
        return sum(result.best_indicator >= TARGET and not _is_enough(result.ours) for result in results)
    best = sum(result.best_indicator for result in results) / len(results)
    return int(best >= TARGET and not _is_enough(_together(results)))


def _is_enough(scores: Scores) -> bool:
    return min(value or 0.0 for value in scores) >= TARGET


def _together(results: Sequence[Result]) -> Scores:
    """Our precision and recall over the rows of several matrices."""
    right, flagged = (sum(getattr(item, name) for item in results) for name in ("right", "flagged"))
    return (right / flagged if flagged else None), right / sum(item.untrained for item in results)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make indicators", description=__doc__)
    parser.add_argument("--most-rows", type=int, default=SIZES[-1][0], help="leave larger matrices out")
    options = parser.parse_args()
    sizes = [size for size in SIZES if size[0] <= options.most_rows]
    lines, misses, faintest = [], 0, list[Result]()
    tables = (
        ("Untrained rows", UNTRAINED),
        ("Trained rows alone", TRAINED),
        ("Trained rows in the shape of untrained ones", LOOKALIKES),
    )
    for title, cases in tables:
        lines += ["", f"## {title}", "", *_head(bool(cases is UNTRAINED))]
        for name, make in cases.items():
            for rows, dims in sizes:
                results = _results(make, rows, dims)
                misses += missed(results)
                faintest = results if (name, (rows, dims)) == (FAINTEST, FAINTEST_SIZE) else faintest
                lines.append(_line(name, rows, dims, results))
                print(lines[-1], flush=True)
    (ROOT / "docs" / "undertrained.md").write_text("\n".join([*_introduction(misses, faintest), *lines, ""]))
    print(f"{misses} matrices missed a target")
    return 1 if misses else 0


def _results(make: Callable[..., object], rows: int, dims: int) -> list[Result]:
    """Of as many seeds as count."""
    results = [_result(make, seed, rows, dims) for seed in range(SEEDS[rows])]
    if rows == FAINTEST_SIZE[0] and 0 < results[0].untrained < FEW_ROWS:
        results += [_result(make, seed, rows, dims) for seed in range(len(results), SEEDS_OF_FEW)]
    return results


def _result(make: Callable[..., object], seed: int, rows: int, dims: int) -> Result:
    matrix = planted(make, seed, rows, dims)  # type: ignore[arg-type]  # a case of the tables
    others = published(matrix)
    measured = survey.measure(matrix.rows, device="cpu").tokens.undertrained
    flags = np.zeros(rows, dtype=bool) if measured is None else measured
    rules = (others.unsloth, others.mergekit, flags, informed(matrix))
    judged = [precision_and_recall(item, matrix.untrained) for item in rules]
    right, flagged = int((flags & matrix.untrained).sum()), int(flags.sum())
    indicators = (others.norm, others.cosine, others.l2)
    return Result(int(matrix.untrained.sum()), indicators, *judged, flagged, right, measured is not None)


def _head(with_untrained: bool) -> list[str]:
    if not with_untrained:
        return [
            "| matrix | V × D | seeds | falsely flagged: mergekit's rule | ours | NULL |",
            "|---|---|---|---|---|---|",
        ]
    return [
        "| untrained rows | V × D | how many | norm | cosine | L2 | unsloth | mergekit | **ours** |",
        "|---|---|---|---|---|---|---|---|---|",
    ]


def _line(name: str, rows: int, dims: int, results: Sequence[Result]) -> str:
    size = f"{rows:,} × {dims:,}"
    if results[0].untrained == 0:
        flagged = max(result.flagged for result in results)
        unknown = sum(not result.is_known for result in results)
        return f"| {name} | {size} | {len(results)} | 5 % | {flagged} | {unknown} |"
    few = results[0].untrained < FEW_ROWS
    r_precisions = [_lowest(column) for column in zip(*(item.indicators for item in results), strict=True)]
    rules = [
        " / ".join(_lowest(column) for column in zip(*pairs, strict=True))
        for pairs in zip(*((item.unsloth, item.mergekit, item.ours) for item in results), strict=True)
    ]
    if few:
        rules[-1] = " / ".join(_lowest([score]) for score in _together(results))
    return f"| {' | '.join([name, size, f'{results[0].untrained:,}', *r_precisions, *rules])} |"


def _lowest(values: Sequence[float | None]) -> str:
    """The lowest of some seeds."""
    known = [value for value in values if value is not None]
    return f"{min(known):.2f}".replace("0.", ".").replace("1.00", "1") if known else "–"


def _introduction(misses: int, faintest: Sequence[Result]) -> Iterator[str]:
    yield from (
        "# How well untrained rows are told",
        "",
        "`make indicators` writes this page. Rows that were never trained are planted into matrices in the ways in",
        "which they occur; trained rows that only look like them, too (`tests/support/planted_rows.py`). Each figure is",
        "the lowest of up to three seeds. The target is 95 % of the untrained rows flagged, and 95 % of the flagged",
        "rows untrained, wherever a published indicator has an R-precision of 95 %, and no flag if no row is",
        f"untrained: {_how_many_miss(misses)}. If fewer than {FEW_ROWS} rows are untrained, the seeds count together",
        f"(of 1,000 rows {SEEDS_OF_FEW} matrices): one of twenty rows is 5 %.",
        "",
        "- *norm*, *cosine*, *L2*: the indicators of Land and Bartolo (2024), which rank rows: R-precision, the share of",
        "  untrained rows among as many of the first as there are. The latter two are told up to fifty untrained rows.",
        "- *unsloth*: the rule of its `fix_untrained_tokens`, no element above 1e-16; *mergekit*: that of its",
        "  `well_trained_tokens`, the 5 % of rows with the shortest norm and the 5 % nearest to the known unused ones:",
        "  precision / recall, – if nothing is flagged.",
        "- *ours*: the flag `undertrained`, precision / recall. It is told nothing.",
        "",
        "Geometry alone cannot tell everything: a block of trained rows (bytes, a language) that is twice as dense",
        "as the others and lies a little nearer to the middle, or rarer words around a centre of their own, have the",
        "shape of untrained rows. Then nothing is flagged: `undertrained_rows` is NULL, unless the tokenizer decides,",
        "and `undertrained_note` says why. The last column counts the seeds of which that is so.",
        "",
        "A few long words make all other rows look short, and words met often are shorter than the rest: the same",
        "cloud in another scale. Its directions, or its centre, are the others', and then nothing is flagged: NULL.",
        "Initial values point in all directions alike, or lie around the centre of all rows with distances as random",
        "numbers have; if the trained rows do so, too (numbers of one variance around the origin), it cannot be told.",
        "Where lengths overlap, the cut leaves as many untrained rows beyond it as it takes trained ones in.",
        "",
        "Among rows of one length a language or rarer words lie in a narrow cone as untrained rows do, with the same",
        "contrast. What untrained rows have beside it is the way that all rows were moved: their cone is flagged if it",
        "lies in the direction that the others have in common, or if these have none, and if neither its rows nor the",
        "others fall into groups of their own. Of any other it is not known.",
        *_limit(faintest),
    )


def _limit(faintest: Sequence[Result]) -> Iterator[str]:
    """What can be told of the faintest cone at all."""
    if not faintest:
        return
    reached = [item for item in faintest if item.best_indicator >= TARGET]
    ours, told = (
        sum(not _is_enough(getattr(item, rule)) for item in reached) for rule in ("ours", "informed")
    )
    yield from (
        "",
        "The faintest cone, 20 rows of contrast 1.4 among 1,000 × 64, is as much as can be seen. L2 is told these rows,",
        f"and each draws the centre towards itself: so it has 95 % in {len(reached)} of {len(faintest)} matrices. Of",
        "these, a rule that is told of all *other* rows which are untrained, and how far the two kinds spread, has less",
        f"than 95 % of precision or recall in {told}, and the flag, which is told nothing, in {ours}.",
    )


def _how_many_miss(missed: int) -> str:
    if missed == 0:
        return "every matrix meets it"
    return "one matrix misses it" if missed == 1 else f"{missed} matrices miss it"


if __name__ == "__main__":
    sys.exit(main())
