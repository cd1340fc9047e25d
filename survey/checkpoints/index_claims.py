"""An index is a claim about its shards: before a matrix is called absent, the shards' headers are read.

If the index names both matrices, as that of an ordinary untied model does, nothing further is read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class _Shards:
    """The files beside an index. headers: those read so far; further ones are added. where: for messages."""

    files: Mapping[str, int]
    headers: dict[str, Header]
    read: ReadHeader
    where: str

    def header(self, file: str) -> Header:
        """The header of a file, read once."""
        if file not in self.headers:
            self.headers[file] = self.read(file)
        return self.headers[file]


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
    shards = _Shards(files, headers, read, where)
    head, embedding = named_matrices(claimed, config, sure=True)
    tied = implied_tie(config) is True
    if head and embedding and not (tied and _is_missing(head, embedding, claimed, shards)):
        return claimed
    names = sorted({*claimed.values(), *same_set(claimed.values(), files)})
    _read_all(names, shards)
    stored, duplicates = tensors_of(headers)
    # transformers ties a matrix of a tied model that is missing in the files.
    kept = {
        name: file
        for name, file in claimed.items()
        if name in headers[file].tensors or not (tied or name in stored)
    }
    matrices = named_matrices(stored, config)
    if undecided := sorted(name for name in duplicates if name not in kept and name in matrices):
        name = undecided[0]
        problem = f"holds {name}, as {duplicates[name]} does, and the index names neither"
        raise BrokenFile("index-mismatch", f"{where}/{stored[name]}", problem)
    if matrices[0] is None:
        _refuse_strays(config, set(names), shards)
    return {**stored, **kept}


def _read_all(names: Collection[str], shards: _Shards) -> None:
    """Read the header of every shard. Raises BrokenFile (`index-mismatch`) if one is missing, or too many."""
    refuse_many(names, shards.where)
    tensors = 0
    for file in names:
        if file not in shards.files:
            problem = "the index names this file, which does not exist: it may hold the head"
            raise BrokenFile("index-mismatch", f"{shards.where}/{file}", problem)
        tensors += len(shards.header(file).tensors)
        if tensors > _MOST_TENSORS:
            problem = f"its shards hold more than {_MOST_TENSORS:,} tensors, our cap"
            raise BrokenFile("index-mismatch", shards.where, problem)


def refuse_many(shards: Collection[str], where: str) -> None:
    """Raise BrokenFile (`index-mismatch`) if reading every shard's header would take too many requests."""
    if len(shards) > _MOST_SHARDS:
        problem = f"the index names {len(shards):,} files, expected at most {_MOST_SHARDS:,}, our cap"
        raise BrokenFile("index-mismatch", where, problem)


def _refuse_strays(config: Mapping[str, Any], names: set[str], shards: _Shards) -> None:
    """Raise NotThere (`unknown-head`) if a file beside the shards holds a head and no embedding."""
    for file in beside_shards(names, shards.files):
        header = shards.headers.get(file) or shards.read(file)  # not kept: it is no shard of this index
        head, embedding = named_matrices(header.tensors, config)
        if head is not None and embedding is None:
            problem = f"holds {head}, and the index names no such file"
            raise NotThere("unknown-head", f"{shards.where}/{file}", problem)


def _is_missing(head: str, embedding: str, claimed: Mapping[str, str], shards: _Shards) -> bool:
    """Whether the head, or an embedding in the same shard, is missing in its shard."""
    file = claimed[head]
    if file not in shards.files:
        return True
    listed = [name for name in (head, embedding) if claimed[name] == file]
    return not all(name in shards.header(file).tensors for name in listed)
