"""Names of numbered shards, such as `model-00001-of-00003.safetensors`, and the sets that they form."""

from __future__ import annotations

import re
from collections.abc import Collection

SHARD = re.compile(r"(.+)-([0-9]{1,6})-of-([0-9]{1,6})\.safetensors")
MOST_SHARDS = 200  # without an index, each costs a request


def same_set(shards: Collection[str], files: Collection[str]) -> list[str]:
    """The files of the sets to which these shards belong."""
    sets = {cut.group(1, 3) for shard in shards if (cut := SHARD.fullmatch(shard))}
    return [file for file in files if (cut := SHARD.fullmatch(file)) and cut.group(1, 3) in sets]


def complete_set(names: Collection[str]) -> list[str]:
    """The only complete set of shards among the names, in order; empty if there is none, or more than one."""
    sets: dict[tuple[str, int], dict[int, str]] = {}
    for name in names:
        if cut := SHARD.fullmatch(name):
            sets.setdefault((cut[1], int(cut[3])), {})[int(cut[2])] = name
    complete = [
        [by_number[number] for number in sorted(by_number)]
        for (_, count), by_number in sets.items()
        if set(by_number) in (set(range(1, count + 1)), set(range(count))) and 1 <= count <= MOST_SHARDS
    ]
    return complete[0] if len(complete) == 1 else []
