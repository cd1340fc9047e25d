"""The index of a sharded checkpoint: the file of each tensor."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from survey.checkpoints.checkpoint import INDEX_CAP_BYTES, Checkpoint, read_text
from survey.errors import BrokenFile
from survey.formats.bounded_json import fits, parse_json, refuse_long_name
from survey.formats.json_stream import members
from survey.formats.name_kinds import Kinds

_PATH = re.compile(rb'"([^"\\]{1,500}\.(?:safetensors|bin))"')

_MOST_FOLDERS = 1_000


@dataclass(frozen=True, slots=True)
class WeightMap:
    """The file of each tensor. left_out: number of further tensors, of kinds that have thousands."""

    file_of: Mapping[str, str]
    left_out: int = 0


def read_weight_map(checkpoint: Checkpoint, file: str, folder: str) -> WeightMap:
    """Read an index. Raises BrokenFile (`index-mismatch`) if it is no valid index."""
    where, kind = f"{checkpoint.repo}/{file}", ".bin" if ".bin." in file else ".safetensors"
    text = read_text(checkpoint, file, INDEX_CAP_BYTES, "index-mismatch")
    kinds = None if fits(text) else Kinds("index-mismatch", where)
    entries = _entries(text, where, whole=kinds is None)
    shards: dict[str, str] = {}  # each name of a shard once, however many tensors it holds
    file_of = {
        name: shards.setdefault(shard, folder + shard)
        for name, shard in _checked(entries, kind, where)
        if kinds is None or kinds.keep(name)
    }
    if not file_of:
        raise BrokenFile("index-mismatch", where, "has no weight_map")
    return WeightMap(file_of, kinds.left_out if kinds else 0)


def _entries(text: bytes, where: str, *, whole: bool) -> Iterable[tuple[str, Any]]:
    """Names and shards. whole: whether the text may be parsed at once. Raises BrokenFile."""
    if not whole:
        return members(text, 0, "weight_map", "index-mismatch", where)
    index = parse_json(text, "index-mismatch", where)
    if not isinstance(index, dict):
        raise BrokenFile("index-mismatch", where, f"holds a {type(index).__name__}, expected an object")
    weight_map = index.get("weight_map")
    return weight_map.items() if isinstance(weight_map, dict) else ()


def is_below(shard: str) -> bool:
    """Whether a path, of a shard or of a named part, leads to something in its folder, or below it."""
    return "\\" not in shard and not {"", ".", ".."}.intersection(shard.split("/"))


def folders_of_shards(text: bytes) -> set[str]:
    """The folders, by their paths from the index, in which an index says that shards lie; unchecked text.

    Of more than _MOST_FOLDERS the first: each is looked up, and so many shards are refused later.
    """
    folders: set[str] = set()
    for match in _PATH.finditer(text):
        path = match[1].rpartition(b"/")[0].decode(errors="replace")
        if is_below(path):
            folders.add(path)
        if len(folders) == _MOST_FOLDERS:
            break
    return folders


def _checked(entries: Iterable[tuple[str, Any]], kind: str, where: str) -> Iterator[tuple[str, str]]:
    for name, shard in entries:
        refuse_long_name(name, "index-mismatch", where)
        if not isinstance(shard, str) or not is_below(shard) or not shard.endswith(kind):
            problem = f"{name} is said to lie in {str(shard)[:200]!r}, "
            problem += f"expected a *{kind} file beside the index, or in a folder beside it"
            raise BrokenFile("index-mismatch", where, problem)
        yield name, shard
