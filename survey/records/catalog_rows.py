"""The rows of the catalog's tables: a matrix, one of its tokens, and one attempt of a run.

A matrix's row joins columns of several records: what was measured (`measured_columns.py`), its identity
(`target.py`), its tokenizer (`tokenizer.py`), and here where the row comes from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from survey.records.column_field import Float32, TokenId, UInt64, column
from survey.records.measured_columns import Measurement
from survey.records.target import Identity
from survey.records.tokenizer import Reach, TokenColumns, TokenizerSummary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where, when and at what cost a row was measured."""

    survey_version: str = column("version of centroid-survey")
    run_id: str = column("the run that measured it")
    measured_at: datetime = column("end of the measurement", "UTC")
    device: str = column("device that did the arithmetic")
    device_reason: str | None = column("why it was chosen")
    host: str = column("machine that measured")
    tensor_bytes: int = column("bytes of the matrix", "bytes")
    fetched_bytes: int = column(
        "bytes received for it: matrix, headers, metadata and failed attempts", "bytes"
    )
    repo_bytes: int = column("size of the whole repository", "bytes")
    measured_from: str | None = column(
        "repo@sha of the row whose figures these are: the same bytes were measured there, and the row was "
        "copied; NULL if this matrix was read itself"
    )
    content_key: str | None = column(
        "digest of the contents of the matrix's files as the Hub states them, and of the ranges in them: "
        "rows with the same are of the same bytes; NULL if nothing states the contents"
    )
    tokenizer_key: str | None = column("the same of the tokenizer's files")
    requests: int = column("HTTP requests, redirects and retries included")
    retries: int = column("requests that had to be repeated")
    fetch_s: float = column("waiting for bytes", "seconds")
    warmup_s: float | None = column(
        "waiting for the compiler and its kernels, or for CUDA: once a process; NULL in old rows", "seconds"
    )
    measure_s: float = column("arithmetic and hashing", "seconds")
    elapsed_s: float = column("the task, from start to end", "seconds")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One finished model: four groups of columns, in the order of the table, and the columns of its tokens.

    token_columns: None if there is no tokenizer that can be read. flags: classes of rows by name, [V] each.
    distances: unused_cosine and unused_l2, [V] each, if the run was to measure them; NaN if a row has none.
    """

    identity: Identity
    measurement: Measurement
    tokenizer: TokenizerSummary
    token_columns: TokenColumns | None
    flags: Mapping[str, NDArray[np.bool_]]
    distances: Mapping[str, NDArray[np.float64]]
    provenance: Provenance


@dataclass(frozen=True, kw_only=True)
class TokenRow:
    """One row of the per-token table."""

    repo: str = column("as in models")
    sha: str = column("as in models")
    matrix: str = column("as in models")
    token_id: TokenId = column("row of the matrix, from 0")
    norm: float | None = column("‖w_i‖; NULL if the row is not finite")
    row_hash: UInt64 = column("low half of xxh3-128 of the row's bytes")
    value_hash: UInt64 | None = column(
        "the same of its values, whatever the dtype: of the row's bytes in the first of BF16, F16 and F32 "
        "in which all its values are exact, combined by exclusive or with xxh3-64 of that dtype's name, "
        "unless that is BF16; if a scale multiplies the matrix and there is none, of its bytes and factors; "
        "NULL if that dtype is the stored one, if there is none and no scale, and in old rows"
    )
    black_hole: TokenId | None = column("rank of its black hole, or NULL")
    identical: bool = column("its bytes are those of another row: it is in a black hole")
    zero: bool = column("it is ±0 throughout")
    near_zero: bool = column("zero, or ‖w_i‖ < 1e-6 × the median of the rows that are not")
    nonfinite: bool = column("it holds a NaN or an infinity")
    frozen: bool | None = column("unique, and lies with the dead")
    undertrained: bool | None = column("in a population that is a candidate; NULL if the data cannot tell")
    population: TokenId | None = column("number of its population in undertrained_populations, or NULL")
    phantom: bool | None = column(
        "no token: at or above the tokenizer's size, or in a hole of its ids; NULL if some tokens stand in "
        "code beside the files"
    )
    reach: Reach | None = column(
        "whether some text is cut into this token; `special` tokens and `fragment`s of characters cannot be "
        "asked that, nor can a `byte`, unless UTF-8 never uses it or each of its characters has another "
        "token; NULL if the files do not say how text is cut"
    )
    unreachable: bool | None = column("reach = 'unreachable'")
    text: str | None = column("what the token stands for; bytes that are no character as \\xe2")
    is_special: bool | None = column("a control token, by what the tokenizer says")
    is_byte: bool | None = column("one byte that is no character by itself")
    is_added: bool | None = column("added beside the vocabulary")
    unused_cosine: Float32 | None = column(
        "1 − cosine to the mean of known unused rows, both without the first principal component; only with "
        "`--reference-tokens`"
    )
    unused_l2: Float32 | None = column("distance to the mean of known unused rows; as above")


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """What one run did about one matrix of one model."""

    run_id: str = column("the run")
    repo: str = column("as in models")
    revision: str = column("what the user wrote; of a pattern, the branch or tag that matches")
    pattern: str | None = column("the pattern of revisions that the user wrote; NULL if there was none")
    listed_in: str | None = column(
        "the list that named it, `standard input` or `command line`; NULL in old rows"
    )
    sha: str | None = column("what it resolved to in this run; NULL if it did not")
    matrix: str = column("`output` or `input`")
    status: Literal["measured", "unchanged", "failed"] = column("the outcome")
    reason: str | None = column("why it failed, from a fixed list")
    message: str | None = column("what the run found and what it expected")
    tries: int = column("how often the task was started; 0 if planning ended it, or if the row was copied")
    fetched_bytes: int = column("bytes received in the last try, or for the plan", "bytes")
    elapsed_s: float = column("time of the last try, or of planning a refusal", "seconds")
    host: str | None = column("machine of the last try, or of the plan")
    finished_at: datetime = column(
        "when the outcome was known; after all of earlier runs, whatever their clocks", "UTC"
    )


# The classes of dead rows in the order of `class_overlaps`; each with the column of the per-token table that
# is NULL if the class is unknown.
TOKEN_CLASSES: Mapping[str, str] = {
    "identical": "identical",
    "zero": "zero",
    "near_zero": "near_zero",
    "nonfinite": "nonfinite",
    "frozen": "frozen",
    "undertrained": "undertrained",
    "phantom": "phantom",
    "unreachable": "reach",
}


@dataclass(frozen=True, kw_only=True)
class ClassOverlaps:
    """What the per-token table says of its classes: no question about all models opens these tables."""

    class_overlaps: tuple[tuple[int | None, ...], ...] | None = column(
        "for each class of dead rows how many of its rows are in each class, itself included; NULL without a "
        "per-token table, or if one of the two is unknown",
        "rows",
    )


ROW_GROUPS: tuple[type[Any], ...] = (Identity, Measurement, TokenizerSummary, Provenance, ClassOverlaps)
