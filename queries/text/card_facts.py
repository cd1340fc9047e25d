"""The figures of a card, by their headings: the same on a terminal and in the report."""

from __future__ import annotations

FACT_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "identity",
        (
            "family", "architecture", "base_model", "sha", "matrix", "tensor", "file", "tied",
            "stored_as", "bits_per_weight", "quantised", "vocab_rows", "hidden_dim", "last_modified",
        ),
    ),
    ("centroid", ("centroid_l2", "centroid_linf", "centroid_l1", "centroid_ratio")),
    (
        "row norms",
        (
            "token_norm_mean", "token_norm_median", "token_norm_std", "token_norm_min",
            "token_norm_p01", "token_norm_p99", "token_norm_max",
        ),
    ),
    (
        "dead rows",
        (
            "black_hole_count", "dead_count", "dead_fraction", "unique_rows", "zero_rows",
            "near_zero_rows", "nonfinite_rows", "dead_zero_rows", "dead_nonfinite_rows", "copied_rows",
            "dead_centroid_l2", "dead_nonzero_centroid_l2", "dead_norm_mean", "dead_nonzero_norm_mean",
            "live_centroid_l2",
            "dead_live_angle_deg", "dead_live_distance",
        ),
    ),
    (
        "rows and tokens",
        (
            "tokenizer_file", "tokenizer_size", "added_tokens", "phantom_rows", "unreachable_rows",
            "frozen_rows", "undertrained_rows", "undertrained_contrast", "undertrained_note",
            "tokenizer_note",
        ),
    ),
    (
        "isotropy",
        (
            "mean_cosine", "live_mean_cosine", "variance_participation", "outlier_dims",
            "top_dim_variance_share", "centroid_top3_share",
        ),
    ),
    ("exponents", ("exponent_entropy_bits", "exponent_offset", "shared_exponent_dims")),
    (
        "measured",
        (
            "measured_at", "measured_from", "device", "fetched_bytes", "repo_bytes", "requests",
            "elapsed_s",
        ),
    ),
)  # fmt: skip
FACTS = tuple(name for _, names in FACT_GROUPS for name in names)
