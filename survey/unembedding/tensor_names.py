"""The tensor names of one checkpoint, and which of them are heads and embeddings.

The prefixes in `known_names` are hints. Further prefixes are learnt from the names of the layers: whatever
holds the layers may hold the matrices. A tower for images or sound, a draft head, a codebook or a table for
each layer has another name or another prefix. If the only layers beside a table of tokens are in a part that
is named like a tower (`video_lm.`), that part is the language model.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

from survey.records.tensors import TensorSpec
from survey.unembedding.known_names import (
    BIASES,
    BODIES,
    EMBEDDINGS,
    HEADS,
    VAGUE_EMBEDDINGS,
    VAGUE_HEADS,
    WRAPPERS,
)
from survey.unembedding.model_config import model_types, stated_rows, stated_shapes, stated_widths
from survey.unembedding.model_parts import (
    MAX_COMPONENTS,
    model_bodies,
    of_another_part,
    other_part,
    outside_layers,
    without_shared_prefix,
)
from survey.unembedding.stems import OutlineOf, Stem
from survey.unembedding.unread_files import ALL_READ, UnreadFiles

# The tensors in the layers of a part, and its tables by their shape (see `other_uses`).
PartUse = tuple[Collection[str], Mapping[tuple[int, ...], list[str]]]
_LISTS = (HEADS, VAGUE_HEADS, EMBEDDINGS, VAGUE_EMBEDDINGS)


class TensorNames:
    """The names of a checkpoint's tensors, and the stems (such as `model.lm_head`) of its matrices.

    outline_of    dtype and shape of a tensor; None if its header was not read
    spec_of       the tensor with its byte range; None if its header was not read
    outside       the tensors of no numbered layer
    unread        files that may hold a matrix, too
    heads, embeddings   the stems that have tensors, the preferred first
    parts         what other parts of the model hold, as far as it was looked up
    token_table_prefixes   prefixes of the tables of tokens, if all of them lie in parts named like a tower
    """

    def __init__(
        self,
        names: Collection[str],
        config: Mapping[str, Any],
        outline_of: OutlineOf = lambda name: None,
        unread: UnreadFiles = ALL_READ,
        spec_of: Callable[[str], TensorSpec | None] = lambda name: None,
    ) -> None:
        self.all, self.config, self.outline_of, self.spec_of = names, config, outline_of, spec_of
        self.parts: dict[str, PartUse] = {}
        self.unread = unread
        self.outside = outside_layers(names)
        kinds = [kind.replace("-", "_") + "." for kind in model_types(config)]
        bodies = tuple(dict.fromkeys((*BODIES, *kinds)))
        self._hinted = tuple(dict.fromkeys(wrapper + body for wrapper in WRAPPERS for body in bodies))
        self._learnt = tuple(prefix for prefix in model_bodies(names) if prefix not in self._hinted)
        self.token_table_prefixes: tuple[str, ...] = ()
        self.embeddings = self._stems(EMBEDDINGS, VAGUE_EMBEDDINGS)
        if not self.has_embedding():
            self._search_other_parts()
        self.heads = self._stems(HEADS, VAGUE_HEADS if self.has_embedding() else ())

    @cached_property
    def _ordered(self) -> list[str]:
        return sorted(self.all)

    def _span_below(self, prefix: str) -> tuple[int, int]:
        # To compare each of 100,000 names with each other takes hours.
        start = bisect_left(self._ordered, prefix)
        return start, bisect_right(self._ordered, prefix, start, key=lambda name: name[: len(prefix)])

    def below(self, prefix: str) -> Sequence[str]:
        """The names that begin with a prefix, sorted."""
        start, stop = self._span_below(prefix)
        return self._ordered[start:stop]

    def count_below(self, prefix: str) -> int:
        """How many names begin with a prefix."""
        start, stop = self._span_below(prefix)
        return stop - start

    def has_embedding(self) -> bool:
        """Whether an embedding exists, in whatever form."""
        return any(stem.holds_a_matrix() for stem in self.embeddings)

    @property
    def rows(self) -> int | None:
        """V as the config states it, else of the embedding if its header was read."""
        shape = self.embedding_shape
        return stated_rows(self.config) or (shape[0] if shape else None)

    @property
    def embedding_shape(self) -> tuple[int, int] | None:
        """(V, D) of the embedding, else of the head, if a header was read."""
        for stem in (*self.embeddings, *getattr(self, "heads", ())):
            outline = self.outline_of(stem.whole() or "")
            if outline is not None and len(outline.shape) == 2:
                return outline.shape[0], outline.shape[1]
        return None

    @property
    def head_bias(self) -> bool:
        """Whether a bias is added to the logits."""
        stems = {stem.path: stem for stem in (*self.heads, *self._stems(HEADS, ("output",)))}.values()
        last = (stem.last_of_sequence(self.outline_of, self.rows) for stem in stems)
        return (
            any(".bias" in stem.rests for stem in stems)
            or any(name.removesuffix("weight") + "bias" in self.all for name in last if name)
            or any(prefix + name in self.all for name in BIASES for prefix in (*self._hinted, *self._learnt))
        )

    def shape_of(self, name: str) -> tuple[int, ...] | None:
        """The shape of a tensor; None if its header was not read."""
        outline = self.outline_of(name)
        return outline.shape if outline else None

    def matrix(self, stem: Stem) -> str | None:
        """The name of the tensor that is a stem's matrix."""
        return stem.whole() or stem.last_of_sequence(self.outline_of, self.rows)

    def matrices(self, stems: list[Stem]) -> list[str]:
        """The names of the matrices of several stems, in their order."""
        return [whole for stem in stems if (whole := self.matrix(stem))]

    def is_hinted(self, stem: Stem) -> bool:
        """Whether a stem's prefix is a listed one, not one learnt from the layers."""
        return any(stem.path in _ranks(self._hinted, known) for known in _LISTS)

    def is_vague(self, stem: Stem) -> bool:
        """Whether another part of a model could have a stem's name, too."""
        prefixes = (self._hinted, self._learnt)
        return not any(stem.path in _ranks(tier, known) for tier in prefixes for known in (HEADS, EMBEDDINGS))

    def is_elsewhere(self, name: str) -> bool:
        """Whether a tensor belongs to a part of the model that does not read tokens."""
        return of_another_part(self._within_language_model(name))

    def part_of(self, name: str) -> str:
        """Prefix of the other part that a tensor belongs to; empty for the part that reads tokens."""
        rest = self._within_language_model(name)
        return name[: len(name) - len(rest)] + part if (part := other_part(rest)) else ""

    def _within_language_model(self, name: str) -> str:
        prefixes = self.token_table_prefixes
        return min((without_shared_prefix(name, prefix) for prefix in prefixes), key=len, default=name)

    def _search_other_parts(self) -> None:
        """Look for a table of tokens beside the layers of parts that are named like a tower."""
        known, rows, widths = self._learnt, stated_rows(self.config) or 0, stated_widths(self.config)
        widths |= {width for _, width in stated_shapes(self.config) if width}
        others = model_bodies(self.all, of_other_parts=True)
        self._learnt = (*known, *(prefix for prefix in others if prefix not in (*self._hinted, *known)))
        tables = self._stems(EMBEDDINGS)
        shapes = [outline.shape for stem in tables if (outline := self.outline_of(stem.whole() or ""))]
        if any(10 * shape[0] < 9 * rows or (widths and shape[-1] not in widths) for shape in shapes if shape):
            tables = []  # of codes, not of the tokens that the config counts
        self.token_table_prefixes = tuple(
            stem.path.rpartition(".")[0] + "." for stem in tables if stem.holds_a_matrix()
        )
        if self.token_table_prefixes:
            self.embeddings = self._stems(EMBEDDINGS, VAGUE_EMBEDDINGS)
        else:
            self._learnt = known

    def _stems(self, *lists: tuple[str, ...]) -> list[Stem]:
        """The known stems that have tensors, the preferred first.

        They rank by list; within a list, hinted prefixes rank before learnt ones.
        """
        ranks = [_ranks(prefixes, known) for known in lists for prefixes in (self._hinted, self._learnt)]
        rests: dict[str, dict[str, str]] = {}
        for name in self.outside:
            for path in _dotted_prefixes(name):
                if any(path in ranked for ranked in ranks):
                    rests.setdefault(path, {})[name[len(path) :]] = name

        def rank(path: str) -> tuple[int, int]:
            return next((index, ranked[path]) for index, ranked in enumerate(ranks) if path in ranked)

        return [Stem(path, rests[path]) for path in sorted(rests, key=rank)]


def _dotted_prefixes(name: str) -> Iterator[str]:
    """The prefix before each dot of a name, then the whole name."""
    dot = name.find(".")
    for _ in range(MAX_COMPONENTS):
        if dot < 0:
            break
        yield name[:dot]
        dot = name.find(".", dot + 1)
    yield name


@lru_cache(16)  # thousands of names, the same for every model of a type
def _ranks(prefixes: tuple[str, ...], known: tuple[str, ...]) -> Mapping[str, int]:
    """Every path that a known stem may have, with its rank (lower is preferred)."""
    paths = dict.fromkeys(prefix + stem for stem in known for prefix in prefixes)
    return {path: rank for rank, path in enumerate(paths)}
