"""An index is a claim about its shards: before a matrix is called absent, the shards' headers are read.

If the index names both matrices, as that of an ordinary untied model does, nothing further is read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from survey.checkpoints.shard_sets import same_set
from survey.checkpoints.weight_files import beside_shards
from survey.errors import BrokenFile
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
class Shards:
    """The files of an index. headers: those read so far; further ones are added. where: for messages.

    folder: that of the index; empty, or ending in a slash.
    """

    folder: str
    files: Mapping[str, int]
    headers: dict[str, Header]
    read: ReadHeader
    where: str

    def header(self, file: str) -> Header:
        """The header of a file, read once."""
        if file not in self.headers:
            self.headers[file] = self.read(file)
        return self.headers[file]


@dataclass(frozen=True, slots=True)
class CheckedIndex:
    """The file of each tensor: by the index, or by the shards if they decide a matrix.

    duplicates: tensor -> a second shard that holds it, if the index names neither. missing: shards that do
    not exist, if any of them may hold a matrix. strays: the head in a file that no index names, by the file.
    """

    file_of: Mapping[str, str]
    duplicates: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    strays: Mapping[str, str] = field(default_factory=dict)


def checked_index(claimed: Mapping[str, str], config: Mapping[str, Any], shards: Shards) -> CheckedIndex:
    """Check an index (`claimed`) against its shards, if it leaves a matrix open. Raises BrokenFile."""
    head, embedding = named_matrices(claimed, config, sure=True)
    tied = implied_tie(config) is True
    if head and embedding and not (tied and _is_missing(head, embedding, claimed, shards)):
        return CheckedIndex(claimed)
    names = sorted({*claimed.values(), *same_set(claimed.values(), shards.files)})
    missing = tuple(file for file in names if file not in shards.files)
    _read_all([file for file in names if file in shards.files], shards)
    stored, duplicates = tensors_of(shards.headers)
    # transformers ties a matrix of a tied model that is missing in the files.
    kept = {
        name: file
        for name, file in claimed.items()
        if file in missing or name in shards.headers[file].tensors or not (tied or name in stored)
    }
    duplicates = {name: file for name, file in duplicates.items() if name not in kept}
    strays = {} if named_matrices(stored, config)[0] else _strays(config, set(names), shards)
    return CheckedIndex({**stored, **kept}, duplicates, missing, strays)


def _read_all(names: Collection[str], shards: Shards) -> None:
    """Read the header of every shard. Raises BrokenFile (`index-mismatch`) if there are too many."""
    refuse_many(names, shards.where)
    tensors = 0
    for file in names:
        tensors += len(shards.header(file).tensors)
        if tensors > _MOST_TENSORS:
            problem = f"its shards hold more than {_MOST_TENSORS:,} tensors, our cap"
            raise BrokenFile("index-mismatch", shards.where, problem)


def refuse_many(shards: Collection[str], where: str) -> None:
    """Raise BrokenFile (`index-mismatch`) if reading every shard's header would take too many requests."""
    if len(shards) > _MOST_SHARDS:
        problem = f"the index names {len(shards):,} files, expected at most {_MOST_SHARDS:,}, our cap"
        raise BrokenFile("index-mismatch", where, problem)


def _strays(config: Mapping[str, Any], names: set[str], shards: Shards) -> dict[str, str]:
    """The head in each file beside the shards that holds one and no embedding."""
    strays = {}
    for file in beside_shards(names, shards.folder, shards.files):
        header = shards.headers.get(file) or shards.read(file)  # not kept: it is no shard of this index
        head, embedding = named_matrices(header.tensors, config)
        if head is not None and embedding is None:
            strays[file] = head
    return strays


def _is_missing(head: str, embedding: str, claimed: Mapping[str, str], shards: Shards) -> bool:
    """Whether the head, or an embedding in the same shard, is missing in its shard."""
    file = claimed[head]
    if file not in shards.files:
        return True
    listed = [name for name in (head, embedding) if claimed[name] == file]
    return not all(name in shards.header(file).tensors for name in listed)
