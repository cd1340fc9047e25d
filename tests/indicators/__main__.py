"""`make indicators`: the detector of untrained rows beside published ones, on planted matrices: docs/undertrained.md.

The exit code is 1 if the detector misses a target anywhere: of untrained rows 95 % are flagged, and of flagged
rows 95 % are untrained, wherever a published indicator has an R-precision of 95 %; where no row is untrained,
none is flagged.
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
from indicators.published import precision_and_recall, published  # noqa: E402
from support.planted_rows import LOOKALIKES, TRAINED, UNTRAINED, planted  # noqa: E402

import survey  # noqa: E402

TARGET = 0.95
SIZES = ((1_000, 64), (4_000, 256), (20_000, 128), (262_144, 64), (262_144, 256))
SEEDS = {1_000: 3, 4_000: 2, 20_000: 2, 262_144: 1}


@dataclass(frozen=True, slots=True)
class Result:
    """Of one matrix. indicators: R-precisions of norm, cosine and L2; precision and recall of the others.

    is_known: whether our flag is known at all.
    """

    untrained: int
    indicators: tuple[float | None, ...]
    unsloth: tuple[float | None, float | None]
    mergekit: tuple[float | None, float | None]
    ours: tuple[float | None, float | None]
    flagged: int
    is_known: bool

    @property
    def on_target(self) -> bool:
        if self.untrained == 0:
            return self.flagged == 0
        best = max(value for value in self.indicators if value is not None)
        return best < TARGET or min(value or 0.0 for value in self.ours) >= TARGET


def main() -> int:
    parser = argparse.ArgumentParser(prog="make indicators", description=__doc__)
    parser.add_argument("--most-rows", type=int, default=SIZES[-1][0], help="leave larger matrices out")
    options = parser.parse_args()
    sizes = [size for size in SIZES if size[0] <= options.most_rows]
    lines, missed = [], 0
    tables = (
        ("Untrained rows", UNTRAINED),
        ("Trained rows alone", TRAINED),
        ("Trained rows in the shape of untrained ones", LOOKALIKES),
    )
    for title, cases in tables:
        lines += ["", f"## {title}", "", *_head(bool(cases is UNTRAINED))]
        for name, make in cases.items():
            for rows, dims in sizes:
                results = [_result(make, seed, rows, dims) for seed in range(SEEDS[rows])]
                missed += sum(not result.on_target for result in results)
                lines.append(_line(name, rows, dims, results))
                print(lines[-1], flush=True)
    (ROOT / "docs" / "undertrained.md").write_text("\n".join([*_introduction(missed), *lines, ""]))
    print(f"{missed} matrices missed a target")
    return 1 if missed else 0


def _result(make: Callable[..., object], seed: int, rows: int, dims: int) -> Result:
    matrix = planted(make, seed, rows, dims)  # type: ignore[arg-type]  # a case of the tables
    others = published(matrix)
    measured = survey.measure(matrix.rows, device="cpu").tokens.undertrained
    flags = np.zeros(rows, dtype=bool) if measured is None else measured
    judged = [
        precision_and_recall(item, matrix.untrained) for item in (others.unsloth, others.mergekit, flags)
    ]
    count, flagged = int(matrix.untrained.sum()), int(flags.sum())
    return Result(count, (others.norm, others.cosine, others.l2), *judged, flagged, measured is not None)


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
    r_precisions = [_lowest(column) for column in zip(*(item.indicators for item in results), strict=True)]
    rules = [
        " / ".join(_lowest(column) for column in zip(*pairs, strict=True))
        for pairs in zip(*((item.unsloth, item.mergekit, item.ours) for item in results), strict=True)
    ]
    return f"| {' | '.join([name, size, f'{results[0].untrained:,}', *r_precisions, *rules])} |"


def _lowest(values: Sequence[float | None]) -> str:
    """The lowest of some seeds."""
    known = [value for value in values if value is not None]
    return f"{min(known):.2f}".replace("0.", ".").replace("1.00", "1") if known else "–"


def _introduction(missed: int) -> Iterator[str]:
    yield from (
        "# How well untrained rows are told",
        "",
        "`make indicators` writes this page. Rows that were never trained are planted into matrices in the ways in",
        "which they occur; trained rows that only look like them, too (`tests/support/planted_rows.py`). Each figure is",
        "the lowest of up to three seeds. The target is 95 % of the untrained rows flagged, and 95 % of the flagged",
        "rows untrained, wherever a published indicator has an R-precision of 95 %, and no flag if no row is",
        f"untrained: {_how_many_miss(missed)}.",
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
        "The faintest cone, 20 rows of contrast 1.4 among 1,000 × 64, is as much as can be seen. L2 is told these rows,",
        "and each draws the centre towards itself. Without that, on the axis of the 19 others, three rows of one of",
        "the three matrices lie 2.5 to 3.1 standard deviations out, and so does a trained one with 2.7.",
    )


def _how_many_miss(missed: int) -> str:
    if missed == 0:
        return "every matrix meets it"
    return "one matrix misses it" if missed == 1 else f"{missed} matrices miss it"


if __name__ == "__main__":
    sys.exit(main())
