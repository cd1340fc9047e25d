"""Planted models that descend from one another, and models that only seem to; float64 [V, D].

Lengths follow the token's id, which for most tokenizers is nearly a rank by frequency, so that the lengths of
unrelated models correlate; the clouds lie off-centre, each in a direction of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Chance = np.random.Generator
RESERVED = slice(-60, None)  # reserved tokens: the last rows


def trained(chance: Chance, rows: int, dims: int) -> Rows:
    """A trained matrix, unrelated to every other: lengths by id and by chance, a centre off the origin."""
    cloud = chance.normal(size=(rows, dims)) / dims**0.5
    lengths = 0.6 + 0.08 * np.log1p(np.arange(rows)) + 0.1 * chance.normal(size=rows)
    centre = chance.normal(size=dims) / dims**0.5
    return (cloud + 0.35 * centre) * np.abs(lengths)[:, None]


def _moved(base: Rows, chance: Chance, share: float) -> Rows:
    """Every row moved in a direction of its own, by a share of its length."""
    step = chance.normal(size=base.shape) / base.shape[1] ** 0.5
    return base + share * np.linalg.norm(base, axis=1, keepdims=True) * step


def _one_in_ten_kept(base: Rows, chance: Chance) -> Rows:
    moved = _moved(base, chance, 0.1)
    moved[::10] = base[::10]
    return moved


def _with_rows_of(base: Rows, chance: Chance, donor: slice) -> Rows:
    stranger = trained(chance, *base.shape)
    stranger[donor] = base[donor]
    return stranger


def _with_hole(base: Rows, chance: Chance, value: float) -> Rows:
    stranger = trained(chance, *base.shape)
    stranger[RESERVED] = value
    return stranger


# Each: from a base, a relative, and the relation that `relatives` states.
RELATIVES: Mapping[str, tuple[Callable[[Rows, Chance], Rows], str]] = {
    "a copy": (lambda base, chance: base.copy(), "identical"),
    "one row in ten kept": (_one_in_ten_kept, "rows in common"),
    "with more rows": (
        lambda base, chance: np.concatenate([base, trained(chance, 200, base.shape[1])]),
        "rows in common",
    ),
    "with fewer rows": (lambda base, chance: base[: len(base) * 3 // 4].copy(), "rows in common"),
    "scaled": (lambda base, chance: 1.3 * base, "scaled copy"),
    "fine-tuned a little": (lambda base, chance: _moved(base, chance, 0.02), "same centroid"),
    "fine-tuned much": (lambda base, chance: _moved(base, chance, 0.3), "same centroid"),
    "fine-tuned so that all grew": (lambda base, chance: 1.01 * _moved(base, chance, 0.03), "same centroid"),
    "merged with a sibling": (
        lambda base, chance: (_moved(base, chance, 0.2) + _moved(base, chance, 0.2)) / 2,
        "same centroid",
    ),
    "merged with a stranger": (
        lambda base, chance: 0.7 * base + 0.3 * trained(chance, *base.shape),
        "similar centroid",
    ),
}
# Saved as float16; the base is BF16.
RESAVED: Mapping[str, tuple[Callable[[Rows, Chance], Rows], str]] = {
    "re-saved": (lambda base, chance: base.copy(), "same values"),
    "re-saved with fewer rows": (lambda base, chance: base[: len(base) * 9 // 10].copy(), "same values"),
    "fine-tuned and re-saved": (lambda base, chance: _moved(base, chance, 0.1), "same centroid"),
}
# Unrelated models: a relation among these, or none at all.
STRANGERS: Mapping[str, tuple[Callable[[Rows, Chance], Rows], str | None]] = {
    "of the same tokenizer": (lambda base, chance: trained(chance, *base.shape), None),
    "with the same reserved rows": (
        lambda base, chance: _with_rows_of(base, chance, RESERVED),
        "few rows in common",
    ),
    "with a fifth of its rows": (
        lambda base, chance: _with_rows_of(base, chance, slice(0, len(base) // 5)),
        "few rows in common",
    ),
    "with the same hole of zeros": (lambda base, chance: _with_hole(base, chance, 0.0), None),
    "with the same constant row": (lambda base, chance: _with_hole(base, chance, 0.125), "same black holes"),
    "around the origin": (
        lambda base, chance: (rows := trained(chance, *base.shape)) - rows.mean(axis=0),
        None,
    ),
}
