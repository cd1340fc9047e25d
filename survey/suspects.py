"""Tensors that look like a vocabulary matrix, and that no rule places.

Before the survey says "tied" or "a base model", there must be none: unknown is not absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from survey.names import EMBEDDINGS, VAGUE_EMBEDDINGS, Names
from survey.parts import SOUNDS_LIKE_A_HEAD, of_another_part
from survey.quantised import looks_packed
from survey.statements import stated_shapes
from survey.stems import Stem

# Other parts have such names, too: a head by its shape alone, though perhaps by half of it.
_PERHAPS = re.compile(
    r"(?i)head|output|(?:^|\.)(?:out|decoder|generator)\.\w+$|predict|logit|classif|read_?out"
)
_EMBEDDING = re.compile(
    r"(?i)embed|(?:^|[._])(?:emb|wte|wpe|tok|shared)|(?:^|[._])w[._]|vocab|lookup|position"
)
_NO_EMBEDDING = re.compile(
    r"(?i)position|pos_|_pos|wpe|type|segment|language_emb|lang|per_layer|relative|rotary|freq|time"
)
_MORE = re.compile(r"(?i)(?:^|[._])(?:additional|added|new|extra)_?")
_TABLES = (*EMBEDDINGS, *VAGUE_EMBEDDINGS)
# What stands in a head before its matrix, or beside it.
_HARMLESS = re.compile(r"(?i)bias|norm|(?:^|[._])(?:ln\w*|dense|transform)(?:[._]|$)|lora|scale$")


def head_suspects(names: Names) -> list[str]:
    """What may be a head, where the names that are known are no tensors of the checkpoint's."""
    return sorted(_suspects(names))


def embedding_suspects(names: Names) -> list[str]:
    """What may be the embedding, as far as headers were read."""
    rows, dims = _sizes(names)
    return sorted(
        name
        for name in names.outside
        if not of_another_part(name)
        and _EMBEDDING.search(name)
        and not (_NO_EMBEDDING.search(name) or SOUNDS_LIKE_A_HEAD.search(name) or _HARMLESS.search(name))
        and (spec := names.outline_of(name)) is not None
        and len(spec.shape) == 2
        and (spec.shape[0] in rows if rows else spec.shape[0] > spec.shape[1])
        and (not dims or looks_packed(name) or spec.shape[1] in dims)
    )


def further_rows(names: Names, stem: Stem, whole: str) -> list[str]:
    """Tensors beside a matrix that may hold more rows of it, as far as headers were read."""
    matrix = names.outline_of(whole)
    if matrix is None or len(matrix.shape) != 2:
        return []
    of_head = stem in names.heads
    beside = {
        name
        for name in names.outside
        if _MORE.search(name)
        and (SOUNDS_LIKE_A_HEAD if of_head else _EMBEDDING).search(name)
        and (of_head or not SOUNDS_LIKE_A_HEAD.search(name))
    }
    if not names.is_vague(stem):
        beside.update(stem.unknown())
    known = {name for other in (*names.heads, *names.embeddings) for name in other.forms()}
    return sorted(
        name
        for name in beside - known
        if not (of_another_part(name) or _NO_EMBEDDING.search(name) or looks_packed(name))
        and (outline := names.outline_of(name)) is not None
        and len(outline.shape) == 2
        and outline.shape[1] == matrix.shape[1]
    )


def _suspects(names: Names) -> Iterator[str]:
    rows, dims = _sizes(names)
    tables = {name for stem in names.embeddings for name in (*stem.forms(), *stem.updates())}
    for name in names.outside:
        if of_another_part(name) or name in tables:
            continue
        spec = names.outline_of(name)
        shape = spec.shape if spec else None
        packed = looks_packed(name)
        if SOUNDS_LIKE_A_HEAD.search(name):
            if packed or not (_HARMLESS.search(name) or (shape is not None and len(shape) < 2)):
                yield name
        elif shape is None or _HARMLESS.search(name) or _is_a_table(name):
            continue
        elif packed and _PERHAPS.search(name):
            if not rows or _holds_codes(shape, rows, dims):
                yield name
        elif _is_a_matrix(shape, rows, dims, part_of=8 if _PERHAPS.search(name) else 1):
            yield name


def _is_a_table(name: str) -> bool:
    """Whether a name is that of an embedding: of tokens, if of another part, or of something else."""
    stem = name.removesuffix(".weight").removesuffix(".embedding")
    return stem.endswith(_TABLES) or (
        _NO_EMBEDDING.search(name) is not None and _EMBEDDING.search(name) is not None
    )


def _sizes(names: Names) -> tuple[set[int], set[int]]:
    """Every V and every D that the checkpoint may have."""
    held = [shape for shape in (*stated_shapes(names.config), names.embedding_shape) if shape]
    return {rows for rows, _ in held}, {dims for _, dims in held if dims is not None}


def _is_a_matrix(shape: tuple[int, ...], rows: set[int], dims: set[int], part_of: int) -> bool:
    """Whether a shape is [V, D], transposed or not, or a part of it down to one of so many."""
    if len(shape) != 2 or shape[0] == shape[1]:
        return False
    return any(
        long * part_of >= size and (part_of > 1 or long == size) and short in dims
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
