"""Tensors that look like a vocabulary matrix, and that no rule places.

Before the survey says "tied" or "a base model", there must be none: unknown is not absent.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from survey.unembedding.model_config import stated_shapes
from survey.unembedding.model_parts import SOUNDS_LIKE_A_HEAD, of_a_draft, of_another_part
from survey.unembedding.quantisation import is_packed, looks_packed
from survey.unembedding.stems import Stem, is_update
from survey.unembedding.tensor_names import EMBEDDINGS, VAGUE_EMBEDDINGS, TensorNames

# Other parts have such names, too: a head by its shape alone, though perhaps by half of it.
_PERHAPS = re.compile(
    r"(?i)head|output|(?:^|\.)(?:out|decoder|generator)\.\w+$|predict|logit|classif|read_?out"
)
_EMBEDDING = re.compile(
    r"(?i)embed|(?:^|[._])(?:emb|wte|wpe|tok|shared)|(?:^|[._])w[._]|vocab|lookup|position"
)
# Said of the module itself: what holds it may be called language_model.
_NO_EMBEDDING = re.compile(
    r"(?i)position|pos_|_pos|wpe|segment|per_layer|relative|rotary"
    r"|(?:^|_)(?:type|char|value|shape|pronunciation|lang|langs|language|languages|freq|frequency|time|timestep)(?:_|$)"
)
# A module's own name, before what an adapter or a class adds to it.
_OWN = re.compile(
    r"([^.]*?)(?:\.(?:modules_to_save(?:\.\w+)?|base_layer|original_module|embedding|W_E))?(?:\.weight)?$"
)
_OF_POSITIONS = re.compile(r"(?i)(?:^|[._])pos(?:ition)?s?(?:al)?_?enc")
_MORE = re.compile(r"(?i)(?:^|[._])(?:additional|added|new|extra|special|ext)_?")
_TABLES = tuple(f".{table}" for table in (*EMBEDDINGS, *VAGUE_EMBEDDINGS))
# What stands in a head before its matrix, or beside it; of the matrix's own shape it is not harmless.
_HARMLESS = re.compile(
    r"(?i)(?:^|[._])(?:bias\w*|\w*norm[0-9]*|ln\w*|dense|transform|lora\w*|\w*scale)(?:[._]|$)"
)
# Draft heads read the vocabulary anew in a layer of their own.
_OF_A_DRAFT = re.compile(r"(?i)\.(?:embed_tokens|shared_head(?:\.head)?)\.weight$")
_IN_A_LAYER = re.compile(r"(?i)(?:^|[._])(?:layers?|h|\w*blocks?|experts?|stages?)\.[0-9]+\.[^.]+\.[^.]+")
_NUMBERS = re.compile(r"(?<=\.)[0-9]+(?=\.)")


def head_suspects(names: TensorNames) -> list[str]:
    """What may be a head, where the names that are known are no tensors of the checkpoint's."""
    return sorted(_suspects(names))


def embedding_suspects(names: TensorNames) -> list[str]:
    """What may be the embedding, as far as headers were read."""
    rows, dims = _sizes(names)
    return sorted(
        name
        for name in names.outside
        if _EMBEDDING.search(name)
        and not (
            _NO_EMBEDDING.search(_own(name)) or SOUNDS_LIKE_A_HEAD.search(name) or _HARMLESS.search(name)
        )
        and (spec := names.outline_of(name)) is not None
        and len(spec.shape) == 2
        and (spec.shape[0] in rows if rows else spec.shape[0] > spec.shape[1])
        and (not dims or looks_packed(name) or spec.shape[1] in dims)
        and not (names.is_elsewhere(name) and (not dims or _is_placed(names, name)))
    )


def updates_elsewhere(names: TensorNames, stem: Stem) -> list[str]:
    """Tensors outside a matrix's module that say they change it."""
    if names.is_vague(stem):
        return []
    own = re.escape(stem.path.rpartition(".")[2])
    of_it = re.compile(rf"(?:^|\.){own}(?P<rest>[._].+)")
    return sorted(
        name
        for name in names.outside
        if (said := of_it.search(name)) and is_update(said["rest"]) and not names.is_elsewhere(name)
    )


def further_rows(names: TensorNames, stem: Stem, whole: str) -> list[str]:
    """Tensors beside a matrix that may hold more rows of it, as far as headers were read."""
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


def may_hold_rows(names: TensorNames, stem: Stem) -> list[str]:
    """Tensors that may hold more rows of a matrix, by their names."""
    of_head = stem in names.heads
    beside = {
        name
        for name in names.outside
        if (_MORE.search(name) or _continues(names, name, stem))
        and (SOUNDS_LIKE_A_HEAD if of_head else _EMBEDDING).search(name)
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
            or _NO_EMBEDDING.search(_own(name))
            or looks_packed(name)
        )
    )


def whole_suspects(names: TensorNames, placed: Collection[str]) -> list[str]:
    """Tensors of exactly the matrix's shape, whatever they are called, that no rule places.

    placed: those that a rule does place.
    """
    rows, dims = _sizes(names)
    shaped = [
        name
        for name in names.all
        if (spec := names.outline_of(name)) is not None and _is_whole(spec.shape, rows, dims)
    ]
    repeated = Counter(_NUMBERS.sub("#", name) for name in shaped)
    return sorted(
        name
        for name in shaped
        if name not in placed
        and not (_is_excused(names, name) or _is_a_table(name) or _repeats(name, repeated, names.all))
    )


def _suspects(names: TensorNames) -> Iterator[str]:
    rows, dims = _sizes(names)
    tables = {name for stem in names.embeddings for name in (*stem.forms(), *stem.updates(), *stem.codes())}
    yield from (shaped := set(whole_suspects(names, tables)))
    for name in names.outside:
        if name in shaped or name in tables:
            continue
        outline = names.outline_of(name)
        shape = outline.shape if outline else None
        packed = looks_packed(name) or (outline is not None and is_packed(outline.dtype))
        if names.is_elsewhere(name):
            if (
                SOUNDS_LIKE_A_HEAD.search(name)
                and shape is not None
                and (_holds_codes(shape, rows, dims) if packed else _is_a_matrix(shape, rows, dims, 1))
                and not _is_placed(names, name)
            ):
                yield name
        elif SOUNDS_LIKE_A_HEAD.search(name):
            if packed or not (_HARMLESS.search(name) or (shape is not None and len(shape) < 2)):
                yield name
        elif shape is not None and _looks_like_a_head(name, shape, rows, dims, packed=packed):
            yield name


def _looks_like_a_head(
    name: str, shape: tuple[int, ...], rows: set[int], dims: set[int], *, packed: bool
) -> bool:
    """Whether a tensor of the language model may be a head by its shape, whatever it is called."""
    if _HARMLESS.search(name) or _is_a_table(name):
        return False
    perhaps = _PERHAPS.search(name) is not None
    if packed:
        return _holds_codes(shape, rows, dims) or (not rows and perhaps)
    return "patch" not in name and _is_a_matrix(shape, rows, dims, part_of=8 if perhaps else 2)


def _continues(names: TensorNames, name: str, stem: Stem) -> bool:
    """Whether a module is called as a matrix is, and something more."""
    own, last = _own(name), stem.path.rpartition(".")[2]
    if own == last or not own.startswith(last) or _HARMLESS.search(own):
        return False
    return not names.is_elsewhere(name[: name.rfind(own)])


def _own(name: str) -> str:
    """The name of the module that has a tensor."""
    own = _OWN.search(name)
    return own[1] if own else name


def _is_excused(names: TensorNames, name: str) -> bool:
    """Whether a tensor's place says that it belongs to another part of the model."""
    own = _own(name)
    holder = name[: name.rfind(own)] if own else name
    table = of_another_part(own) and _EMBEDDING.search(own) and not SOUNDS_LIKE_A_HEAD.search(own)
    draft = _OF_A_DRAFT.search(name) and _NUMBERS.search(name)
    aside = of_another_part(own) or _HARMLESS.search(own) or _is_placed(names, name)
    return bool(table or draft or (names.is_elsewhere(holder) and aside))


def _is_placed(names: TensorNames, name: str) -> bool:
    """Whether another part explains a tensor of the matrix's size: a draft, or a language model of its own.

    That has layers, and a table of the same shape; a codec with a head for tokens has none.
    """
    part, outline = names.part_of(name), names.outline_of(name)
    if of_a_draft(part) or outline is None:
        return True
    beside = [other for other in names.all if other.startswith(part) and other != name]
    return any(_IN_A_LAYER.search(other) for other in beside) and any(
        _EMBEDDING.search(_own(other)) and _shape_of(names, other) == outline.shape for other in beside
    )


def _shape_of(names: TensorNames, name: str) -> tuple[int, ...] | None:
    outline = names.outline_of(name)
    return outline.shape if outline else None


def _repeats(name: str, repeated: Mapping[str, int], names: Collection[str]) -> bool:
    """Whether a tensor is one layer's among others of the same kind."""
    if not _IN_A_LAYER.search(name) or SOUNDS_LIKE_A_HEAD.search(name):
        return False
    if repeated[_NUMBERS.sub("#", name)] > 1:
        return True
    front, first, _ = name.partition(".0.")
    return bool(first) and not any(other.startswith(f"{front}.1.") for other in names)  # the only layer


def _is_a_table(name: str) -> bool:
    """Whether a name is that of an embedding: of tokens, if of another part, or of something else."""
    own = _own(name)
    stem = name[: name.rfind(own) + len(own)] if own else name
    return (f".{stem}".endswith(_TABLES) or _OF_POSITIONS.search(own) is not None) or (
        _NO_EMBEDDING.search(own) is not None and _EMBEDDING.search(own) is not None
    )


def _is_whole(shape: tuple[int, ...], rows: set[int], dims: set[int]) -> bool:
    """Whether a shape is [V, D], whichever way it lies."""
    lengths = [length for length in shape if length != 1]
    if len(lengths) == 1:
        return any(lengths[0] == size * width for size in rows for width in dims if width > 1)
    return len(lengths) == 2 and any(
        long in rows and short in dims and long != short for long, short in (lengths, lengths[::-1])
    )


def _sizes(names: TensorNames) -> tuple[set[int], set[int]]:
    """Every V and every D that the checkpoint may have."""
    held = [shape for shape in (*stated_shapes(names.config), names.embedding_shape) if shape]
    return {rows for rows, _ in held}, {dims for _, dims in held if dims is not None}


def _is_a_matrix(shape: tuple[int, ...], rows: set[int], dims: set[int], part_of: int) -> bool:
    """Whether a shape is [V, D], padded or not, transposed or not, or a part of it down to one of so many.

    A part of a vocabulary is longer than the inside of a layer is wide.
    """
    if len(shape) != 2 or shape[0] == shape[1]:
        return False
    return any(
        size <= long * part_of and (part_of > 2 or 5 * short <= long <= 2 * size) and short in dims
        for long, short in (shape, shape[::-1])
        for size in rows
    )


def _holds_codes(shape: tuple[int, ...], rows: set[int], dims: set[int]) -> bool:
    """Whether a shape may be that of a matrix's codes, of which up to sixteen fit into an element."""
    count = 1
    for length in shape:
        count *= length
    smallest = min(dims, default=1)
    return any(16 * count >= size * smallest for size in rows) and any(
        size in {length * held for held in (1, 2, 4, 8, 16)} for length in shape for size in rows
    )
