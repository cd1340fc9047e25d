"""Refusals of a matrix that cannot be measured as it is stored, or that may have an unknown name."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from survey.errors import NotThere
from survey.numerics.dtypes import FLOATS
from survey.records.target import MatrixName
from survey.unembedding.quantisation import is_packed, looks_packed, scheme
from survey.unembedding.stems import Stem
from survey.unembedding.suspect_shapes import are_pieces, factor_pair, plain_matrix
from survey.unembedding.tensor_names import TensorNames

_MAX_NAMED = 3  # tensors, in a message


def refuse_without_tensor(names: TensorNames, stem: Stem, where: str) -> None:
    """Raise NotThere if a stem shows a matrix that is not stored as one tensor."""
    if packed := stem.packed():
        method = scheme(names.config, names.all, packed)
        raise NotThere("quantised-head", where, f"the matrix is quantised by {method} ({packed})")
    if pieces := stem.pieces() or stem.added():
        raise NotThere("split-head", where, f"the matrix is cut into pieces ({pieces[0]}, …)")
    if updates := stem.updates():
        problem = f"there is an update ({updates[0]}), and not what it changes"
        raise NotThere("no-head", where, problem, "merge and export the model")
    if stem in names.heads and not names.is_vague(stem):
        known = {whole for other in names.heads if (whole := other.whole())}
        refuse_suspects(names, [name for name in stem.unknown() if name not in known], "head", where)


def refuse_suspects(names: TensorNames, suspects: list[str], kind: str, where: str) -> None:
    """Raise NotThere if there are suspects: tensors that look like a matrix and that no rule explains.

    kind: "head" or "embedding".
    """
    if not suspects:
        return
    packed = next((name for name in suspects if _holds_codes(names, name)), None)
    if packed and not plain_matrix(names, suspects):
        method = scheme(names.config, names.all, packed)
        raise NotThere("quantised-head", where, f"the matrix is quantised by {method} ({packed})")
    matrix = {"head": "a head", "embedding": "an embedding"}[kind]
    if pair := factor_pair(names, suspects):
        problem = (
            f"{_described(names, pair)} look like two factors of {matrix}, or of an update of one, and no"
        )
        problem += " rule says how to multiply them"
    elif are_pieces(names, suspects):
        problem = (
            f"{_described(names, suspects)} look like pieces of {matrix}, and no rule says how to join them"
        )
    else:
        first = next((name for name in suspects if not _holds_codes(names, name)), suspects[0])
        problem = f"{_described(names, [first])} looks like {matrix}, and no rule says what it is"
    problem += ": nothing else is measured in its place"
    raise NotThere("unknown-head", where, problem)


def _described(names: TensorNames, tensors: Sequence[str]) -> str:
    """Names of tensors, with dtype and shape if their headers were read; of many only the first."""
    shown = []
    for name in tensors[:_MAX_NAMED]:
        outline = names.outline_of(name)
        shown.append(f"{name} ({outline.dtype} {list(outline.shape)})" if outline else name)
    more = [f"{len(tensors) - _MAX_NAMED} more"] if len(tensors) > _MAX_NAMED else []
    return " and ".join([*shown, *more])


def refuse_adapter(names: Collection[str], base: str, matrix: MatrixName, where: str) -> None:
    """Raise NotThere (`no-head`) if an adapter holds no whole matrix of its own.

    base: the model that it changes. Whether the base is tied is not known here, so an embedding that was
    trained along never stands for the unembedding.
    """
    tensors = TensorNames(names, {})
    stems = tensors.heads if matrix == "output" else tensors.embeddings
    base_name = base or "the model that it changes"
    kind = {"output": "unembedding", "input": "embedding"}[matrix]
    stem = next((stem for stem in stems if stem.whole()), None)
    if stem is None:
        problem = f"an adapter for {base_name}, without an {kind} of its own"
        raise NotThere("no-head", where, problem, f"survey {base_name}")
    if updates := stem.updates():
        problem = f"an adapter for {base_name} that adds a low-rank update to its {kind} ({updates[0]})"
        raise NotThere("no-head", where, problem, f"merge it into {base_name}, export that and survey it")


def _holds_codes(names: TensorNames, name: str) -> bool:
    """Whether a tensor's dtype is one of codes, or its name is and the dtype does not contradict it."""
    outline = names.outline_of(name)
    plain = outline is not None and outline.dtype in FLOATS and name.endswith(".weight")
    return (outline is not None and is_packed(outline.dtype)) or (looks_packed(name) and not plain)
