"""Which tensor is the unembedding, and which the embedding.

The files win over the config: a head in the files is the head even where the config says tied. A
config that says *untied* with no head in the files is a base model and is refused; so is a model that
scores, an adapter without a head of its own, and a draft model whose head knows few tokens.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from survey.errors import NotThere
from survey.numerics.dtypes import FLOATS
from survey.records.target import MatrixName
from survey.unembedding.model_config import meant_tie, reads_tokens, stated_tie, why_scoring, why_untied
from survey.unembedding.quantisation import is_packed, looks_packed, scheme
from survey.unembedding.stems import Stem
from survey.unembedding.suspects import (
    embedding_suspects,
    further_rows,
    head_suspects,
    may_hold_rows,
    updates_elsewhere,
    whole_suspects,
)
from survey.unembedding.tensor_names import TensorNames

# Heads that give scores, or what sound is made of, in files that hold no head for tokens.
_SCORES = re.compile(
    r"(?:\w+\.)*(?:\w*(?:discriminator_predictions|qass|flow_head|eos_head|speech_decoder_postnet)\.[\w.]+|(?:scores?|scorer|score_head|scoring_head|qa_outputs|(?:v|value|reward|rank|ranking|regression)_head|classifier"
    r"|classification_head)(?:\.(?:dense|out_proj|[0-9]+))?)\.weight"
)
# An encoder and a decoder may each have a table.
_HALF = re.compile(r"(?:^|[._])(?:encoder|decoder)(?:[._]|$)")
_OF_CODES = re.compile(
    r"\.(?:q_?weight|W_q|SCB|scales|_?weight_(?:scale\w*|packed|qdata|blocks)|weights_scaling_factor)"
)
EXPLAIN = "`survey plan --explain` shows what there is"
_DRAFT = frozenset({"d2t", "t2d"})  # EAGLE-3: which tokens its short vocabulary holds


@dataclass(frozen=True, slots=True)
class Choice:
    """The tensor that serves as a matrix, and the rule that chose it.

    tied: the unembedding and the embedding are one tensor in the files. added: tensors that hold further
    rows of the matrix.
    """

    tensor: str
    tied: bool
    rule: str
    added: tuple[str, ...] = ()


def choose_among(names: TensorNames, matrix: MatrixName, where: str) -> Choice:
    """The tensor that serves as `matrix`.

    Raises NotThere: `no-head`, `unknown-head`, `split-head` or `quantised-head`, with what was found.
    """
    return _embedding(names, where) if matrix == "input" else _unembedding(names, where)


def named_tensor(
    names: Collection[str], config: Mapping[str, Any], *, sure: bool = False
) -> tuple[str | None, str | None]:
    """The head and the embedding that a checkpoint's names show, before anything is concluded from them.

    sure: only a head whose name no other part of a model has.
    """
    found = TensorNames(names, config)
    heads = (stem.whole() or stem.packed() for stem in found.heads if not (sure and found.is_vague(stem)))
    embeddings = (stem.whole() or stem.packed() for stem in found.embeddings)
    return next(filter(None, heads), None), next(filter(None, embeddings), None)


def refuse_adapter(names: Collection[str], base: str, matrix: MatrixName, where: str) -> None:
    """Raise NotThere (`no-head`) where an adapter holds no whole matrix of its own.

    base: the model that it changes. Whether that one is tied is not known here, so an embedding that was
    trained along never stands for the unembedding.
    """
    found = TensorNames(names, {})
    stems = found.heads if matrix == "output" else found.embeddings
    named_tensor = base or "the model that it changes"
    kind = {"output": "unembedding", "input": "embedding"}[matrix]
    held = next((stem for stem in stems if stem.whole()), None)
    if held is None:
        problem = f"an adapter for {named_tensor}, without an {kind} of its own"
        raise NotThere("no-head", where, problem, f"survey {named_tensor}")
    if updates := held.updates():
        problem = f"an adapter for {named_tensor} that adds a low-rank update to its {kind} ({updates[0]})"
        raise NotThere("no-head", where, problem, f"merge it into {named_tensor}, export that and survey it")


def _unembedding(names: TensorNames, where: str) -> Choice:
    if drafts := sorted(_DRAFT.intersection(names.all)):
        problem = f"a draft model ({drafts[0]}): its head knows only the tokens that it guesses"
        raise NotThere("no-head", where, problem, "survey the model that it guesses for")
    head = _held(names, names.heads, where)
    if head is not None:
        if _tied_to_head(names):
            return replace(
                head, tied=True, rule="a head in the files, and no embedding: tied as the config says"
            )
        return replace(head, rule="a head in the files")
    if scores := _why_scores(names):
        raise NotThere("no-head", where, f"the files hold no head for tokens: {scores}")
    if names.files:
        problem = f"{names.files[0]} has a head's name, and is none of the files that are read"
        raise NotThere("unknown-head", where, problem)
    _refuse_suspects(names, head_suspects(names), "head", where)
    embedding = _held(names, names.embeddings, where)
    if embedding is None:
        _refuse_suspects(names, embedding_suspects(names), "embedding", where)
        problem = f"neither head nor embedding among its {len(names.all)} tensors"
        raise NotThere("no-head", where, problem, EXPLAIN)
    if untied := why_untied(names.config):
        raise NotThere("no-head", where, f"the files hold no head and {untied}: this is a base model")
    if copies := [name for stem in names.embeddings for name in stem.copies()]:
        problem = (
            f"{copies[0]} was trained beside its original, and which of the two is the head, nothing says"
        )
        raise NotThere("unknown-head", where, problem)
    if names.homes and stated_tie(names.config) is not True:
        problem = f"{embedding.tensor} lies in a part of another name, and neither a head nor the config says"
        raise NotThere("unknown-head", where, f"{problem} that it is an unembedding, too")
    return replace(embedding, tied=True, rule="no head in the files: tied to the embedding")


def _embedding(names: TensorNames, where: str) -> Choice:
    embedding = _held(names, names.embeddings, where)
    if embedding is not None:
        return replace(
            embedding, tied=_serves_as_both(names, embedding, where), rule="the name of an embedding"
        )
    _refuse_suspects(names, embedding_suspects(names) or _second_tables(names), "embedding", where)
    if _tied_to_head(names) and (head := _held(names, names.heads, where)):
        return replace(head, tied=True, rule="no embedding in the files: tied to the head as the config says")
    raise NotThere("no-head", where, f"no embedding among its {len(names.all)} tensors", EXPLAIN)


def _serves_as_both(names: TensorNames, embedding: Choice, where: str) -> bool:
    try:
        return _unembedding(names, where).tensor == embedding.tensor
    except NotThere:
        return False


def _tied_to_head(names: TensorNames) -> bool:
    """Whether the one tensor that serves as both is stored by the head's name."""
    held = any(stem.holds_a_matrix() for stem in names.embeddings)
    missing = not (held or embedding_suspects(names) or _second_tables(names))
    return missing and reads_tokens(names.config) and meant_tie(names.config) is True


def _second_tables(names: TensorNames) -> list[str]:
    """Tensors of the head's shape, which may be the embedding."""
    heads = {name for stem in names.heads for name in (*stem.forms(), names.matrix(stem)) if name}
    return whole_suspects(names, heads)


def _why_scores(names: TensorNames) -> str | None:
    """Why an embedding without a head is not an unembedding, too: the model scores."""
    scores = min((name for name in names.outside if _SCORES.fullmatch(name)), default=None)
    if names.head_bias:  # what else was trained beside a tied head, such as the order of sentences
        scores = None
    return why_scoring(names.config) or (f"{scores} scores" if scores else None)


def _held(names: TensorNames, stems: list[Stem], where: str) -> Choice | None:
    """The first of the stems at which there is a matrix; None where there is none.

    Raises NotThere where it is there in a form that cannot be measured, or nobody knows in which form.
    """
    for stem in stems:
        whole = names.matrix(stem)
        if whole is None:
            _refuse_odd(names, stem, where)
            continue
        if packed := _codes_beside(names, stem, whole):
            by = scheme(names.config, names.all, packed)
            problem = f"{whole} lies beside {packed}, quantised by {by}: which of them counts, nothing says"
            raise NotThere("quantised-head", where, problem)
        if updates := stem.updates() or updates_elsewhere(names, stem):
            problem = f"{whole} has an update that is not merged into it ({updates[0]})"
            raise NotThere("no-head", where, problem, "merge and export the model")
        if rivals := _rivals(names, stem, stems):
            problem = f"{whole} and {rivals[0]} could both be it"
            raise NotThere("unknown-head", where, problem, "survey the model without the other part")
        added = stem.added()
        if guessed := [name for name in further_rows(names, stem, whole) if name not in added]:
            problem = f"{guessed[0]} may hold further rows of {whole}, and no rule says so"
            raise NotThere("split-head", where, problem)
        return Choice(whole, False, "", tuple(added))
    return None


def undecided(names: TensorNames, matrix: MatrixName, choice: Choice) -> list[str]:
    """Tensors whose headers were not read, and which may be rivals of the choice or further rows of it.

    Of ordinary models there are none.
    """
    stems = names.heads if matrix == "output" and not choice.tied else names.embeddings
    stem = next((stem for stem in stems if names.matrix(stem) == choice.tensor), None)
    if stem is None:
        return []
    named_tensor = [*_named_alike(names, stem, stems), *may_hold_rows(names, stem)]
    return sorted(
        name for name in named_tensor if name not in choice.added and names.outline_of(name) is None
    )


def _rivals(names: TensorNames, stem: Stem, stems: list[Stem]) -> list[str]:
    """Other matrices of the same kind and size, where neither bytes nor names say which one counts."""
    held = stem.whole() or ""
    alike = _named_alike(names, stem, stems)
    return [whole for whole in alike if not names.is_hinted(stem) or _as_large(names, held, whole)]


def _named_alike(names: TensorNames, stem: Stem, stems: list[Stem]) -> list[str]:
    """Other matrices that could be the one by their names."""
    of_head, last = stem in names.heads, stem.path.rpartition(".")[2]
    alike = []
    for other in stems:
        whole = other.whole()
        same_name = other.path.rpartition(".")[2] == last
        if other is stem or whole is None or not (same_name or (of_head and not names.is_vague(other))):
            continue
        if _HALF.sub(".", stem.path) == _HALF.sub(".", other.path):  # the halves of one model, in any wrapper
            continue
        if names.is_hinted(stem) and (_HALF.search(stem.path) or _HALF.search(other.path)):
            continue
        if (same_name and (names.is_hinted(stem) or not names.is_hinted(other))) or of_head:
            alike.append(whole)
    return alike


def _as_large(names: TensorNames, tensor: str, other: str) -> bool:
    """Whether two tensors have one shape and are not the same bytes, as far as headers were read."""
    outlines = names.outline_of(tensor), names.outline_of(other)
    if outlines[0] is None or outlines[1] is None or outlines[0].shape != outlines[1].shape:
        return False
    specs = names.spec_of(tensor), names.spec_of(other)
    return specs[0] is None or specs[1] is None or replace(specs[0], name="") != replace(specs[1], name="")


def _codes_beside(names: TensorNames, stem: Stem, whole: str) -> str | None:
    """Codes, or a scale, in the module of a matrix that is stored in plain numbers."""
    outline = names.outline_of(whole)
    if outline is None or outline.dtype not in FLOATS or FLOATS[outline.dtype].bits == 8:
        return None
    return next((stem.rests[rest] for rest in sorted(stem.rests) if _OF_CODES.fullmatch(rest)), None)


def _refuse_odd(names: TensorNames, stem: Stem, where: str) -> None:
    """Raise NotThere where a stem shows a matrix that is not there as one tensor."""
    if packed := stem.packed():
        by = scheme(names.config, names.all, packed)
        raise NotThere("quantised-head", where, f"the matrix is quantised by {by} ({packed})")
    if pieces := stem.pieces() or stem.added():
        raise NotThere("split-head", where, f"the matrix is cut into pieces ({pieces[0]}, …)")
    if updates := stem.updates():
        problem = f"there is an update ({updates[0]}), and not what it changes"
        raise NotThere("no-head", where, problem, "merge and export the model")
    if stem in names.heads and not names.is_vague(stem):
        placed = {whole for other in names.heads if (whole := other.whole())}
        _refuse_suspects(names, [name for name in stem.unknown() if name not in placed], "head", where)


def _refuse_suspects(names: TensorNames, suspects: list[str], kind: str, where: str) -> None:
    """Raise NotThere where tensors look like a matrix that no rule places."""
    if not suspects:
        return
    name = suspects[0]
    if packed := next((name for name in suspects if _holds_codes(names, name)), None):
        by = scheme(names.config, names.all, packed)
        raise NotThere("quantised-head", where, f"the matrix is quantised by {by} ({packed})")
    spec = names.outline_of(name)
    seen = f"{name} ({spec.dtype} {list(spec.shape)})" if spec else name
    looks = {"head": "a head", "embedding": "an embedding"}[kind]
    problem = f"{seen} looks like {looks}, and no rule says what it is: nothing else is measured in its place"
    raise NotThere("unknown-head", where, problem)


def _holds_codes(names: TensorNames, name: str) -> bool:
    """Whether a tensor's dtype says so, or its name, and the dtype does not contradict it."""
    outline = names.outline_of(name)
    plain = outline is not None and outline.dtype in FLOATS and name.endswith(".weight")
    return (outline is not None and is_packed(outline.dtype)) or (looks_packed(name) and not plain)
