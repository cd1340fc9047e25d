"""An index is a claim about its shards: before a matrix is called absent, their own headers are asked.

Where the index names both matrices, as ordinary ones of models that are not tied do, nothing more is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from survey.errors import BrokenFile
from survey.header import Header
from survey.statements import meant_tie
from survey.unembedding import named
from survey.weights import same_set

ReadHeader = Callable[[str], Header]


def with_noted_names(header: Header) -> Header:
    """The header with the names that its metadata gives to one of its tensors.

    safetensors' `save_model` writes tensors that share their memory once, and notes the other names.
    """
    noted = {
        name: header.tensors[kept]
        for name, kept in header.metadata.items()
        if name not in header.tensors and kept in header.tensors
    }
    return replace(header, tensors={**header.tensors, **noted}) if noted else header


def tensors_of(headers: Mapping[str, Header]) -> tuple[dict[str, str], dict[str, str]]:
    """The file of each tensor, as the headers say, and a second file where one holds it, too."""
    file_of: dict[str, str] = {}
    twice: dict[str, str] = {}
    for file, header in headers.items():
        for name in header.tensors:
            if file_of.setdefault(name, file) == file:
                continue
            if _is_noted(name, header):  # stands behind a name that is written
                continue
            if not _is_noted(name, headers[file_of[name]]):
                twice[name] = file
            else:
                file_of[name] = file
    return file_of, twice


def _is_noted(name: str, header: Header) -> bool:
    return header.metadata.get(name) in header.tensors


def checked(
    claimed: Mapping[str, str],
    config: Mapping[str, Any],
    files: Mapping[str, int],
    headers: dict[str, Header],
    read: ReadHeader,
    where: str,
) -> Mapping[str, str]:
    """The file of each tensor: as the index claims, or as the shards say where that decides a matrix.

    claimed: the index. headers: those read so far, to which this adds.
    Raises BrokenFile (`index-mismatch`) where a shard that must be asked is not there.
    """
    head, embedding = named(claimed, config)
    tied = meant_tie(config) is True
    if head and embedding and not (tied and _is_missing((head, embedding), claimed, files, headers, read)):
        return claimed
    for file in sorted({*claimed.values(), *same_set(claimed.values(), files)}):
        if file not in files:
            problem = "the index names this file, and without it nobody knows whether there is a head"
            raise BrokenFile("index-mismatch", f"{where}/{file}", problem)
        if file not in headers:
            headers[file] = read(file)
    held, twice = tensors_of(headers)
    # What transformers does not find in a model that is tied, it ties.
    kept = {
        name: file
        for name, file in claimed.items()
        if name in headers[file].tensors or not (tied or name in held)
    }
    if wrong := sorted(name for name in twice if name not in kept and name in named(held, config)):
        problem = f"holds {wrong[0]}, as {twice[wrong[0]]} does, and the index names neither"
        raise BrokenFile("index-mismatch", f"{where}/{held[wrong[0]]}", problem)
    return {**held, **kept}


def _is_missing(
    names: tuple[str, str],
    claimed: Mapping[str, str],
    files: Mapping[str, int],
    headers: dict[str, Header],
    read: ReadHeader,
) -> bool:
    """Whether one of two matrices is not in its shard; the second is looked for where that costs nothing."""
    head, embedding = names
    file = claimed[head]
    if file not in files:
        return True
    if file not in headers:
        headers[file] = read(file)
    listed = [name for name in (head, embedding) if claimed[name] == file]
    return not all(name in headers[file].tensors for name in listed)
