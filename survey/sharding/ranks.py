"""Tensors of files that several devices wrote, each its own part: which files hold which part."""

from __future__ import annotations

from collections.abc import Mapping

from survey.checkpoints.rank_files import rank_of
from survey.errors import BrokenFile, NotThere
from survey.formats.bounded_json import parse_json
from survey.formats.safetensors_header import Header

# torch writes where each part of a safetensors file belongs beside its tensors.
_NOTE, _OFFSETS = "DCP_SHARDING_INFO", "saved_offsets"
SHARED = -1  # the rank of files that are no single device's


def holders(headers: Mapping[str, Header], where: str) -> dict[str, tuple[str, ...]]:
    """The files that hold a part of each tensor, in the order of the devices; of what lies in one file only
    for all of them, that file.

    Raises BrokenFile (`index-mismatch`) where two files of one device hold the same tensor.
    """
    found: dict[str, tuple[str, ...]] = {}
    for file in sorted(headers, key=lambda file: (_rank(file), file)):
        for name in headers[file].tensors:
            before = found.get(name, ())
            if before and _rank(before[-1]) == _rank(file):
                raise BrokenFile("index-mismatch", where, f"both {before[-1]} and {file} hold {name}")
            found[name] = (*before, file)
    return found


def is_rank_part(files: tuple[str, ...]) -> bool:
    """Whether a tensor in these files may be one of several parts."""
    return len(files) > 1 or _rank(files[0]) != SHARED


def check_ranks(name: str, files: tuple[str, ...], where: str) -> None:
    """Raise NotThere (`split-head`) where the file of a device is missing among those that hold a tensor."""
    ranks = [_rank(file) for file in files]
    if ranks != list(range(ranks[0], ranks[0] + len(ranks))):
        known = ", ".join(map(str, ranks[:8]))
        problem = f"{name} lies in the files of devices {known}: a file of one between them is missing"
        raise NotThere("split-head", where, problem)


def offsets_of(header: Header, name: str, where: str) -> tuple[int, ...] | None:
    """Where a tensor of a file begins in the whole, as torch noted it; None where nothing is noted.

    Raises BrokenFile (`bad-header`).
    """
    noted = header.metadata.get(_NOTE) if isinstance(header.metadata, Mapping) else None
    if noted is None:
        return None
    told = parse_json(str(noted).encode(errors="replace"), "bad-header", f"{where}: {_NOTE}")
    stated = told.get(name) if isinstance(told, Mapping) else None
    offsets = stated.get(_OFFSETS) if isinstance(stated, Mapping) else None
    if not isinstance(offsets, list) or not all(type(at) is int and 0 <= at < 1 << 63 for at in offsets):
        raise BrokenFile("bad-header", where, f"{_NOTE} says nothing of where {name} begins in the whole")
    return tuple(offsets)


def _rank(file: str) -> int:
    found = rank_of(file)
    return SHARED if found is None else found
