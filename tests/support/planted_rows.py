"""Matrices in which it is known which rows were never trained, and others in which none is.

Each case is one way in which rows stay untrained, or in which trained rows look as if they were. The rows
stand in random order, so that neither their numbers nor their neighbours give them away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Draw = np.random.Generator
Planted = tuple[Rows, Rows]  # the untrained rows and the trained ones


@dataclass(frozen=True, slots=True)
class PlantedMatrix:
    """rows: [V, D], float32. untrained: which of them are, [V]."""

    rows: NDArray[np.float32]
    untrained: NDArray[np.bool_]


def planted(make: Callable[[Draw, int, int], Planted], seed: int, rows: int, dims: int) -> PlantedMatrix:
    """A matrix [V, D] of one case, its rows in random order."""
    draw = np.random.default_rng([seed, rows, dims])
    untrained, trained = make(draw, rows, dims)
    order = draw.permutation(rows)
    is_untrained = np.zeros(rows, dtype=bool)
    is_untrained[: len(untrained)] = True
    together = np.concatenate([untrained, trained]).astype(np.float32)
    return PlantedMatrix(together[order], is_untrained[order])


def _normal(draw: Draw, rows: int, dims: int) -> Rows:
    """Rows of length about 1."""
    drawn: Rows = draw.normal(size=(rows, dims)) / np.sqrt(dims)
    return drawn


def _direction(draw: Draw, dims: int) -> Rows:
    vector: Rows = draw.normal(size=dims)
    direction: Rows = vector / np.linalg.norm(vector)
    return direction


def _units(rows: Rows) -> Rows:
    lengths: Rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return lengths


def _around(draw: Draw, centre: Rows, spread: float, rows: int) -> Rows:
    return centre + spread * _normal(draw, rows, len(centre))


def _live(draw: Draw, rows: int, dims: int) -> Rows:
    """Trained rows: lengths that vary by 15 %, off the origin."""
    lengths = np.exp(0.15 * draw.normal(size=(rows, 1)))
    return lengths * _normal(draw, rows, dims) + 0.35 * _direction(draw, dims)


def _few(count: int, distance: float = 0.3) -> Callable[[Draw, int, int], Planted]:
    """A handful of rows, fifty times closer together than the others."""
    return lambda draw, rows, dims: (
        _around(draw, distance * _direction(draw, dims), 0.02, count),
        _normal(draw, rows - count, dims),
    )


def _initial(ratio: float, count: int) -> Callable[[Draw, int, int], Planted]:
    """Rows that kept what they were initialised with, around the origin."""
    return lambda draw, rows, dims: (
        ratio * 1.06 * _normal(draw, count, dims),
        _live(draw, rows - count, dims),
    )


def _near_zero_and_drifted(draw: Draw, rows: int, dims: int) -> Planted:
    few, more = rows // 80, rows // 25
    near_zero = 0.02 * _normal(draw, more, dims)
    drifted = _around(draw, 0.4 * _direction(draw, dims), 0.05, few)
    return np.concatenate([near_zero, drifted]), _normal(draw, rows - few - more, dims)


def _three_populations(draw: Draw, rows: int, dims: int) -> Planted:
    untrained, trained = _near_zero_and_drifted(draw, rows, dims)
    third = _around(draw, 0.6 * _direction(draw, dims), 0.1, rows // 50)
    return np.concatenate([untrained, third]), trained[len(third) :]


def _share(share: float) -> Callable[[Draw, int, int], Planted]:
    """A large tokenizer on a small corpus: a share of the rows was never met."""

    def make(draw: Draw, rows: int, dims: int) -> Planted:
        count = int(share * rows)
        centre = 0.37 * _direction(draw, dims)
        return _around(draw, centre, 0.05, count), _normal(draw, rows - count, dims)

    return make


def _kept(share: float) -> Callable[[Draw, int, int], Planted]:
    """A share of the rows kept what they were initialised with."""

    def make(draw: Draw, rows: int, dims: int) -> Planted:
        count = int(share * rows)
        return 0.3 * _normal(draw, count, dims), _live(draw, rows - count, dims)

    return make


def _among(make: Callable[[Draw, int, int], Planted], count: int) -> Callable[[Draw, int, int], Planted]:
    """Rows that kept their initial values, 0.4 of the length of trained ones."""

    def planted_among(draw: Draw, rows: int, dims: int) -> Planted:
        _, trained = make(draw, rows - count, dims)
        length = float(np.median(np.linalg.norm(trained, axis=1)))
        return 0.4 * length * _normal(draw, count, dims), trained

    return planted_among


def _varied(draw: Draw, rows: int, dims: int) -> Planted:
    """Trained rows whose lengths vary by 30 %."""
    lengths = np.exp(0.3 * draw.normal(size=(rows, 1)))
    return _none(lengths * _normal(draw, rows, dims) + 0.35 * _direction(draw, dims))


def _kept_in_the_middle(draw: Draw, rows: int, dims: int) -> Planted:
    """Initial values that were moved as far as all rows were: around the same centre."""
    centre, count = 0.5 * _direction(draw, dims), rows // 10
    lengths = np.exp(0.2 * draw.normal(size=(rows - count, 1)))
    return _around(draw, centre, 0.35, count), centre + lengths * _normal(draw, rows - count, dims)


def cones(spread: float, share: float = 0.02) -> Callable[[Draw, int, int], Planted]:
    """Rows of length 1: trained ones in a wide cone, untrained ones in a narrower one."""

    def make(draw: Draw, rows: int, dims: int) -> Planted:
        count = int(share * rows)
        wide, axis = _direction(draw, dims), _direction(draw, dims)
        narrow = _units(0.5 * wide + 0.9 * axis[None])[0]
        return (
            _units(_around(draw, narrow, spread, count)),
            _units(_around(draw, 0.5 * wide, 1.0, rows - count)),
        )

    return make


def _cone_on_the_way_of_all(draw: Draw, rows: int, dims: int) -> Planted:
    """Rows of length 1: the untrained ones were moved the same way as all, and less in others."""
    wide, count = _direction(draw, dims), rows // 10
    return (
        _units(_around(draw, wide, 0.5, count)),
        _units(_around(draw, 0.5 * wide, 1.0, rows - count)),
    )


def _cone_apart(draw: Draw, rows: int, dims: int) -> Planted:
    """Rows of length 1 in all directions alike, and untrained ones in a cone."""
    count = rows // 10
    return (
        _units(_around(draw, _direction(draw, dims), 0.7, count)),
        _units(_normal(draw, rows - count, dims)),
    )


def _tied(draw: Draw, rows: int, dims: int) -> Planted:
    """A tied matrix, 40 % never met: pushed together along one direction, longer than what was trained."""
    count = int(0.4 * rows)
    common = _direction(draw, dims)
    untrained = _around(draw, 1.3 * common, 0.2, count)
    lengths = np.exp(0.2 * draw.normal(size=(rows - count, 1)))
    return untrained, lengths * _normal(draw, rows - count, dims) + 0.3 * common


UNTRAINED: dict[str, Callable[[Draw, int, int], Planted]] = {
    "16 rows, 50 times closer together": _few(16),
    "24 rows, 50 times closer together": _few(24),
    "40 rows, 50 times closer together": _few(40),
    "24 rows, 50 times closer together, as far out as others": _few(24, 1.1),
    "kept their initial values, 0.3 of the length": _initial(0.3, 300),
    "kept their initial values, 0.4 of the length": _initial(0.4, 300),
    "kept their initial values, 0.45 of the length": _initial(0.45, 300),
    "kept their initial values, half the length": _initial(0.5, 300),
    "kept their initial values, lengths overlap": _among(_varied, 300),
    "60 rows of initial values among clusters": _among(lambda *args: _clustered(10, 3.0)(*args), 60),
    "kept their initial values, moved with all": _kept_in_the_middle,
    "near zero, and others drifted": _near_zero_and_drifted,
    "three populations": _three_populations,
    "45 % never met": _share(0.45),
    "51 % never met": _share(0.51),
    "70 % never met": _share(0.7),
    "90 % never met": _share(0.9),
    "60 % kept their initial values": _kept(0.6),
    "95 % kept their initial values": _kept(0.95),
    "a cone of contrast 2.7": cones(0.5),
    "a cone of contrast 2.0": cones(0.7),
    "a cone of contrast 1.9": cones(0.745),
    "a cone of contrast 1.6": cones(0.95),
    "a cone of contrast 1.4": cones(1.17),
    "a cone of half of all rows": cones(0.7, 0.5),
    "a cone on the way of all": _cone_on_the_way_of_all,
    "a cone among rows in all directions": _cone_apart,
    "tied, 40 % never met and longer": _tied,
}


def _none(trained: Rows) -> Planted:
    return trained[:0], trained


def _numbers(draw: Draw, rows: int, dims: int) -> Planted:
    """A thousand numbers that were trained: as long as the other rows, apart from them, close together."""
    count = min(1000, rows // 10)
    numbers = _around(draw, 1.05 * _direction(draw, dims), 0.25, count)
    return _none(np.concatenate([numbers, _live(draw, rows - count, dims)]))


def _clustered(count: int, apart: float) -> Callable[[Draw, int, int], Planted]:
    def make(draw: Draw, rows: int, dims: int) -> Planted:
        centres = apart * _normal(draw, count, dims)
        return _none(centres[draw.integers(0, count, rows)] + _normal(draw, rows, dims))

    return make


def _pairs(draw: Draw, rows: int, dims: int) -> Planted:
    """Half the words lie beside their capitalised twin."""
    words = _live(draw, rows // 4, dims)
    twins = words + 0.15 * _normal(draw, len(words), dims)
    return _none(np.concatenate([words, twins, _live(draw, rows - 2 * len(words), dims)]))


def _uneven_clusters(draw: Draw, rows: int, dims: int) -> Planted:
    """Clusters of fifteen rows on average, a few large and most small."""
    count = rows // 15
    shares = draw.pareto(1.0, size=count) + 0.2
    chosen = draw.choice(count, rows, p=shares / shares.sum())
    return _none((3.0 * _normal(draw, count, dims))[chosen] + _normal(draw, rows, dims))


def _rare_shorter(draw: Draw, rows: int, dims: int) -> Planted:
    """A third of the words are rare: trained, but shorter, around the origin."""
    rare = 0.7 * np.exp(0.1 * draw.normal(size=(rows // 3, 1))) * _normal(draw, rows // 3, dims)
    return _none(np.concatenate([rare, _live(draw, rows - len(rare), dims)]))


def _drifting(draw: Draw, rows: int, dims: int) -> Planted:
    """The rarer, the shorter and the nearer to a common direction, without a gap."""
    rank = np.arange(1, rows + 1)[:, None] / rows
    return _none((1.2 - 0.6 * rank) * _normal(draw, rows, dims) + 0.5 * rank * _direction(draw, dims))


def _of_length_1(make: Callable[[Draw, int, int], Planted]) -> Callable[[Draw, int, int], Planted]:
    return lambda draw, rows, dims: _none(_units(make(draw, rows, dims)[1]))


TRAINED: dict[str, Callable[[Draw, int, int], Planted]] = {
    "Gaussian": lambda draw, rows, dims: _none(_normal(draw, rows, dims)),
    "off-centre": lambda draw, rows, dims: _none(_live(draw, rows, dims)),
    "anisotropic": lambda draw, rows, dims: _none(_normal(draw, rows, dims) / np.arange(1, dims + 1) ** 0.7),
    "norms by Zipf": lambda draw, rows, dims: _none(
        _normal(draw, rows, dims) / np.arange(1, rows + 1)[:, None] ** 0.5
    ),
    "norms with a heavy tail": lambda draw, rows, dims: _none(
        _normal(draw, rows, dims) * np.exp(draw.normal(size=(rows, 1)))
    ),
    "three clusters": _clustered(3, 3.0),
    "ten clusters": _clustered(10, 5.0),
    "a hundred clusters": _clustered(100, 3.0),
    "a cone": lambda draw, rows, dims: _none(_units(_around(draw, 0.5 * _direction(draw, dims), 1.0, rows))),
    "rows of length 1": lambda draw, rows, dims: _none(_units(_normal(draw, rows, dims))),
    "rows of length 1, three clusters": _of_length_1(_clustered(3, 1.0)),
    "rows of length 1, twenty clusters": _of_length_1(_clustered(20, 1.0)),
    "rows of length 1, a hundred clusters": _of_length_1(_clustered(100, 1.5)),
    "rows of length 1, clusters of uneven size": _of_length_1(_uneven_clusters),
    "rows of length 1, anisotropic": lambda draw, rows, dims: _none(
        _units(_normal(draw, rows, dims) / np.arange(1, dims + 1) ** 0.5)
    ),
    "rows of length 1, elements with a heavy tail": lambda draw, rows, dims: _none(
        _units(draw.standard_t(2.0, size=(rows, dims)))
    ),
    "a thousand numbers, trained": _numbers,
    "elements with a heavy tail": lambda draw, rows, dims: _none(
        draw.standard_t(2.0, size=(rows, dims)) / np.sqrt(dims)
    ),
    "norms even on a logarithmic scale": lambda draw, rows, dims: _none(
        _normal(draw, rows, dims) * 10 ** draw.uniform(-1, 0, size=(rows, 1))
    ),
    "twins of words": _pairs,
    "clusters of uneven size": _uneven_clusters,
    "rare words shorter": _rare_shorter,
    "rare words drift, without a gap": _drifting,
}


def _languages(least: float, most: float) -> Callable[[Draw, int, int], Planted]:
    """Six languages of uneven size, each around a centre of its own and of another scale."""

    def make(draw: Draw, rows: int, dims: int) -> Planted:
        counts = [int(share * rows) for share in (0.2, 0.15, 0.15, 0.1, 0.1)]
        languages = [
            np.exp(draw.uniform(-0.3, 0.3))
            * _around(draw, draw.uniform(least, most) * _direction(draw, dims), 1.0, count)
            for count in (rows - sum(counts), *counts)
        ]
        return _none(np.concatenate(languages))

    return make


def _variances(draw: Draw, rows: int, dims: int) -> Planted:
    """Six clusters, each with a variance of its own."""
    spreads, cluster = np.exp(draw.uniform(-1.0, 0.3, size=6)), draw.integers(0, 6, rows)
    centres = 2.0 * _normal(draw, 6, dims)
    return _none(centres[cluster] + spreads[cluster][:, None] * _normal(draw, rows, dims))


def _bytes(distance: float, spread: float) -> Callable[[Draw, int, int], Planted]:
    """256 bytes that were trained: close together, nearer to the middle than most rows."""

    def make(draw: Draw, rows: int, dims: int) -> Planted:
        count = min(256, rows // 4)
        lengths = np.exp(0.15 * draw.normal(size=(count, 1)))
        block = lengths * _around(draw, distance * _direction(draw, dims), spread, count)
        return _none(np.concatenate([block, _live(draw, rows - count, dims)]))

    return make


def _rare_apart(ratio: float, distance: float, share: float) -> Callable[[Draw, int, int], Planted]:
    """Rarer words: shorter, around a centre of their own."""

    def make(draw: Draw, rows: int, dims: int) -> Planted:
        count = int(share * rows)
        lengths = np.exp(0.1 * draw.normal(size=(rows, 1)))
        rare = ratio * lengths[:count] * _normal(draw, count, dims) + distance * _direction(draw, dims)
        often = 1.1 * lengths[count:] * _normal(draw, rows - count, dims) + 0.2 * _direction(draw, dims)
        return _none(np.concatenate([rare, often]))

    return make


def _scales(*scales: float) -> Callable[[Draw, int, int], Planted]:
    """One cloud in several scales, around one centre."""
    return lambda draw, rows, dims: _none(
        np.array(scales)[draw.integers(0, len(scales), rows)][:, None] * _normal(draw, rows, dims)
    )


def _scaled(factor: float, share: float, centre: float = 1.0) -> Callable[[Draw, int, int], Planted]:
    """A share of trained rows is longer or shorter: the same cloud in another scale."""

    def make(draw: Draw, rows: int, dims: int) -> Planted:
        trained = _normal(draw, rows, dims) + centre * _direction(draw, dims)
        trained[: int(share * rows)] *= factor
        return _none(trained)

    return make


# Trained rows in shapes that untrained ones have, too: without names nobody can tell.
LOOKALIKES: dict[str, Callable[[Draw, int, int], Planted]] = {
    "languages": _languages(0.5, 1.2),
    "languages far apart": _languages(1.2, 2.0),
    "clusters of six variances": _variances,
    "256 bytes, 0.65 from the middle": _bytes(0.65, 0.4),
    "256 bytes, 0.8 from the middle": _bytes(0.8, 0.5),
    "256 bytes, 0.9 from the middle": _bytes(0.9, 0.25),
    "rarer words, 0.6 of the length": _rare_apart(0.6, 0.3, 1 / 3),
    "rarer words, half the length": _rare_apart(0.5, 0.5, 1 / 3),
    "rarer words, 0.4 of the length": _rare_apart(0.4, 0.5, 0.2),
    "two scales": _scales(0.5, 1.0),
    "three scales": _scales(0.5, 1.0, 2.0),
    "three scales, far apart": _scales(0.3, 1.0, 3.0),
}
SCALED: dict[str, Callable[[Draw, int, int], Planted]] = {
    "one row in 25 four times longer": _scaled(4.0, 0.04),
    "one row in 11 eight times longer": _scaled(8.0, 0.09, 2.0),
    "one row in 20 thirty times longer": _scaled(30.0, 0.05, 0.35),
    "one row in 20 five times shorter": _scaled(0.2, 0.05),
}
LOOKALIKES |= {f"of length 1: {name}": _of_length_1(make) for name, make in list(LOOKALIKES.items())[:9]}
LOOKALIKES |= SCALED
