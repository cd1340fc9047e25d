"""The measured columns of a matrix, group by group, and its per-token table.

The value of each is computed in `survey/measures/`, whose registry holds the versions. A new group is also
among the bases of Measurement. Other columns (model, tokenizer, attempt): `survey/records/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from survey.records.column_field import Float32, TokenId, UInt64, Vector, column

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


# A row is flat in SQL, so it is flat here: Measurement inherits the groups' fields. That breaks
# the rule "inherit only for exceptions"; the alternative is to write seventy names twice.


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The matrix itself."""

    dtype: str = column(
        "stored dtype: a float of 8 to 64 bits, such as BF16 or F8_E4M3, or the quantisation as in stored_as"
    )
    vocab_rows: int = column("V, rows of the matrix, padding included", "rows")
    hidden_dim: int = column("D, the hidden size", "dimensions")


@dataclass(frozen=True, kw_only=True)
class Centroid:
    """The mean row μ over all finite rows, and its components."""

    centroid_mean: float | None = column("mean component of μ")
    centroid_std: float | None = column("standard deviation of μ's components, ddof 1")
    centroid_min: float | None = column("smallest component of μ")
    centroid_max: float | None = column("largest component of μ")
    centroid_l1: float | None = column("Σ|μ_i|")
    centroid_l2: float | None = column("‖μ‖, the distance of the cloud's centre from the origin")
    centroid_linf: float | None = column("max|μ_i|")
    centroid: Vector | None = column("μ itself")


@dataclass(frozen=True, kw_only=True)
class RowNorms:
    """The lengths ‖w_i‖ of the finite rows."""

    token_norm_mean: float | None = column("mean of ‖w_i‖")
    token_norm_median: float | None = column("lower median of ‖w_i‖")
    token_norm_std: float | None = column("standard deviation of ‖w_i‖, ddof 1")
    token_norm_min: float | None = column("smallest ‖w_i‖")
    token_norm_max: float | None = column("largest ‖w_i‖")
    token_norm_p01: float | None = column("1st percentile of ‖w_i‖, linear interpolation")
    token_norm_p05: float | None = column("5th percentile of ‖w_i‖")
    token_norm_p25: float | None = column("25th percentile of ‖w_i‖")
    token_norm_p75: float | None = column("75th percentile of ‖w_i‖")
    token_norm_p95: float | None = column("95th percentile of ‖w_i‖")
    token_norm_p99: float | None = column("99th percentile of ‖w_i‖")
    centroid_ratio: float | None = column("centroid_l2 / token_norm_mean: how far off-centre")


@dataclass(frozen=True, slots=True)
class BlackHole:
    """Two or more rows whose stored bytes are identical."""

    rank: int = column("1 = largest population; ties by smallest token id")
    population: int = column("rows in it", "rows")
    token_ids: tuple[TokenId, ...] = column("the rows, ascending")
    norm: float | None = column("‖w‖ of its vector; NULL if it is not finite")
    angle_to_live_deg: float | None = column("angle to the live centroid", "degrees")
    row_hash: UInt64 = column("low half of xxh3-128 of the row's bytes")


@dataclass(frozen=True, kw_only=True)
class IdenticalRows:
    """Rows whose stored bytes are identical: the black holes."""

    unique_rows: int = column("distinct rows, by bytes", "rows")
    black_hole_count: int = column("sets of two or more identical rows")
    black_hole_sizes: tuple[int, ...] = column("their populations, descending", "rows")
    dead_count: int = column(
        "rows in black holes (the population); of a quantised matrix an upper bound on the original's", "rows"
    )
    live_count: int = column("all other rows", "rows")
    dead_fraction: float = column("dead_count / vocab_rows")
    black_holes: tuple[BlackHole, ...] = column("the black holes, by rank")


@dataclass(frozen=True, kw_only=True)
class DeadAndLive:
    """Dead rows (in black holes) against live rows (all others); finite rows only.

    The dead centroid is that of all finite rows in black holes, rows of zero included, each as often as it
    occurs.
    """

    dead_centroid_l2: float | None = column("‖mean of the finite dead rows‖, zero rows included")
    live_centroid_l2: float | None = column("‖mean of the live rows‖")
    dead_live_cosine: float | None = column("cosine between dead and live centroid")
    dead_live_angle_deg: float | None = column("angle between dead and live centroid", "degrees")
    dead_live_distance: float | None = column("distance between dead and live centroid")
    dead_full_distance: float | None = column("distance between dead centroid and μ")
    dead_norm_mean: float | None = column("mean ‖w_i‖ of the finite dead rows, zero rows included")
    dead_norm_std: float | None = column("standard deviation of it, ddof 1")
    live_norm_mean: float | None = column("mean ‖w_i‖ of the live rows")
    live_norm_std: float | None = column("standard deviation of it, ddof 1")
    dead_zero_rows: int | None = column("dead rows of ±0 only", "rows")
    dead_nonfinite_rows: int | None = column("dead rows with a NaN or an infinity", "rows")
    dead_nonzero_centroid_l2: float | None = column("‖mean of the finite dead rows that are not zero‖")
    dead_nonzero_norm_mean: float | None = column("mean ‖w_i‖ of the same rows")
    black_hole_mean_cosine: float | None = column(
        "cosine between the dead centroid and the unweighted mean of the black holes' vectors"
    )
    dead_centroid: Vector | None = column("mean of the dead rows")
    live_centroid: Vector | None = column("mean of the live rows")


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Trained rows among the dead."""

    copied_rows: int | None = column(
        "dead rows that are a trained row and its copies by all that geometry tells, such as `pad` set to "
        "`eos`: in black holes of up to four rows, as long as live rows and as far from all others; NULL if "
        "there are too few rows to compare, or more than 4,096 such black holes",
        "rows",
    )


@dataclass(frozen=True, kw_only=True)
class Exponents:
    """The biased exponent field of every stored float, before any scale; all rows. NULL of quantised rows."""

    exponent_entropy_bits: float | None = column("Shannon entropy of the exponents of all rows", "bits")
    dead_exponent_mean: float | None = column("mean biased exponent of the dead rows")
    live_exponent_mean: float | None = column("mean biased exponent of the live rows")
    exponent_offset: float | None = column(
        "live_exponent_mean less the mean of the dead rows that are finite and not zero"
    )
    shared_exponent_dims: int | None = column(
        "dimensions in which all black holes have the same exponent, but for those of zeros, NaN or infinity",
        "dimensions",
    )
    exponents_all: tuple[int, ...] | None = column("elements by biased exponent (the index), all rows")
    exponents_dead: tuple[int, ...] | None = column("the same for the dead rows")


@dataclass(frozen=True, kw_only=True)
class RowClasses:
    """Rows that are zero, almost zero or not finite; the classes may overlap."""

    zero_rows: int = column("rows of ±0 only", "rows")
    near_zero_rows: int = column(
        "rows that are zero, or with ‖w_i‖ < 1e-6 × the median of those that are not", "rows"
    )
    nonfinite_rows: int = column("rows with a NaN or an infinity", "rows")


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """Singletons around black holes."""

    frozen_rows: int | None = column("unique rows that lie with the dead; NULL if none is dead", "rows")


PopulationShape = Literal["initial values", "middle", "most", "scale", "origin", "centre", "cone"]


@dataclass(frozen=True, slots=True)
class UndertrainedPopulation:
    """Rows that lie closer together than the others, around a centre of their own."""

    rows: int = column("rows in it", "rows")
    norm_mean: float | None = column("mean ‖w_i‖ of its rows")
    relative_norm: float | None = column("their median ‖w_i‖, divided by that of the other rows")
    contrast: float | None = column(
        "how many times farther from its centre the other rows lie than its own, by medians"
    )
    centre_distance: float | None = column(
        "distance of its centre from the other rows' centre, divided by their own median distance from that"
    )
    density: float | None = column(
        "how many times closer to each other its rows lie than the other rows do, by the fourth nearest"
    )
    shape: PopulationShape = column(
        "initial values: around the origin, with lengths as random numbers give, while the others' centre is "
        "elsewhere or they share directions; middle: the same around the others' centre; scale: it may be "
        "the others' cloud made smaller; most: it holds most rows, and the others may be longer words; "
        "origin: around it otherwise; centre: around one of its own; cone: the same if all rows have one "
        "length, and its centre lies in the direction that they have in common"
    )
    compared_share: float = column(
        "its share of the different rows that it was compared with, its own included"
    )
    reserved_share: float | None = column(
        "share of its rows that are phantom, special or unreachable tokens; NULL without a tokenizer"
    )
    candidate: bool | None = column(
        "whether its rows count as undertrained. Not if it lies outside the cloud of the other rows and is "
        "no shorter, unless it holds an eighth of all rows and 320 or more. Yes if it is of initial values, "
        "in the middle or a cone, or dense: 3 times, or 8 around the origin, in a smaller scale or if it is "
        "no shorter; and if its tokens are phantom, special or unreachable for the most part. NULL if "
        "trained rows may look like it: it is less dense, it holds most rows and lies too little apart or "
        "may be words beside some that are longer, or several lie far out"
    )


@dataclass(frozen=True, kw_only=True)
class Undertrained:
    """Candidates for rows that were never trained, by geometry; names only tell blocks of words apart."""

    undertrained_rows: int | None = column(
        "rows of the populations that are candidates; 0 if there is none, NULL if the data cannot tell",
        "rows",
    )
    undertrained_contrast: float | None = column(
        "contrast of the largest candidate: how many times farther from its centre others lie than its own"
    )
    undertrained_populations: tuple[UndertrainedPopulation, ...] | None = column(
        "the populations that lie closer together than the other rows, the largest first; NULL if there are "
        "too few rows"
    )
    undertrained_note: str | None = column("why the data cannot tell, or which rows are not counted")


@dataclass(frozen=True, kw_only=True)
class Exactness:
    """What the values are, whatever dtype stores them."""

    exact_in: str | None = column(
        "the first of F8_E4M3, F8_E5M2, BF16, F16 and F32 that holds all values exactly, signs of zeros and "
        "payloads of NaN included; of a quantised or scaled matrix all decoded ones; NULL if that is the "
        "stored dtype or one before it, if that has 8 bits or no other holds them, and in old rows"
    )
    values_hash: UInt64 | None = column(
        "xxh3-64 of the value hashes of all rows in order (see value_hash of tokens): equal if shape and all "
        "values are, whatever the dtypes; NULL in old rows"
    )
    value_sketch: tuple[UInt64, ...] | None = column(
        "the 512 smallest value hashes of informative rows, ascending; NULL of BF16, of which they are the "
        "row hashes, of a quantised matrix without a scale of which no dtype of 16 bits holds a row, and in "
        "old rows"
    )


@dataclass(frozen=True, kw_only=True)
class Isotropy:
    """Whether rows point in all directions alike, and dimensions vary alike."""

    mean_cosine: float | None = column(
        "mean cosine of two different rows that are finite and not zero, (‖Σŵ‖² − N) / N(N − 1) of N rows "
        "ŵ = w / ‖w‖: 0 if they point in all directions alike, 1 if in one; NULL of fewer than two, and in "
        "old rows"
    )
    live_mean_cosine: float | None = column("the same of the live rows")
    outlier_dims: int | None = column(
        "columns of the matrix whose variance over the finite rows exceeds 10 × the median variance; NULL in "
        "old rows",
        "dimensions",
    )
    top_dim_variance_share: float | None = column(
        "share of the largest variance of a column in the sum of all; NULL if no column varies"
    )
    variance_participation: float | None = column(
        "(Σv)² / Σv² of the columns' variances v: D if all vary alike, 1 if one does; NULL if none varies",
        "dimensions",
    )
    centroid_top3_share: float | None = column(
        "share of ‖μ‖² that is in the three components of the centroid that are largest in magnitude; NULL "
        "if μ is zero"
    )


@dataclass(frozen=True, kw_only=True)
class StoredBits:
    """How many of the stored bits carry information."""

    mantissa_entropy_bits: float | None = column(
        "Shannon entropy of the mantissa of an element, in evenly spaced rows of at least 2^20 elements (or "
        "all): of its ten leading bits together, then of the next ten, and so on; NULL of codes, and in old "
        "rows",
        "bits",
    )
    compressed_bits_per_weight: float | None = column(
        "1 for the sign + the bits of the mantissa + exponent_entropy_bits: what a code of the exponents "
        "alone comes to for an element; NULL of codes, and in old rows",
        "bits",
    )


@dataclass(frozen=True, kw_only=True)
class RowSketch:
    """Hashes by which common rows of matrices are counted without reading them; from the per-token table."""

    informative_rows: int = column("rows that are finite, not zero and in no black hole", "rows")
    rows_hash: UInt64 = column("xxh3-64 of all row hashes in order: equal if dtype, shape and all bytes are")
    row_sketch: tuple[UInt64, ...] = column("the 512 smallest row hashes of informative rows, ascending")


@dataclass(frozen=True, kw_only=True)
class NormSketch:
    """Lengths of rows at ids that are the same for every matrix; from the per-token table."""

    norm_sketch: tuple[Float32 | None, ...] = column(
        "‖w_i‖ at ids 0 to 127, then 64 in each octave; NULL in it for a row that is not informative"
    )


@dataclass(frozen=True, kw_only=True)
class NormOrder:
    """Whether lengths follow the ids; from the per-token table."""

    norm_id_spearman: float | None = column(
        "Spearman's rank correlation of ‖w_i‖ and the id i over live rows that are finite and not zero"
    )


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The per-token table as columns of length V."""

    norm: NDArray[np.float64]  # NaN if the row is not finite
    row_hash: NDArray[np.uint64]
    black_hole: NDArray[np.int32]  # rank, 0 = none
    value_hash: NDArray[np.uint64] | None = None  # 0 if the row hash tells it; None in tables that are read
    frozen: NDArray[np.bool_] | None = None  # these three: None in tables of older versions
    undertrained: NDArray[np.bool_] | None = None  # None also if the data cannot tell
    population: NDArray[np.int32] | None = None  # its number in undertrained_populations, 0 = none


@dataclass(frozen=True, kw_only=True)
class Measurement(
    # Dataclasses collect fields from the last base to the first: Shape's columns come first.
    StoredBits, Isotropy, NormOrder, Exactness, NormSketch, RowSketch, Undertrained, Frozen, RowClasses,
    Exponents, Copies, DeadAndLive, IdenticalRows, RowNorms, Centroid, Shape,
):  # fmt: skip
    """Every measured column of one matrix; `tokens` is its per-token table."""

    measures: Mapping[str, int] = column("version of every measure in this row")
    tokens: Tokens = field(repr=False)
