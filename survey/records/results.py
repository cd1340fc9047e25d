"""The records of single results, which stand beside the survey's rows.

A kind is a line in RESULTS: its name is that of the view and of the catalog's folder, its record's fields
are the columns. `catalog.write.commit.commit_result` writes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from survey.records.column_field import TokenId, Vector, column
from survey.records.target import MatrixName


@dataclass(frozen=True, kw_only=True)
class Made:
    """Where and when a result was computed."""

    survey_version: str = column("version of centroid-survey")
    made_at: datetime = column("when it was computed", "UTC")
    host: str = column("machine that computed it")


@dataclass(frozen=True, kw_only=True)
class Motion:
    """The motion of a cloud of dead rows over recorded steps; lists have an entry for each step."""

    dead_count: int = column("rows in the cloud", "rows")
    hidden_dim: int = column("D, the hidden size", "dimensions")
    recorded_count: int = column("recorded steps")
    first_step: int = column("first recorded step", "steps")
    last_step: int = column("last recorded step", "steps")
    missing_steps: int = column("steps that should have been recorded and were not", "steps")
    gaps: tuple[int, ...] = column("the recorded steps after which some are missing", "steps")
    frame: Literal["absolute", "displacement"] = column(
        "positions are the rows themselves, or displacements from an unknown start"
    )
    centroid_norm_first: float = column("‖centroid‖ at the first step")
    centroid_norm_last: float = column("‖centroid‖ at the last step")
    centroid_norm_min: float = column("smallest ‖centroid‖")
    centroid_norm_min_step: int = column("the step of it", "steps")
    centroid_norm_max: float = column("largest ‖centroid‖")
    centroid_norm_max_step: int = column("the step of it", "steps")
    path_length: float = column("Σ‖bulk velocity‖: the length of the centroid's path")
    displacement: float = column("distance between the centroid's start and its end")
    straightness: float | None = column("displacement / path_length: 1 for a straight line")
    thermal_sum_max: float | None = column("largest ‖Σ thermal velocities‖ of a step; 0 but for rounding")
    thermal_sum_mean: float | None = column("mean ‖Σ thermal velocities‖ of a step")
    mean_radius_first: float = column("mean distance of the rows from their centroid at the first step")
    mean_radius_last: float = column("the same at the last step")
    bulk_stop_step: int | None = column(
        "step at which the centroid's distance from its start stops changing; NULL if it has not", "steps"
    )
    contraction_stop_step: int | None = column("step at which the mean radius stops changing", "steps")
    loss_stop_step: int | None = column("step at which the loss stops changing", "steps")
    steps: tuple[int, ...] = column("the recorded steps", "steps")
    centroid_norm: tuple[float, ...] = column("‖centroid‖")
    bulk_speed: tuple[float | None, ...] = column(
        "‖bulk velocity‖, the centroid's move since the record before; NULL if that is unknown"
    )
    thermal_rms: tuple[float | None, ...] = column(
        "root mean square of the rows' moves relative to the centroid"
    )
    bulk_thermal_ratio: tuple[float | None, ...] = column("bulk_speed / thermal_rms")
    mean_radius: tuple[float, ...] = column("mean distance of the rows from their centroid")
    max_radius: tuple[float, ...] = column("largest distance of a row from the centroid")
    loss: tuple[float | None, ...] = column("loss, if the history holds it")


@dataclass(frozen=True, kw_only=True)
class KinematicsRow(Made, Motion):
    """The motion of one history of dead rows, and the file it was read from."""

    source: str = column("the history's path, or org/name@pattern of surveyed revisions")
    output: str | None = column("the file of positions and velocities that was written")


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How a run was trained; the fields of `survey.dynamics.config.Training`."""

    setup: str = column("the set-up that the options started from: bytes or goldilocks")
    layers: int = column("transformer layers")
    heads: int = column("attention heads")
    dim: int = column("D, the hidden size", "dimensions")
    ff: int = column("width of the feed-forward layers", "dimensions")
    vocabulary: int = column("V, rows of the vocabulary matrix", "rows")
    init: str = column("rows begin as N(0, init_scale²) (`normal`) or at one unit vector plus that (`point`)")
    init_scale: float = column("standard deviation of the rows' elements at the start")
    learning_rate: float = column("AdamW's learning rate")
    weight_decay: float = column("AdamW's weight decay")
    precision: str = column("fp32, bf16-mixed or bf16-pure (AdamW's state in bfloat16, too)")
    batch: int = column("sequences in a batch")
    context: int = column("tokens in a sequence")
    seed: int = column("seed of the weights, the generated corpus and the batches")
    corpus: str | None = column("text file; NULL for the generated Zipfian corpus")


@dataclass(frozen=True, kw_only=True)
class TrainingFigures:
    """The figures of a run; lists have an entry for each of `steps`."""

    dead_count: int = column("tokens that the corpus never uses", "rows")
    live_count: int = column("all other tokens", "rows")
    last_step: int = column("last recorded step", "steps")
    loss_last: float = column("loss at the last step", "nats")
    loss_stop_step: int | None = column("step at which the loss stops changing; NULL if it has not", "steps")
    steps: tuple[int, ...] = column("chosen recorded steps: 1, 2, 5, 10, …, and the last", "steps")
    loss: tuple[float | None, ...] = column("mean cross-entropy of the batch", "nats")
    dead_grad_norm: tuple[float | None, ...] = column("mean ‖∂L/∂w_i‖ of the dead rows")
    live_grad_norm: tuple[float | None, ...] = column("mean ‖∂L/∂w_i‖ of the live rows")
    live_dead_ratio: tuple[float | None, ...] = column("live_grad_norm / dead_grad_norm")
    coherence: tuple[float | None, ...] = column("mean cosine between two dead gradients that are not zero")
    hidden_cosine: tuple[float | None, ...] = column(
        "cosine between the mean dead gradient and the batch's mean final hidden state"
    )
    centroid_angle_deg: tuple[float | None, ...] = column("angle between dead and live centroid", "degrees")
    centroid_norm: tuple[float | None, ...] = column("‖mean of the dead rows‖")
    mean_radius: tuple[float | None, ...] = column("mean distance of the dead rows from their centroid")
    max_radius: tuple[float | None, ...] = column("largest distance of a dead row from the centroid")


@dataclass(frozen=True, kw_only=True)
class TrainingRow(Made, TrainingFigures, TrainingOptions):
    """One training run."""

    run: str = column("digest of every option that changes the run's numbers")
    history: str | None = column("the file of gradients and moves; NULL if it was not kept")
    steps_per_s: float | None = column("steps in a second of training; NULL if it was not timed")
    device: str | None = column("device that trained; NULL for rows of older versions")


RefBy = Literal["token", "field", "black_hole"]


@dataclass(frozen=True, kw_only=True)
class WhichMatrix:
    """A matrix of a model, as in the view `models`."""

    repo: str = column("Hub id, or the resolved path of a checkpoint folder")
    revision: str = column("what the user wrote: a branch, a tag or a commit; `main` by default")
    sha: str = column("commit that the revision resolved to; `local-…` for a folder")
    matrix: MatrixName = column("`output` = the unembedding, `input` = the embedding")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The sky of a matrix, and the rows that bf16 cannot tell from a reference row h by their dot product."""

    dtype: str = column("stored dtype: a float of 8 to 64 bits, such as BF16 or F8_E4M3")
    vocab_rows: int = column("V, rows of the matrix, padding included", "rows")
    hidden_dim: int = column("D, the hidden size", "dimensions")
    nonfinite_rows: int = column("rows with a NaN or an infinity: they are nowhere in the sky", "rows")
    north: int = column("principal component at latitude +90°, from 1; negative: its sign is flipped")
    meridian: int = column("principal component at latitude 0°, longitude 0°")
    equinox: int = column("principal component at latitude 0°, longitude +90°")
    north_variance: float = column("variance of the rows along it: its eigenvalue, divisor N")
    meridian_variance: float = column("the same for the meridian's component")
    equinox_variance: float = column("the same for the equinox's component")
    total_variance: float = column("variance in all D dimensions: the trace of the covariance")
    ref_by: RefBy = column("what chose h: `token`, `field`, or the largest `black_hole`")
    ref_token_id: TokenId = column("the reference row h")
    ref_lat_deg: float | None = column("its latitude; NULL if it projects on the origin", "degrees")
    ref_lon_deg: float | None = column("its longitude", "degrees")
    ref_radius: float = column("length of its projection on the three components, not centred")
    ref_norm: float = column("‖h‖")
    ref_population: int = column("rows with the bytes of h, itself included", "rows")
    field_lat_deg: float | None = column("centre of the telescope's field", "degrees")
    field_lon_deg: float | None = column("centre of the telescope's field", "degrees")
    field_diameter_deg: float | None = column("side of a field that is a box", "degrees")
    field_radius_deg: float | None = column("radius of a field that is a circle on the sphere", "degrees")
    n_field: int = column("rows in the field", "rows")
    ref_dot: float = column("h · h in float64")
    ref_dot_bf16: float = column("the same, rounded once to bf16")
    n_cluster: int = column("rows t with bf16(t · h) = bf16(h · h), the dot product in float64", "rows")
    n_cluster_in_field: int = column("those of them that are in the field", "rows")
    n_cluster_dead: int = column("those of them that are in black holes", "rows")
    cluster_token_ids: tuple[TokenId, ...] = column("the rows of the cluster, ascending")
    exponent_ladder: tuple[int, ...] = column(
        "rows whose biased exponents all differ from those of h by at most k: k = 0 … 16", "rows"
    )


@dataclass(frozen=True, kw_only=True)
class ClusterRow(Made, Cluster, WhichMatrix):
    """One cluster of one matrix."""

    device: str = column("device that did the arithmetic")
    elapsed_s: float = column("reading and computing", "seconds")


@dataclass(frozen=True, kw_only=True)
class Direction:
    """A principal component of a cloud of rows, and the rows that lie farthest along it."""

    number: int = column("of the component, from 1, the largest variance first")
    variance_share: float | None = column("variance along it / that in all dimensions")
    centroid_angle_deg: float | None = column("between it and the centroid, 0 … 90", "degrees")
    low_ids: tuple[TokenId, ...] = column("rows at its lower end, the farthest first")
    low_at: tuple[float, ...] = column("their coordinates along it, from the centroid on")
    high_ids: tuple[TokenId, ...] = column("rows at its upper end, the farthest first")
    high_at: tuple[float, ...] = column("their coordinates along it")


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """The singular values of a matrix, and the shape of the cloud of all its rows and of the live ones."""

    dtype: str = column("stored dtype, such as BF16; the values were computed from the decoded rows")
    vocab_rows: int = column("V, rows of the matrix, padding included", "rows")
    hidden_dim: int = column("D, the hidden size", "dimensions")
    finite_rows: int = column("rows without a NaN or an infinity: only these count", "rows")
    live_rows: int = column("those of them that are in no black hole", "rows")
    singular_values: Vector | None = column(
        "σ_i of the finite rows as they are, the largest first; 0 if below rounding, 1e-7 of the largest"
    )
    spectral_norm: float | None = column("σ_1, the largest singular value")
    stable_rank: float | None = column("Σσ² / σ_1²")
    effective_rank: float | None = column(
        "exp of the entropy of σ_i / Σσ (Roy and Vetterli 2007)", "dimensions"
    )
    participation_ratio: float | None = column("(Σσ²)² / Σσ⁴", "dimensions")
    condition: float | None = column(
        "σ_1 / the least σ; NULL if that is below 1e-5 of σ_1, and not known so well"
    )
    pc1_share: float | None = column("variance along the first principal component / that in all dimensions")
    pc1_centroid_angle_deg: float | None = column(
        "angle of the first principal component with the centroid, 0 … 90; NULL if two components share the "
        "largest variance",
        "degrees",
    )
    alpha: float | None = column(
        "exponent of the power law of the largest σ², fitted as WeightWatcher does; NULL below 50 values"
    )
    alpha_ks: float | None = column("distance of Kolmogorov and Smirnov between the tail and that law")
    live_singular_values: Vector | None = column("`singular_values` of the live rows")
    live_spectral_norm: float | None = column("`spectral_norm` of the live rows")
    live_stable_rank: float | None = column("`stable_rank` of the live rows")
    live_effective_rank: float | None = column("`effective_rank` of the live rows", "dimensions")
    live_participation_ratio: float | None = column("`participation_ratio` of the live rows", "dimensions")
    live_condition: float | None = column("`condition` of the live rows")
    live_pc1_share: float | None = column("`pc1_share` of the live rows")
    live_pc1_centroid_angle_deg: float | None = column("`pc1_centroid_angle_deg` of the live rows", "degrees")
    live_alpha: float | None = column("`alpha` of the live rows")
    live_alpha_ks: float | None = column("`alpha_ks` of the live rows")
    directions: tuple[Direction, ...] | None = column(
        "the leading principal components and the rows farthest along each; NULL if made by `survey run`"
    )


@dataclass(frozen=True, kw_only=True)
class SpectrumRow(Made, Spectrum, WhichMatrix):
    """The spectrum of one matrix."""

    device: str = column("device that did the products and the eigenvalues")
    elapsed_s: float = column("reading and computing; of `survey run`, computing beside the pass", "seconds")


RESULTS: Mapping[str, type[Any]] = {
    "kinematics": KinematicsRow,
    "training_runs": TrainingRow,
    "clusters": ClusterRow,
    "spectra": SpectrumRow,
}
