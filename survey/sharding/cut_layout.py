"""Which tensors of a checkpoint are stored in parts, by the name of the whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from survey.errors import NotThere
from survey.formats.safetensors_header import Header
from survey.records.tensors import TensorSpec
from survey.sharding.joining import NAMES_SHOWN, MatrixSize, TensorPart, is_cut
from survey.sharding.ranks import check_ranks, holders, is_rank_part, offsets_of
from survey.unembedding.model_config import stated_lengths

ReadParts = Callable[
    [], tuple[TensorPart, ...]
]  # called only if the parts are needed: each may cost a request
LookUp = Callable[[str], TensorSpec]

_NUMBERED = re.compile(
    r"(.+?)(?:\.(?P<inner>\d{1,4})\.weight|\.weight(?:\.|_part_?)(?P<last>\d{1,4})"
    r"|[._](?:tp|mp|ranks?|shards?|parts?|chunks?|pieces?|splits?)[._]?(?P<kind>\d{1,4})\.weight)"
)
# The last word of a vocabulary matrix's name; a tensor of a layer is never taken for one.
_VOCABULARY = re.compile(
    r"(?:^|\.)(?:lm_head|embed_out|unembed\w*|output(?:_layer|_projection)?|head|proj_out|ff_out|embed_in|"
    r"(?:\w+_)?embed(?:ding)?s?(?:_tokens)?|embed_tokens|tokens_embed|wte|shared|emb)$"
)
_OF_A_LAYER = re.compile(r"(?:^|\.)(?:layers?|blocks?|h|experts)\.\d+\.")
_META_EMBEDDING = "tok_embeddings.weight"  # Meta's params.json leaves V to the tokenizer
_MOST_PARTS = 1024


def stated_size(config: Mapping[str, Any]) -> MatrixSize:
    """The size of a vocabulary matrix as the config states it."""
    return MatrixSize(*stated_lengths(config))


def parts_of_devices(
    headers: Mapping[str, Header], where: str
) -> tuple[dict[str, str], dict[str, ReadParts]]:
    """The (first) file of each tensor, and the parts of the tensors that several devices wrote.

    Raises BrokenFile (`index-mismatch`); reading the parts may raise NotThere (`split-head`), BrokenFile.
    """
    files_of = holders(headers, where)

    def parts(name: str, files: tuple[str, ...]) -> tuple[TensorPart, ...]:
        check_ranks(name, files, where)
        return tuple(
            TensorPart(headers[file].tensors[name], offsets_of(headers[file], name, f"{where}/{file}"))
            for file in files
        )

    cut: dict[str, ReadParts] = {
        name: partial(parts, name, files) for name, files in files_of.items() if is_rank_part(files)
    }
    return {name: files[0] for name, files in files_of.items()}, cut


def size_of_devices(size: MatrixSize, cut: Mapping[str, ReadParts]) -> MatrixSize:
    """The size, with V of Meta's embedding if it is not stated: each device holds all rows of it."""
    if size.rows is not None or size.dims is None or _META_EMBEDDING not in cut:
        return size
    shapes = [part.tensor.shape for part in cut[_META_EMBEDDING]()]
    whole = len(set(shapes)) == 1 and len(shapes[0]) == 2 and shapes[0][1] * len(shapes) == size.dims
    return MatrixSize(shapes[0][0], size.dims, padded=False) if whole else size


def numbered_parts(file_of: Mapping[str, str], size: MatrixSize, look_up: LookUp) -> dict[str, list[str]]:
    """Names with numbers that are parts of a matrix, by its name: `lm_head.weight.0`, `lm_head.weight.1`.

    The layers of a small network and the heads of several codebooks have numbers, too: the shapes decide.
    """
    by_whole: dict[str, list[tuple[int, str, bool]]] = {}
    for name in file_of:
        if (cut := _NUMBERED.fullmatch(name)) and _VOCABULARY.search(cut[1]) and not _OF_A_LAYER.search(name):
            number = _number(cut)
            by_whole.setdefault(f"{cut[1]}.weight", []).append((number, name, cut["inner"] is None))
    joined = {}
    for whole, members in by_whole.items():
        names = [name for _, name, _ in sorted(members)]
        if whole in file_of or not 2 <= len(names) <= _MOST_PARTS:
            continue
        tensors = [look_up(name) for name in names]
        # `head.0` and `head.1` may be two layers of D × D, or a speculator's heads, each with all tokens:
        # only parts that fill the matrix by rows are joined.
        enough = sum(tensor.shape[0] for tensor in tensors if tensor.shape) >= (size.rows or 0)
        plain = all(plain for *_, plain in members)
        if not (is_cut(tensors, size, columns=plain) and (enough or plain)):
            continue
        # The tables of several codebooks may have together about as many rows as there are tokens.
        if plain or not _is_whole_elsewhere(whole, size, file_of, look_up):
            joined[whole] = names
    return joined


def _is_whole_elsewhere(name: str, size: MatrixSize, file_of: Mapping[str, str], look_up: LookUp) -> bool:
    """Whether a module of the same name in another part of the model holds all rows of the matrix."""
    own_name = name.split(".")[-2]
    others = [other for other in file_of if other.endswith(f".{own_name}.weight")]
    shapes = [look_up(other).shape for other in others if not _OF_A_LAYER.search(other)]
    return any(len(shape) == 2 and 10 * shape[0] >= 9 * (size.rows or 0) for shape in shapes)


def _number(cut: re.Match[str]) -> int:
    return int(cut["inner"] or cut["last"] or cut["kind"])


def refuse_gap(names: Sequence[str], where: str) -> None:
    """Raise NotThere (`split-head`) if a number is missing among the parts, whatever the others add up to."""
    numbers = {_number(cut) for name in names if (cut := _NUMBERED.fullmatch(name))}
    first = min(1, min(numbers))
    missing = sorted(set(range(first, max(numbers) + 1)) - numbers)
    if missing:
        left_out = ", ".join(map(str, missing[:NAMES_SHOWN])) + (", …" if len(missing) > NAMES_SHOWN else "")
        problem = f"of the parts {names[0]} to {names[-1]} there is no number {left_out}"
        raise NotThere("split-head", where, problem)
