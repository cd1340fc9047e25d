"""The schema comes from the records."""

from __future__ import annotations

import pyarrow as pa
import pytest

from catalog.schema_of_records import (
    arrow_schema,
    attempt_columns,
    hole_columns,
    population_columns,
    row_columns,
    token_columns,
)

TYPES = [
    ("repo", "VARCHAR", pa.string()),
    ("tied", "BOOLEAN", pa.bool_()),
    ("tie_stated", "BOOLEAN", pa.bool_()),
    ("matrix", "VARCHAR", pa.string()),
    ("tags", "VARCHAR[]", pa.list_(pa.string())),
    ("last_modified", "TIMESTAMP", pa.timestamp("us")),
    ("vocab_rows", "BIGINT", pa.int64()),
    ("centroid_l2", "DOUBLE", pa.float64()),
    ("centroid", "FLOAT[]", pa.list_(pa.float32())),
    ("black_hole_sizes", "BIGINT[]", pa.list_(pa.int64())),
    ("exponents_all", "BIGINT[]", pa.list_(pa.int64())),
    ("measures", "MAP(VARCHAR, BIGINT)", pa.map_(pa.string(), pa.int64())),
]


@pytest.mark.parametrize(("name", "sql_type", "arrow_type"), TYPES, ids=[name for name, *_ in TYPES])
def test_a_field_becomes_a_typed_column(name: str, sql_type: str, arrow_type: pa.DataType) -> None:
    (column,) = [column for column in row_columns() if column.name == name]
    assert column.sql_type == sql_type
    assert arrow_schema(row_columns()).field(name).type == arrow_type


def test_black_holes_are_a_list_of_structs() -> None:
    kind = arrow_schema(row_columns()).field("black_holes").type
    assert [field.name for field in kind.value_type] == [column.name for column in hole_columns()]
    assert kind.value_type.field("row_hash").type == pa.uint64()
    assert kind.value_type.field("token_ids").type == pa.list_(pa.int32())


def test_populations_are_a_list_of_structs() -> None:
    kind = arrow_schema(row_columns()).field("undertrained_populations").type
    assert [field.name for field in kind.value_type] == [column.name for column in population_columns()]


def test_every_column_says_what_it_means() -> None:
    for column in (
        *row_columns(),
        *token_columns(),
        *attempt_columns(),
        *hole_columns(),
        *population_columns(),
    ):
        assert column.meaning


def test_names_are_unique_in_a_row() -> None:
    names = [column.name for column in row_columns()]
    assert len(names) == len(set(names))


def test_the_fixed_names_are_there() -> None:
    """Other people's queries depend on these."""
    fixed = [
        "repo",
        "revision",
        "sha",
        "org",
        "family",
        "family_by",
        "model_type",
        "architecture",
        "base_model",
        "matrix",
        "tensor",
        "file",
        "tied",
        "tie_stated",
        "dtype",
        "vocab_rows",
        "hidden_dim",
        "head_bias",
        "scale",
        "stored_as",
        "bits_per_weight",
        "quantised",
        "library_name",
        "tags",
        "last_modified",
        "centroid_mean",
        "centroid_std",
        "centroid_min",
        "centroid_max",
        "centroid_l1",
        "centroid_l2",
        "centroid_linf",
        "centroid",
        "token_norm_mean",
        "token_norm_median",
        "token_norm_std",
        "token_norm_min",
        "token_norm_max",
        "token_norm_p01",
        "token_norm_p05",
        "token_norm_p25",
        "token_norm_p75",
        "token_norm_p95",
        "token_norm_p99",
        "centroid_ratio",
        "unique_rows",
        "black_hole_count",
        "black_hole_sizes",
        "dead_count",
        "live_count",
        "dead_fraction",
        "dead_centroid_l2",
        "live_centroid_l2",
        "dead_live_cosine",
        "dead_live_angle_deg",
        "dead_live_distance",
        "dead_full_distance",
        "dead_norm_mean",
        "dead_norm_std",
        "live_norm_mean",
        "live_norm_std",
        "dead_zero_rows",
        "dead_nonfinite_rows",
        "dead_nonzero_centroid_l2",
        "dead_nonzero_norm_mean",
        "copied_rows",
        "black_hole_mean_cosine",
        "dead_centroid",
        "live_centroid",
        "exponent_entropy_bits",
        "dead_exponent_mean",
        "live_exponent_mean",
        "exponent_offset",
        "shared_exponent_dims",
        "exponents_all",
        "exponents_dead",
        "zero_rows",
        "near_zero_rows",
        "nonfinite_rows",
        "informative_rows",
        "rows_hash",
        "row_sketch",
        "norm_sketch",
        "norm_id_spearman",
        "exact_in",
        "values_hash",
        "value_sketch",
        "mean_cosine",
        "live_mean_cosine",
        "outlier_dims",
        "top_dim_variance_share",
        "variance_participation",
        "centroid_top3_share",
        "mantissa_entropy_bits",
        "compressed_bits_per_weight",
        "measures",
        "class_overlaps",
        "scale",
        "tokenizer_file",
        "tokenizer_note",
        "tokenizer_size",
        "added_tokens",
        "phantom_rows",
        "unreachable_rows",
        "frozen_rows",
        "undertrained_rows",
        "undertrained_contrast",
        "undertrained_populations",
        "undertrained_note",
        "black_hole_texts",
        "reference_rows",
        "survey_version",
        "run_id",
        "measured_at",
        "device",
        "device_reason",
        "host",
        "tensor_bytes",
        "fetched_bytes",
        "repo_bytes",
        "measured_from",
        "content_key",
        "tokenizer_key",
        "requests",
        "retries",
        "fetch_s",
        "warmup_s",
        "measure_s",
        "elapsed_s",
        "black_holes",
    ]
    assert set(fixed) == {column.name for column in row_columns()}
    holes = ["rank", "population", "token_ids", "norm", "angle_to_live_deg", "row_hash"]
    assert [column.name for column in hole_columns()] == holes
