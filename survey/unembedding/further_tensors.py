"""Tensors outside a matrix's module that change the matrix, or hold more of its rows."""

from __future__ import annotations

import re

from survey.unembedding.model_parts import SOUNDS_LIKE_A_HEAD
from survey.unembedding.module_names import (
    EMBEDDING_WORDS,
    HEAD_PARTS,
    OTHER_TABLE_WORDS,
    module_name,
    module_parent,
)
from survey.unembedding.quantisation import looks_packed
from survey.unembedding.stems import Stem, is_update
from survey.unembedding.tensor_names import TensorNames

_ADDITIONAL = re.compile(r"(?i)(?:^|[._])(?:additional|added|new|extra|special|ext)_?")


def updates_elsewhere(names: TensorNames, stem: Stem) -> list[str]:
    """Names outside a matrix's module that say they are an update of it."""
    if names.is_vague(stem):
        return []
    module = re.escape(stem.path.rpartition(".")[2])
    of_module = re.compile(rf"(?:^|\.){module}(?P<rest>[._].+)")
    return sorted(
        name
        for name in names.outside
        if (match := of_module.search(name)) and is_update(match["rest"]) and not names.is_elsewhere(name)
    )


def further_rows(names: TensorNames, stem: Stem, whole: str) -> list[str]:
    """Tensors beside a matrix that may hold more of its rows, by name and shape.

    Tensors whose headers were not read are left out.
    """
    matrix = names.outline_of(whole)
    if matrix is None or len(matrix.shape) != 2:
        return []
    return [
        name
        for name in may_hold_rows(names, stem)
        if (outline := names.outline_of(name)) is not None
        and len(outline.shape) == 2
        and outline.shape[1] == matrix.shape[1]
    ]


def changing_tensors(names: TensorNames, stem: Stem, whole: str) -> list[str]:
    """Tensors beside a head that may change it: of V or D rows or columns, and in no known role."""
    matrix = names.outline_of(whole)
    if matrix is None or len(matrix.shape) != 2 or stem not in names.heads:
        return []
    return [
        name
        for name in may_hold_rows(names, stem)
        if (outline := names.outline_of(name)) is not None
        and len(outline.shape) == 2
        and not set(outline.shape).isdisjoint(matrix.shape)
    ]


def may_hold_rows(names: TensorNames, stem: Stem) -> list[str]:
    """Tensors that may hold more rows of a matrix, by name alone."""
    of_head = stem in names.heads
    beside = {
        name
        for name in names.outside
        if (_ADDITIONAL.search(name) or _continues(names, name, stem))
        and (SOUNDS_LIKE_A_HEAD if of_head else EMBEDDING_WORDS).search(name)
        and (of_head or not SOUNDS_LIKE_A_HEAD.search(name))
    }
    if not names.is_vague(stem):
        beside.update(stem.unknown())
    known = {name for other in (*names.heads, *names.embeddings) for name in other.forms()}
    return sorted(
        name
        for name in beside - known
        if not (
            (names.is_elsewhere(name) and not _continues(names, name, stem))
            or OTHER_TABLE_WORDS.search(module_name(name))
            or looks_packed(name)
        )
    )


def _continues(names: TensorNames, name: str, stem: Stem) -> bool:
    """Whether a module's name is the matrix's name with a suffix (`lm_head_special`)."""
    module, last = module_name(name), stem.path.rpartition(".")[2]
    if module == last or not module.startswith(last) or HEAD_PARTS.search(module):
        return False
    return not names.is_elsewhere(module_parent(name))
