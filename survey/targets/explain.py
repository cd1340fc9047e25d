"""Why these tensors: a checkpoint's candidates, its config's statements, and the rule that decided."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from survey.errors import SurveyError
from survey.records.target import MatrixName
from survey.targets.checkpoint_layout import CheckpointLayout
from survey.targets.locate import locate
from survey.unembedding.config_summary import config_summary
from survey.unembedding.gguf_tensors import EMBEDDING, HEAD
from survey.unembedding.suspects import head_suspects

# Names like those of a vocabulary matrix; within a layer, only those of a second head or a table.
_SOUNDS_LIKE = re.compile(r"(?i)embed|lm_head|unembed|wte|vocab|output_proj|(^|[._])head\.|score\.|d2t|t2d")
_OF_A_LAYER = re.compile(r"\.\d+\.")
_SECOND_HEAD = re.compile(r"embed_tokens|lm_head|shared_head")
_PASSED_OVER_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tensor and its file; dtype and shape if the file's header was read, else None."""

    tensor: str
    dtype: str | None
    shape: tuple[int, ...] | None
    file: str


@dataclass(frozen=True, slots=True)
class Decision:
    """A matrix, the tensor that was chosen for it (None: refused), and the rule or the reason."""

    matrix: MatrixName
    tensor: str | None
    because: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a model's matrices were chosen.

    said: statements of the config. heads, embeddings: the candidates, the preferred first. passed_over:
    tensors with a similar name, in a position that no language model uses; omitted: how many are not listed.
    """

    files: str
    said: tuple[str, ...]
    heads: tuple[Candidate, ...]
    embeddings: tuple[Candidate, ...]
    passed_over: tuple[Candidate, ...]
    omitted: int
    decisions: tuple[Decision, ...]


def explain(layout: CheckpointLayout) -> Explanation:
    """All that decides which tensors are a checkpoint's matrices. Reads at most two further headers."""
    decisions = tuple(_decide(layout, matrix) for matrix in ("output", "input"))
    heads, embeddings = _matrices(layout)
    known, suspects = {*heads, *embeddings}, set() if layout.gguf else set(head_suspects(layout.names))
    similar = sorted(
        name for name in layout.file_of if name not in known and (name in suspects or _sounds_like(name))
    )
    shown = similar[:_PASSED_OVER_SHOWN]
    files, tensors = len(set(layout.file_of.values())), len(layout.file_of) + layout.left_out
    return Explanation(
        f"{layout.rule}: {tensors:,} tensors in {files} file{'s' if files > 1 else ''}",
        tuple(config_summary(layout.config)),
        tuple(_candidates(layout, heads)),
        tuple(_candidates(layout, embeddings)),
        tuple(_candidates(layout, shown)),
        len(similar) - len(shown),
        decisions,
    )


def _matrices(layout: CheckpointLayout) -> tuple[list[str], list[str]]:
    """The tensors that may be the unembedding, and those that may be the embedding; preferred ones first."""
    if layout.gguf is None:
        names = layout.names
        return names.matrices(names.heads), names.matrices(names.embeddings)
    return [HEAD] if HEAD in layout.file_of else [], [EMBEDDING] if EMBEDDING in layout.file_of else []


def _decide(layout: CheckpointLayout, matrix: MatrixName) -> Decision:
    try:
        target = locate(layout, matrix)
    except SurveyError as error:
        return Decision(matrix, None, f"{error.reason}: {error.problem}")
    return Decision(matrix, target.spec.name, target.rule)


def _candidates(layout: CheckpointLayout, names: list[str] | tuple[str, ...]) -> Iterator[Candidate]:
    for name in names:
        file = layout.file_of[name]
        header = layout.headers.get(file)
        spec = header.tensors.get(name) if header else None
        yield Candidate(name, spec.dtype if spec else None, spec.shape if spec else None, file)


def _sounds_like(name: str) -> bool:
    if _OF_A_LAYER.search(name):
        return bool(_SECOND_HEAD.search(name)) and "lora" not in name
    return bool(_SOUNDS_LIKE.search(name)) and "norm" not in name.lower() and not name.endswith(".bias")
