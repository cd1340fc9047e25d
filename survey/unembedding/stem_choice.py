"""Which of several stems, such as `lm_head` and `model.lm_head`, holds the matrix."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from survey.errors import NotThere
from survey.numerics.dtypes import FLOATS
from survey.records.target import MatrixName
from survey.unembedding.further_tensors import (
    changing_tensors,
    further_rows,
    may_hold_rows,
    updates_elsewhere,
)
from survey.unembedding.quantisation import scheme
from survey.unembedding.refusals import refuse_without_tensor
from survey.unembedding.stems import Stem
from survey.unembedding.suspect_shapes import factor_pair
from survey.unembedding.tensor_names import TensorNames

# An encoder and a decoder may each have a table.
_HALF = re.compile(r"(?:^|[._])(?:encoder|decoder)(?:[._]|$)")
_CODES = re.compile(
    r"\.(?:q_?weight|W_q|SCB|scales?|scale_weight|weight\.scale|_?weight_(?:scale\w*|packed|qdata|blocks)"
    r"|weights_scaling_factor)"
)


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


def choose_stem(names: TensorNames, stems: list[Stem], where: str) -> Choice | None:
    """The matrix of the first stem that has one, without `tied` and `rule`; None if no stem has one.

    Raises NotThere if the matrix exists in a form that cannot be measured, or in an unknown form.
    """
    for stem in stems:
        whole = names.matrix(stem)
        if whole is None:
            refuse_without_tensor(names, stem, where)
            continue
        _refuse_doubtful(names, stem, whole, where)
        if rivals := _rivals(names, stem, stems):
            problem = f"{whole} and {rivals[0]} could both be it"
            raise NotThere("unknown-head", where, problem, "survey the model without the other part")
        added = stem.added()
        if guessed := [name for name in further_rows(names, stem, whole) if name not in added]:
            problem = f"{guessed[0]} may hold further rows of {whole}, and no rule says so"
            raise NotThere("split-head", where, problem)
        if changing := [name for name in changing_tensors(names, stem, whole) if name not in added]:
            problem = f"{changing[0]} may change {whole}, and no rule says how"
            raise NotThere("unknown-head", where, problem)
        return Choice(whole, False, "", tuple(added))
    return None


def undecided(names: TensorNames, matrix: MatrixName, choice: Choice) -> list[str]:
    """Tensors that may be rivals of the choice, or further rows of it, and whose headers were not read.

    Ordinary models have none.
    """
    stems = names.heads if matrix == "output" and not choice.tied else names.embeddings
    stem = next((stem for stem in stems if names.matrix(stem) == choice.tensor), None)
    if stem is None:
        return []
    candidates = [*_named_alike(names, stem, stems), *may_hold_rows(names, stem)]
    return sorted(name for name in candidates if name not in choice.added and names.outline_of(name) is None)


def _refuse_doubtful(names: TensorNames, stem: Stem, whole: str, where: str) -> None:
    """Raise NotThere if codes or an unmerged update beside a matrix leave open what its values are."""
    if packed := _codes_beside(names, stem, whole):
        method = scheme(names.config, names.all, packed)
        problem = f"{whole} lies beside {packed}, quantised by {method}: nothing says which of them counts"
        raise NotThere("quantised-head", where, problem)
    updates = stem.updates()[:1] or updates_elsewhere(names, stem)[:1]
    if not updates and stem in names.heads:
        updates = list(factor_pair(names, may_hold_rows(names, stem)) or ())
    if updates:
        problem = f"{whole} has an update that is not merged into it ({' × '.join(updates)})"
        raise NotThere("no-head", where, problem, "merge and export the model")


def _rivals(names: TensorNames, stem: Stem, stems: list[Stem]) -> list[str]:
    """Other matrices of the same kind and size, if neither bytes nor names say which one counts."""
    whole = stem.whole() or ""
    alike = _named_alike(names, stem, stems)
    return [other for other in alike if not names.is_hinted(stem) or _are_as_large(names, whole, other)]


def _named_alike(names: TensorNames, stem: Stem, stems: list[Stem]) -> list[str]:
    """Matrices of other stems that could be the same matrix by their names."""
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


def _are_as_large(names: TensorNames, tensor: str, other: str) -> bool:
    """Whether two tensors have one shape and are not the same bytes; False if a header was not read."""
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
    return next((stem.rests[rest] for rest in sorted(stem.rests) if _CODES.fullmatch(rest)), None)
