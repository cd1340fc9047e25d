"""Which tensor is the unembedding, and which the embedding.

The files win over the config: a head in the files is the head even where the config says tied. A
config that says *untied* with no head in the files is a base model and is refused; so is a model that
scores, an adapter without a head of its own, and a draft model whose head knows few tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from survey.errors import NotThere
from survey.names import Names
from survey.quantised import scheme
from survey.statements import stated_tie, why_scoring, why_untied
from survey.target import MatrixName

# Heads that give scores, in files that hold no head for tokens.
_SCORES = ("score.weight", "classifier.weight", "classifier.dense.weight", "classifier.out_proj.weight",
           "qa_outputs.weight", "v_head.weight", "reward_head.weight", "value_head.weight")  # fmt: skip
_DRAFT = frozenset({"d2t", "t2d"})  # EAGLE-3: which tokens its short vocabulary holds


@dataclass(frozen=True, slots=True)
class Choice:
    """The tensor that serves as a matrix, and the rule that chose it.

    tied: the unembedding and the embedding are one tensor in the files.
    """

    tensor: str
    tied: bool
    rule: str


def choose(names: Collection[str], config: Mapping[str, Any], matrix: MatrixName, where: str) -> Choice:
    """The tensor among `names` that serves as `matrix`.

    Raises NotThere: `no-head`, `split-head` or `quantised-head`, with what was found.
    """
    found = Names(names, config)
    return _embedding(found, config, where) if matrix == "input" else _unembedding(found, config, where)


def refuse_adapter(names: Collection[str], base: str, matrix: MatrixName, where: str) -> None:
    """Raise NotThere (`no-head`) where an adapter holds no whole matrix of its own.

    base: the model that it changes. Whether that one is tied is not known here, so an embedding that was
    trained along never stands for the unembedding.
    """
    found = Names(names, {})
    held = found.heads if matrix == "output" else found.embeddings
    named = base or "the model that it changes"
    kind = {"output": "unembedding", "input": "embedding"}[matrix]
    if not held:
        problem = f"an adapter for {named}, without an {kind} of its own: survey {named}"
        raise NotThere("no-head", where, problem)
    stem = held[0].removesuffix(".weight")
    updates = sorted(name for name in names if name.startswith((f"{stem}.lora_", f"{stem}.dora_")))
    if updates:
        problem = f"an adapter for {named} that adds a low-rank update to its {kind} ({updates[0]})"
        raise NotThere("no-head", where, problem)


def has_head_bias(names: Collection[str], config: Mapping[str, Any]) -> bool:
    """Whether the files hold a bias that is added to the logits."""
    return Names(names, config).head_bias


def _unembedding(names: Names, config: Mapping[str, Any], where: str) -> Choice:
    if drafts := sorted(_DRAFT.intersection(names.all)):
        problem = f"a draft model ({drafts[0]}): its head knows only the tokens that it guesses"
        raise NotThere("no-head", where, problem)
    if names.heads:
        if _tied_to_head(names, config):
            return Choice(
                names.heads[0], True, "a head in the files, and no embedding: tied as the config says"
            )
        return Choice(names.heads[0], False, "a head in the files")
    _refuse_odd(names, config, where, of_head=True)
    if not names.embeddings:
        _refuse_odd(names, config, where, of_head=False)
        raise NotThere("no-head", where, f"neither head nor embedding among its {len(names.all)} tensors")
    headless = _why_headless(names, config)
    if headless is not None:
        raise NotThere("no-head", where, headless)
    return Choice(names.embeddings[0], True, "no head in the files: tied to the embedding")


def _embedding(names: Names, config: Mapping[str, Any], where: str) -> Choice:
    if names.embeddings:
        tied = not names.heads and _why_headless(names, config) is None
        return Choice(names.embeddings[0], tied, "the name of an embedding")
    _refuse_odd(names, config, where, of_head=False)
    if _tied_to_head(names, config):
        return Choice(names.heads[0], True, "no embedding in the files: tied to the head as the config says")
    raise NotThere("no-head", where, f"no embedding among its {len(names.all)} tensors")


def _tied_to_head(names: Names, config: Mapping[str, Any]) -> bool:
    """Whether the one tensor that serves as both is stored by the head's name."""
    missing = names.heads and not names.embeddings and names.cut(of_head=False) is None
    return bool(missing) and stated_tie(config) is True


def _why_headless(names: Names, config: Mapping[str, Any]) -> str | None:
    """Why an embedding without a head is not an unembedding, too; None where it is."""
    scores = next((name for name in _SCORES if name in names.all), None)
    scoring = why_scoring(config) or (f"{scores} scores" if scores else None)
    if scoring is not None:
        return f"the files hold no head for tokens: {scoring}"
    untied = why_untied(config)
    return untied and f"the files hold no head and {untied}: this is a base model"


def _refuse_odd(names: Names, config: Mapping[str, Any], where: str, *, of_head: bool) -> None:
    if cut := names.cut(of_head=of_head):
        raise NotThere("split-head", where, f"the matrix is cut into pieces ({cut}, …)")
    if packed := names.packed(of_head=of_head):
        by = scheme(config, names.all, packed)
        raise NotThere("quantised-head", where, f"the matrix is quantised by {by} ({packed})")
