"""Which tensor of a GGUF file is the matrix: the format has one name for each.

Source: llama.cpp's tables of tensors. A model without `output.weight` uses `token_embd.weight` for both,
unless its architecture has no head at all.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from survey.errors import NotThere
from survey.records.target import MatrixName
from survey.unembedding.stem_choice import Choice

HEAD, EMBEDDING, BIAS = "output.weight", "token_embd.weight", "output.bias"
PER_LAYER = "per_layer_token_embd.weight"  # a table for each layer, side by side
_OF_A_LAYER = re.compile(r"(?:enc\.|dec\.)?blk\.")
# Architectures whose graph ends in hidden states, for embeddings or classes.
_WITHOUT_HEAD = re.compile(r"(?i).*bert.*|t5encoder|gemma-embedding|llama-embed|clip|wavtokenizer.*")
# Tags of cards: older files of embedding models state no pooling, and have no head that would be missed.
_OF_EMBEDDINGS = ("sentence-similarity", "sentence-transformers", "feature-extraction")

Scalars = Mapping[str, int | float | bool | str]
Shapes = Mapping[str, tuple[int, ...]]


def choose_gguf_tensor(
    shapes: Shapes, scalars: Scalars, tags: Collection[str], matrix: MatrixName, where: str
) -> Choice:
    """The tensor that serves as a matrix. shapes: of all tensors. tags: of the card.

    Raises NotThere: `no-head` if there is none, `unknown-head` if another tensor may be the head.
    """
    if matrix == "input":
        if EMBEDDING not in shapes:
            raise NotThere("no-head", where, f"there is no {EMBEDDING}")
        tied = HEAD not in shapes and _lack_of_head(scalars, tags) is None
        return Choice(EMBEDDING, tied, EMBEDDING)
    if HEAD in shapes:
        return Choice(HEAD, False, HEAD)
    if EMBEDDING not in shapes:
        raise NotThere("no-head", where, f"there is neither {HEAD} nor {EMBEDDING}")
    if lack := _lack_of_head(scalars, tags):
        raise NotThere("no-head", where, f"there is no {HEAD}, and {lack}", "measure it with --matrix input")
    if rival := _rival(shapes):
        problem = f"there is no {HEAD}, and {rival} of the shape of {EMBEDDING}, which no rule names"
        raise NotThere("unknown-head", where, problem)
    return Choice(EMBEDDING, True, f"no {HEAD}: llama.cpp uses {EMBEDDING} for both")


def _rival(shapes: Shapes) -> str | None:
    """A tensor of no layer that is shaped like the embedding; None if there is no other."""
    alike = (
        name for name, shape in shapes.items() if shape == shapes[EMBEDDING] and not _OF_A_LAYER.match(name)
    )
    return next((name for name in sorted(alike) if name not in (EMBEDDING, PER_LAYER)), None)


def _lack_of_head(scalars: Scalars, tags: Collection[str]) -> str | None:
    """Why a model without a head of its own has none; None if its embedding serves as one."""
    kind = str(scalars.get("general.architecture", ""))
    if _WITHOUT_HEAD.fullmatch(kind):
        return f"{kind[:80]} models have no head"
    if scalars.get(f"{kind}.pooling_type", 0) not in (0, -1):
        return f"{kind[:80]}.pooling_type says that it makes embeddings of texts"
    if scalars.get(f"{kind}.attention.causal", True) in (False, 0):
        return f"{kind[:80]}.attention.causal says that it is an encoder"
    if tag := next((tag for tag in _OF_EMBEDDINGS if tag in tags), None):
        return f"the card's tag {tag} says that it makes embeddings of texts"
    return None
