"""The records that travel between the stages, and the columns of the catalog.

A column's name, type, unit and meaning are stated once, here, as a field; the Parquet schema, the
SQL views and the data dictionary are derived from these fields.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NewType

import numpy as np
from numpy.typing import NDArray

from survey.reference import ReferenceTokens

MatrixName = Literal["output", "input"]
MatrixChoice = Literal["output", "input", "both"]
Vector = NDArray[np.float32]  # [D]
UInt64 = NewType("UInt64", int)
Float32 = NewType("Float32", float)
TokenId = NewType("TokenId", int)  # stored in 32 bits: no vocabulary reaches 2^31 rows


def column(meaning: str, unit: str = "") -> Any:  # Any: dataclasses.field() is typed this way too
    """A field that is a column: what it means, and its unit (empty: none)."""
    return field(metadata={"meaning": meaning, "unit": unit})


# --------------------------------------------------------------------------- bytes and tensors


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes [start, stop) of one file; stop is one past the last byte."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def http_header(self) -> str:
        return f"bytes={self.start}-{self.stop - 1}"  # HTTP names the last byte itself


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor in a file: [V, D], row-major, at `bytes` of the file (absolute)."""

    name: str
    file: str
    dtype: str
    shape: tuple[int, ...]
    bytes: ByteRange

    @property
    def row_bytes(self) -> int:
        return len(self.bytes) // self.shape[0]


@dataclass(frozen=True, slots=True)
class ScaleSpec:
    """What a matrix is to be multiplied by: [P, Q] factors, each for a tile of rows × dimensions.

    file_bytes: size of the file that holds it. per: `tensor`, `row` or the tile, such as `128×128`.
    """

    tensor: TensorSpec
    file_bytes: int
    tiles: tuple[int, int]
    tile: tuple[int, int]
    per: str


# ------------------------------------------------------------------------------- what was asked


@dataclass(frozen=True, slots=True)
class ModelRef:
    """One line of the list: a Hub id with a revision, or a checkpoint folder.

    pattern: where the line had one, such as `step*`; then the revision is one that matches.
    """

    repo: str
    revision: str | None = None
    folder: Path | None = None
    origin: str = "command line"
    pattern: str | None = None

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}" if self.revision else self.repo


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a busy or broken server is asked again, and how long we wait in between.

    tries: attempts in a row without a single byte of progress.
    """

    tries: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 60.0

    def wait_s(self, failures: int, asked_s: float | None) -> float:
        """What the server asks for, or twice as long after each failure; jitter on top."""
        wanted = self.first_wait_s * 2 ** (failures - 1) if asked_s is None else asked_s
        return min(wanted * random.uniform(1.0, 1.25), self.longest_wait_s)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach the Hub and how to measure; the same in this process and in a Ray worker.

    timeout_s: deadline of one model, from its start. threads: of the CPU's arithmetic; None takes
    one for each CPU that the process may use. token: never printed (repr is off).
    """

    endpoint: str = "https://huggingface.co"
    token: str | None = field(default=None, repr=False)
    connections: int = 16  # at most; as many are used as bring the bytes faster
    device: str = "auto"
    threads: int | None = None
    tokens: bool = True
    timeout_s: float = 1800.0
    patience: Patience = Patience()
    run_id: str = "notebook"
    reference: ReferenceTokens | None = None  # known unused tokens to which distances are measured


# ------------------------------------------------------------------------- identity of a matrix


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Which matrix of which model."""

    repo: str = column("Hub id, or the resolved path of a checkpoint folder")
    revision: str = column("what the user wrote: a branch, a tag or a commit; `main` by default")
    sha: str = column("commit that the revision resolved to; `local-…` for a folder")
    org: str | None = column("the part of the Hub id before the slash")
    family: str | None = column("the name people use: Qwen, Llama, Gemma, …")
    family_by: str | None = column("what decided the family: model_type, base_model, name or org")
    model_type: str | None = column("`model_type` of config.json")
    architecture: str | None = column("first entry of `architectures` of config.json")
    base_model: str | None = column("the model card's `base_model` (the first, if several)")
    matrix: MatrixName = column("`output` = the unembedding, `input` = the embedding")
    tensor: str = column("name of the tensor that was measured")
    file: str = column("file that holds it")
    tied: bool = column("the unembedding and the embedding are one tensor in the files")
    tie_stated: bool | None = column(
        "what the config says of tying (`tie_word_embeddings` or its like); NULL where it says nothing"
    )
    head_bias: bool = column("the files hold a bias beside the unembedding")
    scale: str | None = column(
        "what stored values were multiplied by, and `per tensor`, `row` or tile; NULL where by nothing"
    )
    library_name: str | None = column("the model card's library, e.g. transformers")
    tags: tuple[str, ...] = column("tags of the repository")
    last_modified: datetime | None = column("time of the repository's last commit", "UTC")


@dataclass(frozen=True, slots=True)
class Target:
    """A planned measurement: everything that a task needs, and nothing that it must look up."""

    identity: Identity
    spec: TensorSpec
    folder: Path | None
    rule: str
    file_bytes: int
    repo_bytes: int
    memory_bytes: int
    planning: Traffic
    pattern: str | None = None  # as in ModelRef
    scale: ScaleSpec | None = None
    tokenizer_files: tuple[tuple[str, int], ...] = ()  # name and size, the one with the vocabulary first

    @property
    def key(self) -> tuple[str, str, MatrixName]:
        return self.identity.repo, self.identity.sha, self.identity.matrix


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a model, or one matrix of it, cannot be measured; elapsed_s: until that was known."""

    model: ModelRef
    matrix: MatrixName
    reason: str
    message: str
    sha: str | None = None
    fetched_bytes: int = 0
    elapsed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What came over the network. bytes: bodies, failed attempts included."""

    bytes: int = 0
    requests: int = 0
    retries: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.bytes + other.bytes, self.requests + other.requests, self.retries + other.retries)

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(self.bytes - other.bytes, self.requests - other.requests, self.retries - other.retries)


# --------------------------------------------------------- what is measured, group by group
# A row is flat in SQL, so it is flat here: Measurement inherits the groups' fields. That breaks
# the rule "inherit only for exceptions"; the alternative is writing seventy names twice.


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The matrix itself."""

    dtype: str = column("stored dtype: F64, F32, F16, BF16, F8_E4M3 or F8_E5M2")
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
    norm: float | None = column("‖w‖ of its vector; NULL where it is not finite")
    angle_to_live_deg: float | None = column("angle to the live centroid", "degrees")
    row_hash: UInt64 = column("low half of xxh3-128 of the row's bytes")


@dataclass(frozen=True, kw_only=True)
class IdenticalRows:
    """Rows whose stored bytes are identical: the black holes."""

    unique_rows: int = column("distinct rows, by bytes", "rows")
    black_hole_count: int = column("sets of two or more identical rows")
    black_hole_sizes: tuple[int, ...] = column("their populations, descending", "rows")
    dead_count: int = column("rows in black holes (the population)", "rows")
    live_count: int = column("all other rows", "rows")
    dead_fraction: float = column("dead_count / vocab_rows")
    black_holes: tuple[BlackHole, ...] = column("the black holes, by rank")


@dataclass(frozen=True, kw_only=True)
class DeadAndLive:
    """Dead rows (in black holes) against live rows (all others); finite rows only."""

    dead_centroid_l2: float | None = column("‖mean of the dead rows‖")
    live_centroid_l2: float | None = column("‖mean of the live rows‖")
    dead_live_cosine: float | None = column("cosine between dead and live centroid")
    dead_live_angle_deg: float | None = column("angle between dead and live centroid", "degrees")
    dead_live_distance: float | None = column("distance between dead and live centroid")
    dead_full_distance: float | None = column("distance between dead centroid and μ")
    dead_norm_mean: float | None = column("mean ‖w_i‖ of the dead rows")
    dead_norm_std: float | None = column("standard deviation of it, ddof 1")
    live_norm_mean: float | None = column("mean ‖w_i‖ of the live rows")
    live_norm_std: float | None = column("standard deviation of it, ddof 1")
    black_hole_mean_cosine: float | None = column(
        "cosine between the dead centroid and the unweighted mean of the black holes' vectors"
    )
    dead_centroid: Vector | None = column("mean of the dead rows")
    live_centroid: Vector | None = column("mean of the live rows")


@dataclass(frozen=True, kw_only=True)
class Exponents:
    """The biased exponent field of every stored element, before any scale; all rows."""

    exponent_entropy_bits: float = column("Shannon entropy of the exponents of all rows", "bits")
    dead_exponent_mean: float | None = column("mean biased exponent of the dead rows")
    live_exponent_mean: float | None = column("mean biased exponent of the live rows")
    exponent_offset: float | None = column("live_exponent_mean − dead_exponent_mean")
    shared_exponent_dims: int | None = column(
        "dimensions in which all black holes have the same exponent", "dimensions"
    )
    exponents_all: tuple[int, ...] = column("elements by biased exponent (the index), all rows")
    exponents_dead: tuple[int, ...] = column("the same for the dead rows")


@dataclass(frozen=True, kw_only=True)
class RowClasses:
    """Rows that are odd in other ways than being identical; the classes may overlap."""

    zero_rows: int = column("rows of ±0 only", "rows")
    near_zero_rows: int = column("finite rows with ‖w_i‖ < 1e-6 × median, zero rows included", "rows")
    nonfinite_rows: int = column("rows with a NaN or an infinity", "rows")


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """Singletons around black holes."""

    frozen_rows: int | None = column("unique rows that lie with the dead; NULL where none is dead", "rows")


@dataclass(frozen=True, kw_only=True)
class Undertrained:
    """Candidates for rows that were never trained, by geometry alone."""

    undertrained_rows: int | None = column(
        "rows of a compact population apart from the main cloud; 0 where there is none", "rows"
    )
    undertrained_contrast: float | None = column(
        "how many times farther from its centre the other rows lie than its own, by medians"
    )


@dataclass(frozen=True, kw_only=True)
class RowSketch:
    """What tells matrices' common rows without reading them; made of the per-token table."""

    informative_rows: int = column("rows that are finite, not zero and in no black hole", "rows")
    rows_hash: UInt64 = column(
        "xxh3-64 of all row hashes in order: of one dtype and shape, equal where all bytes are"
    )
    row_sketch: tuple[UInt64, ...] = column("the 512 smallest row hashes of informative rows, ascending")


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The per-token table as columns of length V."""

    norm: NDArray[np.float64]  # NaN where the row is not finite
    row_hash: NDArray[np.uint64]
    black_hole: NDArray[np.int32]  # rank, 0 = none
    frozen: NDArray[np.bool_] | None = None  # these two: None in tables of older versions
    undertrained: NDArray[np.bool_] | None = None


Reach = Literal["reachable", "unreachable", "special", "byte", "fragment"]


@dataclass(frozen=True, kw_only=True)
class TokenNames:
    """What the tokenizer says of each row, as columns of length V; None where it says nothing."""

    text: Sequence[str | None]
    reach: Sequence[Reach | None]
    phantom: NDArray[np.bool_]
    is_special: NDArray[np.bool_]
    is_byte: NDArray[np.bool_]
    is_added: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Measurement(
    # Dataclasses collect fields from the last base to the first: Shape's columns come first.
    RowSketch, Undertrained, Frozen, RowClasses, Exponents, DeadAndLive, IdenticalRows, RowNorms,
    Centroid, Shape,
):  # fmt: skip
    """Every measured column of one matrix; `tokens` is its per-token table."""

    measures: Mapping[str, int] = column("version of every measure in this row")
    tokens: Tokens = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Naming:
    """What the tokenizer says of the rows; NULL where there is none that can be read."""

    tokenizer_file: str | None = column("the file that held the vocabulary")
    tokenizer_note: str | None = column("why there are no names, or fewer than there might be")
    tokenizer_size: int | None = column("highest token id + 1")
    added_tokens: int | None = column("tokens that were added beside the vocabulary")
    phantom_rows: int | None = column("rows at or above the tokenizer's size", "rows")
    unreachable_rows: int | None = column(
        "rows whose token no text is cut into: decoded and encoded again it does not come back; bytes, "
        "special tokens and fragments of characters do not count",
        "rows",
    )
    reference_rows: int | None = column(
        "rows known to be unused, from whose mean unused_cosine and unused_l2 are measured; only with "
        "`--reference-tokens`, 0 where none is known",
        "rows",
    )
    black_hole_texts: tuple[tuple[str, ...], ...] | None = column("for each black hole its first texts")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where, when and at what cost a row was measured."""

    survey_version: str = column("version of centroid-survey")
    run_id: str = column("the run that measured it")
    measured_at: datetime = column("end of the measurement", "UTC")
    device: str = column("device that did the arithmetic")
    host: str = column("machine that measured")
    tensor_bytes: int = column("bytes of the matrix", "bytes")
    fetched_bytes: int = column(
        "bytes that came for it: matrix, headers, metadata and failed attempts", "bytes"
    )
    repo_bytes: int = column("size of the whole repository", "bytes")
    requests: int = column("HTTP requests, redirects and retries included")
    retries: int = column("requests that had to be made again")
    fetch_s: float = column("waiting for bytes", "seconds")
    measure_s: float = column("arithmetic and hashing", "seconds")
    elapsed_s: float = column("the task, from start to end", "seconds")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One finished model: four groups of columns, in the order of the table, and what tells of each token.

    names: None where the tokenizer says nothing. flags: classes of rows by name, [V] each.
    distances: unused_cosine and unused_l2, [V], where they were asked for; NaN where a row has none.
    """

    identity: Identity
    measurement: Measurement
    naming: Naming
    names: TokenNames | None
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
    norm: float | None = column("‖w_i‖; NULL where the row is not finite")
    row_hash: UInt64 = column("low half of xxh3-128 of the row's bytes")
    black_hole: TokenId | None = column("rank of its black hole, or NULL")
    identical: bool = column("its bytes are those of another row: it is in a black hole")
    zero: bool = column("it is ±0 throughout")
    near_zero: bool = column("‖w_i‖ < 1e-6 × median, zero included")
    nonfinite: bool = column("it holds a NaN or an infinity")
    frozen: bool | None = column("unique, and lies with the dead")
    undertrained: bool | None = column("in a compact population apart from the main cloud")
    phantom: bool | None = column("no token: at or above the tokenizer's size")
    reach: Reach | None = column(
        "whether some text is cut into this token; `byte`, `special` and `fragment` (of a character) cannot "
        "be asked that; NULL where the files do not say how text is cut"
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


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What one run did about one matrix of one model."""

    run_id: str = column("the run")
    repo: str = column("as in models")
    revision: str = column("what the user wrote; of a pattern, the branch or tag that matches")
    pattern: str | None = column("the pattern of revisions that was written; NULL where none was")
    sha: str | None = column("what it resolved to in this run; NULL where it did not")
    matrix: str = column("`output` or `input`")
    status: Literal["measured", "unchanged", "failed"] = column("what came of it")
    reason: str | None = column("why it failed, from a fixed list")
    message: str | None = column("what was found and what was expected")
    tries: int = column("how often the task was started; 0 where the plan was the end of it")
    fetched_bytes: int = column("bytes that came in the last try, or for the plan", "bytes")
    elapsed_s: float = column("time of the last try, or of planning a refusal", "seconds")
    host: str | None = column("machine of the last try, or of the plan")
    finished_at: datetime = column("when the outcome was known", "UTC")


ROW_GROUPS: tuple[type[Any], ...] = (Identity, Measurement, Naming, Provenance)


def columns_of(*records: type[Any]) -> list[dataclasses.Field[Any]]:
    """The fields that are columns, base classes' first, in the order they are written."""
    return [item for record in records for item in dataclasses.fields(record) if "meaning" in item.metadata]
