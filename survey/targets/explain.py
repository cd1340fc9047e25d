"""Why these tensors: what was looked at in a checkpoint, what its config says, and what decided."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from survey.checkpoints.checkpoint import Checkpoint
from survey.errors import SurveyError
from survey.records.target import MatrixName
from survey.targets.locate import MatrixLayout, locate
from survey.unembedding.model_config import said
from survey.unembedding.suspects import head_suspects

# What sounds like a vocabulary matrix; of a layer's own tensors only what a second head or a table has.
_SOUNDS_LIKE = re.compile(r"(?i)embed|lm_head|unembed|wte|vocab|output_proj|(^|[._])head\.|score\.|d2t|t2d")
_OF_A_LAYER = re.compile(r"\.\d+\.")
_SECOND_HEAD = re.compile(r"embed_tokens|lm_head|shared_head")
_MOST_PASSED_OVER = 8


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tensor, its dtype and shape where a header that was read tells, and its file."""

    tensor: str
    dtype: str | None
    shape: tuple[int, ...] | None
    file: str


@dataclass(frozen=True, slots=True)
class Decision:
    """A matrix: the tensor and the rule that chose it, or the reason and what was found instead."""

    matrix: MatrixName
    tensor: str | None
    because: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a model's matrices were looked for.

    heads, embeddings: the candidates, the preferred first. passed_over: what sounds like one, and has no
    such place in a language model; more: how many of these are left out here.
    """

    files: str
    said: tuple[str, ...]
    heads: tuple[Candidate, ...]
    embeddings: tuple[Candidate, ...]
    passed_over: tuple[Candidate, ...]
    more: int
    decisions: tuple[Decision, ...]


def explain(checkpoint: Checkpoint, layout: MatrixLayout) -> Explanation:
    """Everything that decides which tensors are a checkpoint's matrices. Reads at most two headers more."""
    decisions = tuple(_decide(checkpoint, layout, matrix) for matrix in ("output", "input"))
    names = layout.names
    heads, embeddings = names.matrices(names.heads), names.matrices(names.embeddings)
    known, suspects = {*heads, *embeddings}, set(head_suspects(names))
    others = sorted(
        name for name in layout.file_of if name not in known and (name in suspects or _sounds_like(name))
    )
    shown = others[:_MOST_PASSED_OVER]
    held, count = set(layout.file_of.values()), len(layout.file_of) + layout.left_out
    return Explanation(
        f"{layout.rule}: {count:,} tensors in {len(held)} file{'s' if len(held) > 1 else ''}",
        tuple(said(layout.config)),
        tuple(_candidates(layout, heads)),
        tuple(_candidates(layout, embeddings)),
        tuple(_candidates(layout, shown)),
        len(others) - len(shown),
        decisions,
    )


def _decide(checkpoint: Checkpoint, layout: MatrixLayout, matrix: MatrixName) -> Decision:
    try:
        target = locate(checkpoint, layout, matrix)
    except SurveyError as error:
        return Decision(matrix, None, f"{error.reason}: {error.problem}")
    return Decision(matrix, target.spec.name, target.rule)


def _candidates(layout: MatrixLayout, names: list[str] | tuple[str, ...]) -> Iterator[Candidate]:
    for name in names:
        file = layout.file_of[name]
        header = layout.headers.get(file)
        spec = header.tensors.get(name) if header else None
        yield Candidate(name, spec.dtype if spec else None, spec.shape if spec else None, file)


def _sounds_like(name: str) -> bool:
    if _OF_A_LAYER.search(name):
        return bool(_SECOND_HEAD.search(name)) and "lora" not in name
    return bool(_SOUNDS_LIKE.search(name)) and "norm" not in name.lower() and not name.endswith(".bias")
