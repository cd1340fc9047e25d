"""An index is a claim about its shards: before a matrix is called absent, the shards' headers are read.

If the index names both matrices, as that of an ordinary untied model does, nothing further is read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from survey.checkpoints.shard_sets import same_set
from survey.checkpoints.weight_files import beside_shards
from survey.errors import BrokenFile, NotThere
from survey.formats.safetensors_header import Header
from survey.unembedding.tensor_choice import named_matrices
from survey.unembedding.tying import implied_tie

_MOST_SHARDS = 1_000  # of which the header is read, each with a request
_MOST_TENSORS = 2_000_000  # of all shards together
ReadHeader = Callable[[str], Header]


def tensors_of(headers: Mapping[str, Header]) -> tuple[dict[str, str], dict[str, str]]:
    """The file of each tensor by the headers; and for each tensor in two files the second."""
    file_of: dict[str, str] = {}
    duplicates: dict[str, str] = {}
    for file, header in headers.items():
        for name in header.tensors:
            if file_of.setdefault(name, file) == file:
                continue
            if _is_noted(name, header):  # only a further name; the stored tensor counts
                continue
            if not _is_noted(name, headers[file_of[name]]):
                duplicates[name] = file
            else:
                file_of[name] = file
    return file_of, duplicates


def _is_noted(name: str, header: Header) -> bool:
    return header.metadata.get(name) in header.tensors


def checked_index(
    claimed: Mapping[str, str],
    config: Mapping[str, Any],
    files: Mapping[str, int],
    headers: dict[str, Header],
    read: ReadHeader,
    where: str,
) -> Mapping[str, str]:
    """The file of each tensor: by the index, or by the shards if they decide a matrix.

    claimed: the index. headers: those read so far; further ones are added.
    Raises BrokenFile (`index-mismatch`) if a shard that decides does not exist, and NotThere
    (`unknown-head`) if a file beside the shards holds a head.
    """
    head, embedding = named_matrices(claimed, config, sure=True)
    tied = implied_tie(config) is True
    if head and embedding and not (tied and _is_missing((head, embedding), claimed, files, headers, read)):
        return claimed
    shards = sorted({*claimed.values(), *same_set(claimed.values(), files)})
    refuse_many(shards, where)
    tensors = 0
    for file in shards:
        if file not in files:
            problem = "the index names this file, and without it nobody knows whether there is a head"
            raise BrokenFile("index-mismatch", f"{where}/{file}", problem)
        if file not in headers:
            headers[file] = read(file)
        tensors += len(headers[file].tensors)
        if tensors > _MOST_TENSORS:
            problem = f"its shards hold more than {_MOST_TENSORS:,} tensors, our cap"
            raise BrokenFile("index-mismatch", where, problem)
    stored, duplicates = tensors_of(headers)
    # transformers ties a matrix of a tied model that is missing in the files.
    kept = {
        name: file
        for name, file in claimed.items()
        if name in headers[file].tensors or not (tied or name in stored)
    }
    if wrong := sorted(
        name for name in duplicates if name not in kept and name in named_matrices(stored, config)
    ):
        problem = f"holds {wrong[0]}, as {duplicates[wrong[0]]} does, and the index names neither"
        raise BrokenFile("index-mismatch", f"{where}/{stored[wrong[0]]}", problem)
    if named_matrices(stored, config)[0] is None:
        _refuse_strays(config, files, set(shards), headers, read, where)
    return {**stored, **kept}


def refuse_many(shards: Collection[str], where: str) -> None:
    """Raise BrokenFile (`index-mismatch`) if reading every shard's header would take too many requests."""
    if len(shards) > _MOST_SHARDS:
        problem = f"names {len(shards):,} files, of which we ask {_MOST_SHARDS:,} for a matrix, our cap"
        raise BrokenFile("index-mismatch", where, f"the index {problem}")


def _refuse_strays(
    config: Mapping[str, Any],
    files: Mapping[str, int],
    shards: set[str],
    headers: Mapping[str, Header],
    read: ReadHeader,
    where: str,
) -> None:
    """Raise NotThere (`unknown-head`) if a file beside the shards holds a head and no embedding."""
    for file in beside_shards(shards, files):
        tensors = (headers[file] if file in headers else read(file)).tensors
        head, embedding = named_matrices(tensors, config)
        if head is not None and embedding is None:
            problem = f"holds {head}, and the index names no such file"
            raise NotThere("unknown-head", f"{where}/{file}", problem)


def _is_missing(
    names: tuple[str, str],
    claimed: Mapping[str, str],
    files: Mapping[str, int],
    headers: dict[str, Header],
    read: ReadHeader,
) -> bool:
    """Whether the head, or an embedding in the same shard, is missing in its shard."""
    head, embedding = names
    file = claimed[head]
    if file not in files:
        return True
    if file not in headers:
        headers[file] = read(file)
    listed = [name for name in (head, embedding) if claimed[name] == file]
    return not all(name in headers[file].tensors for name in listed)
