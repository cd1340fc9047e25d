"""Every measured column a second time, straight from the definitions, in float64.

Slow and plain on purpose, and independent: it imports nothing of ours. Sums are math.fsum (rounded
once), lengths are math.hypot (no square leaves the range), rows are grouped by a dict of their
bytes, the live rows are summed themselves instead of subtracted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray
from support.reference_shape import bit_columns, shape_columns
from support.value_forms import WORDS, exact_in, forms_of, value_hashes

Floats = NDArray[np.float64]
Columns = dict[str, Any]  # Any: a column is a number, a list, a vector or None

# All, and of the exponent.
BITS = {
    "F64": (64, 11),
    "F32": (32, 8),
    "F16": (16, 5),
    "BF16": (16, 8),
    "F8_E4M3": (8, 4),
    "F8_E5M2": (8, 5),
}


class Hole(NamedTuple):
    """A black hole."""

    rank: int
    population: int
    token_ids: tuple[int, ...]
    norm: float | None
    angle_to_live_deg: float | None
    row_hash: int


class TokenColumns(NamedTuple):
    """One entry per row: norm (None if it is not finite), hash, rank of its hole (0: none)."""

    norm: list[float | None]
    row_hash: list[int]
    black_hole: list[int]


# ------------------------------------------------------------------------------- the measurement


def reference(raw: bytes, code: str, shape: tuple[int, int], factors: Floats | None = None) -> Columns:
    """Column -> value, for a [V, D] matrix of stored bytes; undefined is None.

    factors: [V, D], what each stored value is multiplied by.
    """
    rows, dims = shape
    row_bytes = len(raw) // rows
    stored = [raw[start : start + row_bytes] for start in range(0, len(raw), row_bytes)]
    values, fields = _values(raw, code).reshape(shape), _exponents(raw, code).reshape(shape)
    values = values if factors is None else values * factors
    finite = np.isfinite(values).all(axis=1)
    norms = [math.hypot(*row) if fine else None for row, fine in zip(values.tolist(), finite, strict=True)]
    holes = _holes(stored)
    dead = np.zeros(rows, dtype=bool)
    dead[[row for members in holes for row in members]] = True
    live_centroid = _mean_row(values[finite & ~dead])
    ranked = [
        Hole(
            rank,
            len(members),
            members,
            norms[members[0]],
            _angle_deg(values[members[0]], live_centroid),
            _row_hash(stored[members[0]]),
        )
        for rank, members in enumerate(holes, 1)
    ]
    rank_of = {row: hole.rank for hole in ranked for row in hole.token_ids}
    return {
        "dtype": code,
        "vocab_rows": rows,
        "hidden_dim": dims,
        **_centroid(values[finite]),
        **_row_norms(norms, _mean_row(values[finite])),
        "unique_rows": len(set(stored)),
        "black_hole_count": len(holes),
        "black_hole_sizes": tuple(len(members) for members in holes),
        "dead_count": int(dead.sum()),
        "live_count": int((~dead).sum()),
        "dead_fraction": int(dead.sum()) / rows,
        "black_holes": ranked,
        **_dead_and_live(values, finite, dead, norms, [members[0] for members in holes]),
        **_exponent_columns(fields, dead, dead & finite & (values != 0).any(axis=1), holes, BITS[code][1]),
        **_row_classes(norms),
        **_row_sketch([_row_hash(row) for row in stored], dead | ~finite | (values == 0).all(axis=1)),
        "norm_sketch": _norm_sketch(norms, dead | ~finite | (values == 0).all(axis=1)),
        "norm_id_spearman": _spearman(norms, dead | ~finite | (values == 0).all(axis=1)),
        **_exactness(raw, code, values, factors, dead | ~finite | (values == 0).all(axis=1)),
        **shape_columns(values, finite, dead),
        **bit_columns(raw, code, shape, *BITS[code]),
        "tokens": TokenColumns(
            norms, [_row_hash(row) for row in stored], [rank_of.get(row, 0) for row in range(rows)]
        ),
    }


def _row_sketch(hashes: list[int], trivial: NDArray[np.bool_]) -> Columns:
    informative = [
        row_hash for row_hash, left_out in zip(hashes, trivial.tolist(), strict=True) if not left_out
    ]
    return {
        "informative_rows": len(informative),
        "rows_hash": xxhash.xxh3_64(
            b"".join(row_hash.to_bytes(8, "little") for row_hash in hashes)
        ).intdigest(),
        "row_sketch": tuple(sorted(informative)[:512]),
    }


def _exactness(
    raw: bytes, code: str, values: Floats, factors: Floats | None, trivial: NDArray[np.bool_]
) -> Columns:
    words = np.frombuffer(raw, WORDS[code]).reshape(values.shape)
    if factors is not None:
        scaled, is_sketched = values.view("<u8"), True
        plain = value_hashes(scaled, "F64", f"{code} with a scale", words)
        forms = [form for form, _ in forms_of(scaled, "F64")]
        marks = [
            xxhash.xxh3_64_intdigest((row[:1] if (row == row[0]).all() else row).tobytes()) for row in factors
        ]
        hashes = [
            value_hash ^ (mark if form == "F64" else 0)
            for value_hash, form, mark in zip(plain, forms, marks, strict=True)
        ]
        narrowest = exact_in(scaled, "F64")
        narrowest = None if narrowest == code else narrowest
    else:
        hashes, narrowest, is_sketched = value_hashes(words, code), exact_in(words, code), code != "BF16"
    informative = {hashes[row] for row in np.flatnonzero(~trivial).tolist()}
    content = b"".join(value_hash.to_bytes(8, "little") for value_hash in hashes)
    return {
        "exact_in": narrowest,
        "values_hash": xxhash.xxh3_64(content).intdigest(),
        "value_sketch": tuple(sorted(informative)[:512]) if is_sketched else None,
    }


def _spearman(norms: Any, trivial: NDArray[np.bool_]) -> float | None:
    from scipy.stats import spearmanr

    used = [row for row, norm in enumerate(norms) if not trivial[row] and norm and math.isfinite(norm)]
    lengths = [norms[row] for row in used]
    return float(spearmanr(lengths, used).statistic) if len(set(lengths)) > 1 else None


def _norm_sketch(norms: Any, trivial: NDArray[np.bool_]) -> tuple[float | None, ...]:
    ids = [row for row in range(len(norms)) if row < 128 or row % 2 ** (row.bit_length() - 7) == 0]
    with np.errstate(over="ignore"):
        lengths = [0.0 if trivial[row] else float(np.float32(norms[row])) for row in ids]
    return tuple(length if 0 < length < math.inf else None for length in lengths)


def _centroid(finite_rows: Floats) -> Columns:
    mu = _mean_row(finite_rows)
    some = mu is not None
    return {
        "centroid_mean": _mean(mu.tolist()) if some else None,
        "centroid_std": _std(mu.tolist()) if some else None,
        "centroid_min": min(mu.tolist()) if some else None,
        "centroid_max": max(mu.tolist()) if some else None,
        "centroid_l1": math.fsum(map(abs, mu.tolist())) if some else None,
        "centroid_l2": _length(mu),
        "centroid_linf": max(map(abs, mu.tolist())) if some else None,
        "centroid": _float32(mu),
    }


def _row_norms(norms: list[float | None], mu: Floats | None) -> Columns:
    known = sorted(norm for norm in norms if norm is not None)
    mean = _mean(known)
    return {
        "token_norm_mean": mean,
        "token_norm_median": _lower_median(known),
        "token_norm_std": _std(known),
        "token_norm_min": min(known, default=None),
        "token_norm_max": max(known, default=None),
        **{
            f"token_norm_p{percent:02}": float(np.quantile(known, percent / 100)) if known else None
            for percent in (1, 5, 25, 75, 95, 99)
        },
        "centroid_ratio": _length(mu) / mean if mean else None,
    }


def _dead_and_live(
    values: Floats, finite: NDArray[np.bool_], dead: NDArray[np.bool_], norms: list[float | None], firsts: list[int]
) -> Columns:  # fmt: skip
    dead_centroid, live_centroid = _mean_row(values[finite & dead]), _mean_row(values[finite & ~dead])
    dead_norms = [norms[row] for row in np.flatnonzero(finite & dead)]
    nonzero = finite & dead & (values != 0).any(axis=1)
    live_norms = [norms[row] for row in np.flatnonzero(finite & ~dead)]
    hole_mean = _mean_row(values[[row for row in firsts if finite[row]]])
    return {
        "dead_centroid_l2": _length(dead_centroid),
        "live_centroid_l2": _length(live_centroid),
        "dead_live_cosine": _cosine(dead_centroid, live_centroid),
        "dead_live_angle_deg": _angle_deg(dead_centroid, live_centroid),
        "dead_live_distance": _distance(dead_centroid, live_centroid),
        "dead_full_distance": _distance(dead_centroid, _mean_row(values[finite])),
        "dead_norm_mean": _mean(dead_norms),
        "dead_norm_std": _std(dead_norms),
        "live_norm_mean": _mean(live_norms),
        "live_norm_std": _std(live_norms),
        "dead_zero_rows": int((finite & dead & (values == 0).all(axis=1)).sum()) if firsts else None,
        "dead_nonfinite_rows": int((dead & ~finite).sum()) if firsts else None,
        "dead_nonzero_centroid_l2": _length(_mean_row(values[nonzero])),
        "dead_nonzero_norm_mean": _mean([norms[row] for row in np.flatnonzero(nonzero)]),
        "black_hole_mean_cosine": _cosine(hole_mean, dead_centroid),
        "dead_centroid": _float32(dead_centroid),
        "live_centroid": _float32(live_centroid),
    }


def _exponent_columns(
    fields: NDArray[np.int64],
    dead: NDArray[np.bool_],
    nonzero: NDArray[np.bool_],  # dead, finite and not zero
    holes: Sequence[Sequence[int]],
    exponent_bits: int,
) -> Columns:
    every = np.bincount(fields.ravel(), minlength=1 << exponent_bits)
    of_dead = np.bincount(fields[dead].ravel(), minlength=1 << exponent_bits)
    dead_mean = float(fields[dead].mean()) if dead.any() else None
    # A black hole counts with all its rows if its first is finite and not zero: scales may make others not so.
    counted = [members for members in holes if nonzero[members[0]]]
    firsts = [members[0] for members in counted]
    nonzero_mean = float(fields[[row for members in counted for row in members]].mean()) if counted else None
    live_mean = float(fields[~dead].mean()) if not dead.all() else None
    shares = every[every > 0] / fields.size
    return {
        "exponent_entropy_bits": math.fsum(share * math.log2(1 / share) for share in shares),
        "dead_exponent_mean": dead_mean,
        "live_exponent_mean": live_mean,
        "exponent_offset": None if nonzero_mean is None or live_mean is None else live_mean - nonzero_mean,
        "shared_exponent_dims": int((fields[firsts] == fields[firsts[0]]).all(axis=0).sum()) if firsts else None,
        "exponents_all": tuple(every.tolist()),
        "exponents_dead": tuple(of_dead.tolist()),
    }  # fmt: skip


def _row_classes(norms: list[float | None]) -> Columns:
    known = sorted(norm for norm in norms if norm is not None)
    median = _lower_median([norm for norm in known if norm > 0.0]) or 0.0
    return {
        "zero_rows": sum(norm == 0.0 for norm in known),
        "near_zero_rows": sum(norm == 0.0 or norm < 1e-6 * median for norm in known),
        "nonfinite_rows": len(norms) - len(known),
    }


# ------------------------------------------------------------------------------- bytes and groups


def _values(raw: bytes, code: str) -> Floats:
    if code == "BF16":  # the upper half of a float32
        words = np.frombuffer(raw, dtype="<u2").astype(np.uint32) << 16
        values: NDArray[Any] = words.view(np.float32)
    elif BITS[code][0] == 8:
        values = np.array([_value_of_byte(byte, code) for byte in raw])
    else:
        values = np.frombuffer(raw, dtype={"F64": "<f8", "F32": "<f4", "F16": "<f2"}[code])
    with np.errstate(invalid="ignore"):  # widening a signalling NaN
        return values.astype(np.float64)


def _value_of_byte(byte: int, code: str) -> float:
    """OCP 8-bit floating point specification: E5M2 as in IEEE 754, E4M3 without infinities."""
    mantissa_bits = 7 - BITS[code][1]
    bias = 2 ** (BITS[code][1] - 1) - 1
    exponent, mantissa = (byte % 128) >> mantissa_bits, byte % 2**mantissa_bits
    sign = -1.0 if byte >= 128 else 1.0
    if code == "F8_E4M3" and byte % 128 == 127:
        return math.nan
    if code == "F8_E5M2" and exponent == 31:
        return math.nan if mantissa else sign * math.inf
    if exponent == 0:
        return sign * mantissa * 2.0 ** (1 - bias - mantissa_bits)
    return sign * (1 + mantissa / 2**mantissa_bits) * 2.0 ** (exponent - bias)


def _exponents(raw: bytes, code: str) -> NDArray[np.int64]:
    bits, exponent_bits = BITS[code]
    words = np.frombuffer(raw, dtype=f"<u{bits // 8}").astype(np.uint64)
    without_sign = words & np.uint64((1 << (bits - 1)) - 1)
    return (without_sign >> np.uint64(bits - 1 - exponent_bits)).astype(np.int64)


def _holes(stored: Sequence[bytes]) -> list[tuple[int, ...]]:
    """Rows with the same bytes, two or more: the largest first, ties by the smallest row."""
    groups: dict[bytes, list[int]] = {}
    for row, content in enumerate(stored):
        groups.setdefault(content, []).append(row)
    holes = [tuple(rows) for rows in groups.values() if len(rows) > 1]
    return sorted(holes, key=lambda rows: (-len(rows), min(rows)))


def _row_hash(row: bytes) -> int:
    return int(xxhash.xxh3_128_intdigest(row)) % 2**64


# ------------------------------------------------------------------------------------- arithmetic


def _mean(numbers: Sequence[float]) -> float | None:
    return math.fsum(numbers) / len(numbers) if numbers else None


def _std(numbers: Sequence[float]) -> float | None:
    """Standard deviation with ddof 1."""
    if len(numbers) < 2:
        return None
    mean = math.fsum(numbers) / len(numbers)
    return math.hypot(*(number - mean for number in numbers)) / math.sqrt(len(numbers) - 1)


def _lower_median(ascending: Sequence[float]) -> float | None:
    return ascending[(len(ascending) - 1) // 2] if ascending else None


def _mean_row(rows: Floats) -> Floats | None:
    if len(rows) == 0:
        return None
    return np.array([math.fsum(column) for column in rows.T.tolist()]) / len(rows)


def _length(vector: Floats | None) -> float | None:
    return None if vector is None else math.hypot(*vector.tolist())


def _distance(a: Floats | None, b: Floats | None) -> float | None:
    return None if a is None or b is None else _length(a - b)


def _unit(vector: Floats | None) -> Floats | None:
    """The vector at length 1; None if it is zero, not finite, or missing."""
    if vector is None or not np.isfinite(vector).all() or not vector.any():
        return None
    _, exponent = math.frexp(np.abs(vector).max())
    near_one = np.ldexp(vector, -exponent)  # exact: so a denormal keeps its direction
    return near_one / math.hypot(*near_one.tolist())


def _cosine(a: Floats | None, b: Floats | None) -> float | None:
    u, v = _unit(a), _unit(b)
    return None if u is None or v is None else math.fsum((u * v).tolist())


def _angle_deg(a: Floats | None, b: Floats | None) -> float | None:
    u, v = _unit(a), _unit(b)
    if u is None or v is None:
        return None
    apart, along = math.hypot(*(u - v).tolist()), math.hypot(*(u + v).tolist())
    return math.degrees(2 * math.atan2(apart, along))


def _float32(vector: Floats | None) -> NDArray[np.float32] | None:
    if vector is None:
        return None
    with np.errstate(over="ignore"):  # past float32's range: infinity
        return vector.astype(np.float32)


# ------------------------------------------------------------------------------------- comparison

LENGTH_RELATIVE = 1e-6
ANGLE_DEG = 1e-4
VECTOR_RELATIVE = 1e-6
COSINE = 1e-9  # at 45° an angle of 1e-7 degrees
MEAN_COSINE = 1e-7  # rows at length 1 have 24 bits of their lengths

# Differences and spreads may cancel to nothing: they are judged beside what they were made of.
ROUNDING = 1e-12
MADE_OF = {
    "centroid_mean": ("centroid_linf",),
    "centroid_std": ("centroid_linf",),
    "centroid_min": ("centroid_linf",),
    "centroid_max": ("centroid_linf",),
    "token_norm_std": ("token_norm_mean",),
    "dead_live_distance": ("dead_centroid_l2", "live_centroid_l2"),
    "dead_full_distance": ("dead_centroid_l2", "centroid_l2"),
    "dead_norm_std": ("dead_norm_mean",),
    "live_norm_std": ("live_norm_mean",),
    "exponent_entropy_bits": ("exponent_entropy_bits",),
    "exponent_offset": ("dead_exponent_mean", "live_exponent_mean"),
}
# Those of populations are estimates from sketches: tests of their own judge them by what was planted.
NOT_DEFINED_HERE = {
    "measures", "frozen_rows", "copied_rows", "undertrained_rows", "undertrained_contrast",
    "undertrained_populations", "undertrained_note",
}  # fmt: skip
COSINES = {
    "dead_live_cosine": COSINE, "black_hole_mean_cosine": COSINE,
    "mean_cosine": MEAN_COSINE, "live_mean_cosine": MEAN_COSINE,
}  # fmt: skip


def assert_equal(measurement: Any, expected: Columns) -> None:  # Any: this file does not know ours
    """Every column is as expected; one message names all that are not."""
    columns = {name: value for name, value in vars(measurement).items() if name not in NOT_DEFINED_HERE}
    assert columns.keys() == expected.keys()
    assert not list(_differences(columns, expected)), "\n".join(_differences(columns, expected))


def _differences(actual: Columns, expected: Columns) -> Iterator[str]:
    for name, right in expected.items():
        value = actual[name]
        if name == "tokens":
            yield from _token_differences(value, right)
        elif name == "black_holes":
            yield from _hole_differences(value, right)
        elif not _agrees(name, value, right, expected):
            yield f"{name}: found {value!r}, expected {right!r}"


def _hole_differences(actual: Sequence[Any], expected: Sequence[Hole]) -> Iterator[str]:
    if len(actual) != len(expected):
        yield f"black_holes: found {len(actual)}, expected {len(expected)}"
        return
    for hole, right_hole in zip(actual, expected, strict=True):
        for name in Hole._fields:
            value, right = getattr(hole, name), getattr(right_hole, name)
            if not _agrees(name, value, right, {}):
                yield f"black_holes, rank {right_hole.rank}, {name}: found {value!r}, expected {right!r}"


def _token_differences(actual: Any, expected: TokenColumns) -> Iterator[str]:
    types = (actual.norm.dtype, actual.row_hash.dtype, actual.black_hole.dtype)
    if types != (np.float64, np.uint64, np.int32):
        yield f"tokens: found types {types}"
    if actual.row_hash.tolist() != expected.row_hash:
        yield "tokens.row_hash differs"
    if actual.black_hole.tolist() != expected.black_hole:
        yield "tokens.black_hole differs"
    if len(actual.norm) != len(expected.norm):
        yield f"tokens.norm: found {len(actual.norm)} rows, expected {len(expected.norm)}"
        return
    for row, (value, norm) in enumerate(zip(actual.norm.tolist(), expected.norm, strict=True)):
        known = None if math.isnan(value) else value  # only here NaN stands for undefined
        if not _agrees("norm", known, norm, {}):
            yield f"tokens.norm of row {row}: found {value!r}, expected {norm!r}"


def _agrees(name: str, actual: Any, right: Any, expected: Columns) -> bool:
    if actual is None or right is None:
        return actual is right
    if isinstance(right, np.ndarray):
        return _same_vector(actual, right)
    if not isinstance(right, float):
        return type(actual) is type(right) and bool(actual == right)
    if type(actual) is not float or not math.isfinite(actual):
        return False
    if name.endswith("_deg"):
        return abs(actual - right) <= ANGLE_DEG
    if name in COSINES:
        return abs(actual - right) <= COSINES[name]
    made_of = max((abs(expected[part] or 0.0) for part in MADE_OF.get(name, ())), default=0.0)
    return math.isclose(actual, right, rel_tol=LENGTH_RELATIVE, abs_tol=ROUNDING * made_of)


def _same_vector(actual: Any, right: NDArray[np.float32]) -> bool:
    if not isinstance(actual, np.ndarray) or (actual.dtype, actual.shape) != (right.dtype, right.shape):
        return False
    if not np.isfinite(right).all():
        return np.array_equal(actual, right)
    apart = math.hypot(*(actual.astype(np.float64) - right.astype(np.float64)).tolist())
    smallest = float(np.finfo(np.float32).smallest_subnormal) * math.sqrt(len(right))
    return apart <= VECTOR_RELATIVE * math.hypot(*right.tolist()) + smallest
