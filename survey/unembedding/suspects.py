"""Tensors that look like a vocabulary matrix, and that no rule explains.

The survey may say "tied" or "a base model" only if there are none: unknown is not absent.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection

from survey.unembedding.model_parts import SOUNDS_LIKE_A_HEAD, of_another_part
from survey.unembedding.module_names import (
    EMBEDDING_WORDS,
    HEAD_PARTS,
    OTHER_TABLE_WORDS,
    is_table_name,
    module_name,
    module_parent,
)
from survey.unembedding.other_uses import (
    hints_at_a_head,
    is_layers_width,
    of_a_drafts_layer,
    of_other_language_model,
    repeats,
    repeats_in_list,
    without_numbers,
)
from survey.unembedding.part_suspects import part_suspects
from survey.unembedding.quantisation import is_packed, looks_packed
from survey.unembedding.suspect_shapes import (
    is_matrix_or_part,
    is_whole_matrix,
    may_hold_codes,
    possible_sizes,
)
from survey.unembedding.tensor_names import TensorNames

# Other parts have such names, too: a head only by its shape, which may then be a small part of [V, D].
_MAYBE_A_HEAD = re.compile(
    r"(?i)head|output|(?:^|\.)(?:out|decoder|generator)\.\w+$|predict|logit|classif|read_?out"
)


def head_suspects(names: TensorNames) -> list[str]:
    """Tensors that may be a head although they have no known name. Assumes that no known head exists."""
    rows, dims = possible_sizes(names)
    tables = {name for stem in names.embeddings for name in stem.known()}
    shaped = {*matrix_shaped_suspects(names, tables), *part_suspects(names, tables)}
    others = [name for name in names.outside if name not in shaped and name not in tables]
    return sorted(
        [
            *shaped,
            *(
                name
                for name in others
                if (_is_suspect_elsewhere if names.is_elsewhere(name) else _is_suspect)(
                    names, name, rows, dims
                )
            ),
        ]
    )


def embedding_suspects(names: TensorNames) -> list[str]:
    """Tensors that may be the embedding although they have no known name; only if their headers were read."""
    rows, dims = possible_sizes(names)
    return sorted(
        name
        for name in names.outside
        if EMBEDDING_WORDS.search(name)
        and not (
            OTHER_TABLE_WORDS.search(module_name(name))
            or SOUNDS_LIKE_A_HEAD.search(name)
            or HEAD_PARTS.search(name)
        )
        and (outline := names.outline_of(name)) is not None
        and len(outline.shape) == 2
        and (outline.shape[0] in rows if rows else outline.shape[0] > outline.shape[1])
        and (not dims or looks_packed(name) or outline.shape[1] in dims)
        and not (names.is_elsewhere(name) and (not dims or of_other_language_model(names, name)))
    )


def matrix_shaped_suspects(names: TensorNames, explained: Collection[str]) -> list[str]:
    """Tensors of exactly the matrix's shape, whatever their name, that no rule explains.

    explained: tensors that a rule explains.
    """
    rows, dims = possible_sizes(names)
    shaped = {
        name: shape
        for name in names.all
        if (shape := names.shape_of(name)) and is_whole_matrix(shape, rows, dims)
    }
    repeated = Counter(without_numbers(name) for name in shaped)
    return sorted(
        name
        for name, shape in shaped.items()
        if name not in explained
        and not (
            _is_excused(names, name)
            or is_table_name(name)
            or repeats(name, repeated, names)
            or is_layers_width(names, name, shape)
            or (repeats_in_list(name, repeated, names) and not hints_at_a_head(names, name))
        )
    )


def _is_suspect(names: TensorNames, name: str, rows: set[int], dims: set[int]) -> bool:
    """Whether a tensor of the language model may be a head."""
    shape, packed = names.shape_of(name), _is_packed(names, name)
    if SOUNDS_LIKE_A_HEAD.search(name):
        return packed or not (HEAD_PARTS.search(name) or (shape is not None and len(shape) < 2))
    if shape is None or HEAD_PARTS.search(name) or is_table_name(name):
        return False
    maybe = _MAYBE_A_HEAD.search(name) is not None
    if packed:
        return may_hold_codes(shape, rows, dims) or (not rows and maybe)
    return "patch" not in name and is_matrix_or_part(shape, rows, dims, max_parts=8 if maybe else 2)


def _is_suspect_elsewhere(names: TensorNames, name: str, rows: set[int], dims: set[int]) -> bool:
    """Whether a tensor of another part may be the head of the language model."""
    shape = names.shape_of(name)
    if shape is None or not SOUNDS_LIKE_A_HEAD.search(name):
        return False
    packed = _is_packed(names, name)
    fits = may_hold_codes(shape, rows, dims) if packed else is_matrix_or_part(shape, rows, dims, max_parts=1)
    return fits and not of_other_language_model(names, name)


def _is_packed(names: TensorNames, name: str) -> bool:
    outline = names.outline_of(name)
    return looks_packed(name) or (outline is not None and is_packed(outline.dtype))


def _is_excused(names: TensorNames, name: str) -> bool:
    """Whether a tensor's name says that it belongs to another part of the model."""
    module = module_name(name)
    table = (
        of_another_part(module) and EMBEDDING_WORDS.search(module) and not SOUNDS_LIKE_A_HEAD.search(module)
    )
    aside = of_another_part(module) or HEAD_PARTS.search(module) or of_other_language_model(names, name)
    return bool(table or of_a_drafts_layer(name) or (names.is_elsewhere(module_parent(name)) and aside))
