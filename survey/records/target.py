"""From a line of the list to a planned measurement: models, targets, refusals, traffic."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

from survey.records.column_field import column
from survey.records.tensors import ScaleSpec, TensorSpec

MatrixName = Literal["output", "input"]
MatrixChoice = Literal["output", "input", "both"]


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
    base_model: str | None = column(
        "the model card's `base_model` (the first, if several); without one, the model that a GGUF file names"
    )
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
    stored_as: str | None = column(
        "format of the stored rows: a float such as `BF16`, a quantisation such as `Q6_K` or `mlx-4bit-g64`"
    )
    bits_per_weight: float | None = column(
        "bits that a row takes, its share of its own factors included, for each element", "bits"
    )
    quantised: bool | None = column(
        "elements are codes that factors multiply: rows that were nearly equal may have become equal, so "
        "`dead_count` is an upper bound"
    )
    library_name: str | None = column("the model card's library, e.g. transformers")
    tags: tuple[str, ...] = column("tags of the repository")
    last_modified: datetime | None = column("time of the repository's last commit", "UTC")


class FileVersion(NamedTuple):
    """A version of a file. source: an origin and a header, each of which may state it in its own words."""

    file: str
    source: str
    etag: str


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
    spectrum_bytes: int = 0  # memory that its spectrum takes beyond that; 0 if it is to have none
    only_spectrum: bool = False  # its row is there, and only its spectrum is computed
    versions: tuple[FileVersion, ...] = ()  # of the files that the plan read on the Hub
    content_key: str | None = None  # of the matrix (survey/targets/content_key.py); None if it is not known
    tokenizer_key: str | None = None  # of the tokenizer's files; as above
    same_as: SameBytes | None = None  # a row of another content key, whose bytes are proved to be equal
    tokenizer_contents: tuple[tuple[str, str], ...] = ()  # name and content id of those that have one

    @property
    def key(self) -> tuple[str, str, MatrixName]:
        return self.identity.repo, self.identity.sha, self.identity.matrix


@dataclass(frozen=True, slots=True)
class SameBytes:
    """A row of the catalog (repo, sha, matrix), and its content key."""

    row: tuple[str, str, str]
    content_key: str


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
