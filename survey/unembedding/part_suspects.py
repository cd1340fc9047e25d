"""Tensors that look like a part of a vocabulary matrix, or several of them, and that no rule explains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from survey.numerics.dtypes import BITS
from survey.unembedding.model_parts import SOUNDS_LIKE_A_HEAD, of_a_draft
from survey.unembedding.module_names import is_table_name
from survey.unembedding.other_uses import (
    hints_at_a_head,
    is_layers_width,
    of_a_drafts_layer,
    repeats,
    repeats_in_list,
    within_layer,
    without_numbers,
)
from survey.unembedding.part_shapes import is_part_or_multiple
from survey.unembedding.suspect_shapes import may_hold_as_much, possible_sizes
from survey.unembedding.tensor_names import TensorNames


def part_suspects(names: TensorNames, explained: Collection[str]) -> list[str]:
    """Tensors of the shape of a part, or of several, of the matrix, wherever in the model they lie.

    explained: tensors that a rule explains.
    """
    rows, dims = possible_sizes(names)
    shaped = [
        name for name in names.all if name not in explained and _is_part_shaped(names, name, rows, dims)
    ]
    repeated = Counter(without_numbers(name) for name in shaped)
    return [name for name in shaped if not _is_explained(names, name, repeated)]


def _is_part_shaped(names: TensorNames, name: str, rows: set[int], dims: set[int]) -> bool:
    outline = names.outline_of(name)
    if outline is None:
        return False
    shape = outline.shape
    unread = outline.dtype not in BITS and may_hold_as_much(shape, rows, dims)
    if not (unread or is_part_or_multiple(shape, rows, dims, named=True)):
        return False
    if hints_at_a_head(names, name):
        return True
    in_list = without_numbers(name) != name  # such as the tables of several codebooks, one after the other
    return is_part_or_multiple(shape, rows, dims, named=False) and not (in_list and max(shape) > max(rows))


def _is_explained(names: TensorNames, name: str, repeated: Mapping[str, int]) -> bool:
    """Whether a name says what a tensor of the shape of a part is, if not a head."""
    if of_a_draft(names.part_of(name)) or of_a_drafts_layer(name):
        return True
    if sounds := SOUNDS_LIKE_A_HEAD.search(name):
        return names.is_elsewhere(name[: name.rfind(".", 0, sounds.start() + 1) + 1])
    if is_table_name(name) or names.is_elsewhere(name) or "patch" in name or "per_layer" in name:
        return True
    layer = within_layer(name)
    if layer is None:
        return not hints_at_a_head(names, name) and repeats_in_list(name, repeated, names)
    if not hints_at_a_head(names, layer) or "router" in layer or repeats(name, repeated, names):
        return True
    return is_layers_width(names, name, names.shape_of(name) or (), part=True)
