"""From a line of the list to a planned measurement: byte ranges, tensors, models, targets, refusals."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from survey.records.column_meaning import column

MatrixName = Literal["output", "input"]
MatrixChoice = Literal["output", "input", "both"]

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
class FileRange:
    """A byte range of one of a checkpoint's files."""

    file: str
    bytes: ByteRange


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a matrix that is a tensor of its own; its first element is [row, column] of the whole."""

    tensor: TensorSpec
    row: int
    column: int


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor in a file: [V, D], row-major, at `bytes` of the file (absolute).

    pieces: of a matrix that is cut into several tensors, by row and column. Then `bytes` counts from 0, as if
    the whole had been written row by row (`survey.sharding.pieces` reads it).
    """

    name: str
    file: str
    dtype: str
    shape: tuple[int, ...]
    bytes: ByteRange
    pieces: tuple[Piece, ...] = ()

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return len(self.bytes) // self.shape[0]

    @property
    def across(self) -> int:
        """The largest number of tensors that a row is made of."""
        return len({piece.column for piece in self.pieces}) or 1

    @property
    def files(self) -> tuple[str, ...]:
        """The files that hold it, each once."""
        files = (piece.tensor.file for piece in self.pieces)
        return tuple(dict.fromkeys(files)) if self.pieces else (self.file,)


@dataclass(frozen=True, slots=True)
class ScaleSpec:
    """The scale of a matrix: [P, Q] factors (`tiles`), each for a tile of rows × dimensions.

    file_bytes: size of the file that holds it. per: `tensor`, `row` or the tile, such as `128×128`.
    """

    tensor: TensorSpec
    file_bytes: int
    tiles: tuple[int, int]
    tile: tuple[int, int]
    per: str


# ------------------------------------------------------------------------------- requested models


@dataclass(frozen=True, slots=True)
class ModelRef:
    """One line of the list: a Hub id with a revision, or a checkpoint folder.

    pattern: if the line had one, such as `step*`; then the revision is one that matches. part: the folder or
    file of the repository that is meant. problem: why the line names no model; then `repo` is the line.
    """

    repo: str
    revision: str | None = None
    folder: Path | None = None
    origin: str = "command line"
    pattern: str | None = None
    problem: str | None = None
    part: str | None = None

    @property
    def name(self) -> str:
        """Its name in the catalog, with its part: each part of a repository is a model of its own."""
        return name_with_part(self.repo, self.part)

    @property
    def listed_in(self) -> str:
        """The list that names it: its origin without the line."""
        return re.sub(r":[0-9]+$", "", self.origin)

    def __str__(self) -> str:
        return name_with_part(f"{self.repo}@{self.revision}" if self.revision else self.repo, self.part)


def name_with_part(repo: str, part: str | None) -> str:
    """The name of a part of a repository, or of the whole."""
    return f"{repo}:{part}" if part else repo


# ------------------------------------------------------------------------- identity of a matrix


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Which matrix of which model."""

    repo: str = column("Hub id, or the resolved path of a checkpoint folder; `:` and the part that was named")
    revision: str = column("what the user wrote: a branch, a tag or a commit; `main` by default")
    sha: str = column("commit that the revision resolved to; `local-…` for a folder")
    org: str | None = column("the part of the Hub id before the slash")
    family: str | None = column("the name people use: Qwen, Llama, Gemma, …")
    family_by: str | None = column("what decided the family: model_type, base_model, name or org")
    model_type: str | None = column("`model_type` of config.json")
    architecture: str | None = column("first entry of `architectures` of config.json")
    base_model: str | None = column("the model card's `base_model` (the first, if several)")
    matrix: MatrixName = column("`output` = the unembedding, `input` = the embedding")
    tensor: str = column("name of the tensor that was measured; of a matrix in parts, their names")
    file: str = column("file that holds it; of a matrix in parts, their files")
    tied: bool = column("the unembedding and the embedding are one tensor in the files")
    tie_stated: bool | None = column(
        "what the config says of tying (`tie_word_embeddings` or its like); NULL if it says nothing"
    )
    head_bias: bool = column("the files hold a bias beside the unembedding")
    scale: str | None = column(
        "what stored values were multiplied by, and `per tensor`, `row` or tile; NULL if by nothing"
    )
    library_name: str | None = column("the model card's library, e.g. transformers")
    tags: tuple[str, ...] = column("tags of the repository")
    last_modified: datetime | None = column("time of the repository's last commit", "UTC")


@dataclass(frozen=True, slots=True)
class Target:
    """A planned measurement: everything that a task needs, so that it need not look anything up."""

    identity: Identity
    spec: TensorSpec
    folder: Path | None
    rule: str
    files: tuple[tuple[str, int], ...]  # name and size of each file that holds a part of the matrix
    repo_bytes: int
    planning: Traffic
    pattern: str | None = None  # as in ModelRef
    listed_in: str | None = None  # as in ModelRef
    scale: ScaleSpec | None = None
    part: str | None = None  # as in ModelRef
    tokenizer_files: tuple[tuple[str, int], ...] = ()  # name and size; the file with the vocabulary first
    memory_bytes: int = 0  # predicted by the plan (jobs/planning/memory.py); 0 before

    @property
    def key(self) -> tuple[str, str, MatrixName]:
        return self.identity.repo, self.identity.sha, self.identity.matrix


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a model, or one matrix of it, cannot be measured. elapsed_s: planning time until then."""

    model: ModelRef
    matrix: MatrixName
    reason: str
    message: str
    sha: str | None = None
    fetched_bytes: int = 0
    elapsed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """Network traffic. bytes: of response bodies, failed attempts included."""

    bytes: int = 0
    requests: int = 0
    retries: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.bytes + other.bytes, self.requests + other.requests, self.retries + other.retries)

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(self.bytes - other.bytes, self.requests - other.requests, self.retries - other.retries)
