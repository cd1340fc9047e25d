"""What explains a tensor of a vocabulary matrix's shape that is none: its layer, a draft, another model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice

from survey.unembedding.model_parts import (
    SOUNDS_LIKE_A_HEAD,
    WORDS_BEFORE,
    of_a_draft,
    without_shared_prefix,
)
from survey.unembedding.module_names import EMBEDDING_WORDS, module_name
from survey.unembedding.tensor_names import PartUse, TensorNames

# A draft head repeats the embedding in a layer of its own.
_DRAFT_TENSOR = re.compile(r"(?i)\.(?:embed_tokens|shared_head(?:\.head)?)\.weight$")
_IN_A_LAYER = re.compile(
    rf"(?i)(?:(?:^|[._])(?:layers?|h|experts?|stages?)|{WORDS_BEFORE}blocks?)\.[0-9]+\.[^.]+\.[^.]+"
)
_NUMBERS = re.compile(r"(?<=\.)[0-9]+(?=\.)")
_IN_AN_ENTRY = re.compile(r"\.[0-9]+\.(?=[^.]+\.[^.]+)")
_LEAVES_A_MIXER = re.compile(r"out_proj|output")
_MOST_WIDTHS = 8  # a layer's inner width, or several that are stored as one, is at most 8 D
# Many other parts have such names, too: a head only by a shape that is related to V exactly.
_HINT_OF_A_HEAD = re.compile(
    r"(?i)head|output|predict|logit|classif|read_?out|scor(?:e|ing)|vocab|generator|softmax"
    r"|(?:^|[./-])(?:out|pred|decoder)(?=$|[._/-])|_(?:out|decoder)(?=$|[./]|_(?:w|weight|kernel|[0-9]+)(?:$|[./]))"
)


def hints_at_a_head(names: TensorNames, name: str) -> bool:
    """Whether a name may be that of a head; what wraps the embedding, too, says nothing."""
    embedding = next((stem.path for stem in names.embeddings), "")
    own = without_shared_prefix(name, embedding)
    return (SOUNDS_LIKE_A_HEAD.search(name) or _HINT_OF_A_HEAD.search(own)) is not None


def without_numbers(name: str) -> str:
    """A name in which each number of a layer is `#`, the same for all layers of a kind."""
    return _NUMBERS.sub("#", name)


def within_layer(name: str) -> str | None:
    """The part of a name that begins with its layer (`layers.0.mlp.up.weight`); None if it is in no layer."""
    layer = _IN_A_LAYER.search(name)
    return name[layer.start() :] if layer else None


def of_a_drafts_layer(name: str) -> bool:
    """Whether a tensor is a draft's head, or its embedding, in a layer behind the model's."""
    return (_DRAFT_TENSOR.search(name) and _NUMBERS.search(name)) is not None


def of_other_language_model(names: TensorNames, name: str) -> bool:
    """Whether a tensor in another part belongs to a draft, or to a language model of that part's own.

    A language model has layers and a table of the same shape; a codec with a head for tokens has no table.
    """
    part, shape = names.part_of(name), names.shape_of(name)
    if of_a_draft(part) or shape is None:
        return True
    layers, tables = _language_model_in(names, part)
    return any(other != name for other in layers) and any(other != name for other in tables.get(shape, ()))


def _language_model_in(names: TensorNames, part: str) -> PartUse:
    """Of a part: two of the tensors in its layers, and its tables by their shape; looked up once."""
    if part not in names.parts:
        beside = names.below(part)
        layers = list(islice((other for other in beside if _IN_A_LAYER.search(other)), 2))
        tables: dict[tuple[int, ...], list[str]] = {}
        for other in beside:
            if EMBEDDING_WORDS.search(module_name(other)) and (shape := names.shape_of(other)) is not None:
                tables.setdefault(shape, []).append(other)
        names.parts[part] = layers, tables
    return names.parts[part]


def repeats(name: str, repeated: Mapping[str, int], names: TensorNames) -> bool:
    """Whether a tensor belongs to one of several layers of the same kind, or to the only layer.

    repeated: how many tensors have the same name but for the numbers. A layer holds further tensors; a
    single one in a list is what ends a sequence.
    """
    if within_layer(name) is None or SOUNDS_LIKE_A_HEAD.search(name):
        return False
    if repeated[without_numbers(name)] > 1:
        return True
    front, first, _ = name.partition(".0.")
    return bool(first) and names.count_below(front + first) > 1 and not names.count_below(f"{front}.1.")


def repeats_in_list(name: str, repeated: Mapping[str, int], names: TensorNames) -> bool:
    """Whether a tensor belongs to several entries of a list, each of which holds further tensors.

    Not every list of layers is called so (XLM's `ffns.0.lin1.weight`).
    """
    entry = _IN_AN_ENTRY.search(name)
    if entry is None or repeated[without_numbers(name)] < 2:
        return False
    return names.count_below(name[: entry.end()]) > 2


def is_layers_width(names: TensorNames, name: str, shape: tuple[int, ...], *, part: bool = False) -> bool:
    """Whether a tensor of a layer has the shape [V, D] as V is a width that layers have.

    Such a layer may be the only one of its kind, as the dense one among those of experts.
    part: whether it is the shape of a part of the matrix; then what leaves the layer's mixer has it, too.
    """
    layer = within_layer(name)
    if layer is None or not shape or max(shape) > _MOST_WIDTHS * min(shape):
        return False
    if hints_at_a_head(names, _LEAVES_A_MIXER.sub("", layer) if part else layer):
        return False
    number = _NUMBERS.search(name, len(name) - len(layer))
    return number is not None and names.count_below(name[: number.end() + 1]) > 2
