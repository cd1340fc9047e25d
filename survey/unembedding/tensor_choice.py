"""Which tensor is the unembedding, and which the embedding.

The files win over the config: a head in the files is the head even if the config says tied. A config that
says *untied* without a head in the files belongs to a base model, which is refused. Also refused are a model
that scores, an adapter without a head of its own, and a draft model whose head knows few tokens.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from survey.errors import BrokenFile, NotThere
from survey.records.target import MatrixName
from survey.unembedding.known_names import TOWER_EMBEDDINGS
from survey.unembedding.model_class import reads_tokens, why_scoring, why_unknown
from survey.unembedding.refusals import refuse_suspects
from survey.unembedding.stem_choice import Choice, choose_stem
from survey.unembedding.suspects import embedding_suspects, head_suspects, matrix_shaped_suspects
from survey.unembedding.tensor_names import TensorNames
from survey.unembedding.tying import implied_tie, stated_tie, why_untied

# Heads that give scores or make sound; they count only if the files hold no head for tokens.
_SCORES = re.compile(
    r"(?:\w+\.)*(?:\w*(?:discriminator_predictions|qass|flow_head|eos_head|speech_decoder_postnet)\.[\w.]+|(?:scores?|scorer|score_head|scoring_head|qa_outputs|(?:v|value|reward|rank|ranking|regression)_head|classifier"
    r"|classification_head)(?:\.(?:dense|out_proj|[0-9]+))?)\.weight"
)
EXPLAIN = "`survey plan --explain` shows what there is"
_DRAFT_TENSORS = frozenset({"d2t", "t2d"})  # EAGLE-3: which tokens its short vocabulary holds


def choose_among(names: TensorNames, matrix: MatrixName, where: str) -> Choice:
    """The tensor that serves as `matrix`.

    Raises NotThere: `no-head`, `unknown-head`, `split-head` or `quantised-head`, with the tensor at fault;
    BrokenFile (`index-mismatch`), if it may lie in a file that does not exist.
    """
    return _embedding(names, where) if matrix == "input" else _unembedding(names, where)


def named_matrices(
    names: Collection[str], config: Mapping[str, Any], *, sure: bool = False
) -> tuple[str | None, str | None]:
    """The head and the embedding that the names alone show, before any header is read.

    sure: accept only a head whose name no other part of a model has.
    """
    tensors = TensorNames(names, config)
    heads = (stem.whole() or stem.packed() for stem in tensors.heads if not (sure and tensors.is_vague(stem)))
    embeddings = (stem.whole() or stem.packed() for stem in tensors.embeddings)
    return next(filter(None, heads), None), next(filter(None, embeddings), None)


def _unembedding(names: TensorNames, where: str) -> Choice:
    if drafts := sorted(_DRAFT_TENSORS.intersection(names.all)):
        problem = f"a draft model ({drafts[0]}): its head knows only the tokens that it guesses"
        raise NotThere("no-head", where, problem, "survey the model that it guesses for")
    head = choose_stem(names, names.heads, where)
    if head is not None:
        if _is_tied_to_head(names):
            return replace(
                head, tied=True, rule="a head in the files, and no embedding: tied as the config says"
            )
        return replace(head, rule="a head in the files")
    _refuse_headless(names, where)
    embedding = choose_stem(names, names.embeddings, where)
    if embedding is None:
        refuse_suspects(names, embedding_suspects(names), "embedding", where)
        problem = f"neither head nor embedding among its {len(names.all)} tensors"
        raise NotThere("no-head", where, problem, EXPLAIN)
    _refuse_untied(names, embedding, where)
    return replace(embedding, tied=True, rule="no head in the files: tied to the embedding")


def _refuse_headless(names: TensorNames, where: str) -> None:
    """Raise NotThere or BrokenFile if a model scores, or may have a head that no rule knows."""
    names.unread.refuse_missing("head", where)
    if scores := _why_scores(names):
        raise NotThere("no-head", where, f"the files hold no head for tokens: {scores}")
    names.unread.refuse_head(where)
    refuse_suspects(names, head_suspects(names), "head", where)


def _refuse_untied(names: TensorNames, embedding: Choice, where: str) -> None:
    """Raise NotThere if nothing shows that the embedding of a model without a head is its head, too."""
    if untied := why_untied(names.config):
        raise NotThere("no-head", where, f"the files hold no head and {untied}: this is a base model")
    if copies := [name for stem in names.embeddings for name in stem.copies()]:
        problem = (
            f"{copies[0]} was trained beside its original, and nothing says which of the two is the head"
        )
        raise NotThere("unknown-head", where, problem)
    if embedding.tensor.removesuffix(".weight").endswith(TOWER_EMBEDDINGS):
        raise NotThere("no-head", where, f"{embedding.tensor} belongs to a text tower, which gives no logits")
    stem = next(stem for stem in names.embeddings if names.matrix(stem) == embedding.tensor)
    if (unknown := why_unknown(names.config, wrapped=not names.is_hinted(stem))) and not names.head_bias:
        problem = f"the files hold no head, and nothing says that {embedding.tensor} is one, too: {unknown}"
        raise NotThere("unknown-head", where, f"{problem}, and the config says nothing of tying")
    if names.token_table_prefixes and stated_tie(names.config) is not True:
        problem = (
            f"{embedding.tensor} lies in a part named like a tower, and neither a head nor the config says"
        )
        raise NotThere("unknown-head", where, f"{problem} that it is an unembedding, too")


def _embedding(names: TensorNames, where: str) -> Choice:
    embedding = choose_stem(names, names.embeddings, where)
    if embedding is not None:
        return replace(
            embedding, tied=_serves_as_both(names, embedding, where), rule="the name of an embedding"
        )
    names.unread.refuse_missing("embedding", where)
    refuse_suspects(names, embedding_suspects(names) or _second_tables(names), "embedding", where)
    if _is_tied_to_head(names) and (head := choose_stem(names, names.heads, where)):
        return replace(head, tied=True, rule="no embedding in the files: tied to the head as the config says")
    raise NotThere("no-head", where, f"no embedding among its {len(names.all)} tensors", EXPLAIN)


def _serves_as_both(names: TensorNames, embedding: Choice, where: str) -> bool:
    try:
        return _unembedding(names, where).tensor == embedding.tensor
    except (NotThere, BrokenFile):
        return False


def _is_tied_to_head(names: TensorNames) -> bool:
    """Whether the one tensor that serves as both is stored under the head's name."""
    missing = not (names.has_embedding() or embedding_suspects(names) or _second_tables(names))
    return missing and reads_tokens(names.config) and implied_tie(names.config) is True


def _second_tables(names: TensorNames) -> list[str]:
    """Tensors of the head's shape, which may be the embedding."""
    heads = {name for stem in names.heads for name in (*stem.forms(), names.matrix(stem)) if name}
    return matrix_shaped_suspects(names, heads)


def _why_scores(names: TensorNames) -> str | None:
    """Why the embedding cannot serve as the head (the model scores); None if it can."""
    scores = min((name for name in names.outside if _SCORES.fullmatch(name)), default=None)
    if names.head_bias:  # then such a head was trained beside a tied one, as for the order of sentences
        scores = None
    return why_scoring(names.config) or (f"{scores} scores" if scores else None)
