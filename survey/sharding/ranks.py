"""Tensors in files that several devices wrote: which files hold which part."""

from __future__ import annotations

from collections.abc import Mapping

from survey.checkpoints.rank_files import rank_of
from survey.errors import BrokenFile, NotThere
from survey.formats.bounded_json import parse_json
from survey.formats.safetensors_header import Header

# torch notes the offsets of the parts in a safetensors file's metadata.
_NOTE, _OFFSETS = "DCP_SHARDING_INFO", "saved_offsets"
SHARED = -1  # the rank of files that all devices share


def holders(headers: Mapping[str, Header], where: str) -> dict[str, tuple[str, ...]]:
    """The files that hold a part of each tensor, in the order of the devices.

    Raises BrokenFile (`index-mismatch`) if two files of one device hold the same tensor.
    """
    files_of: dict[str, tuple[str, ...]] = {}
    for file in sorted(headers, key=lambda file: (_rank(file), file)):
        for name in headers[file].tensors:
            before = files_of.get(name, ())
            if before and _rank(before[-1]) == _rank(file):
                raise BrokenFile("index-mismatch", where, f"both {before[-1]} and {file} hold {name}")
            files_of[name] = (*before, file)
    return files_of


def is_rank_part(files: tuple[str, ...]) -> bool:
    """Whether a tensor in these files may be one of several parts."""
    return len(files) > 1 or _rank(files[0]) != SHARED


def check_ranks(name: str, files: tuple[str, ...], where: str) -> None:
    """Raise NotThere (`split-head`) if a device's file is missing among those that hold a tensor."""
    ranks = [_rank(file) for file in files]
    if ranks != list(range(ranks[0], ranks[0] + len(ranks))):
        known = ", ".join(map(str, ranks[:8]))
        problem = f"{name} lies in the files of devices {known}: a file of one between them is missing"
        raise NotThere("split-head", where, problem)


def offsets_of(header: Header, name: str, where: str) -> tuple[int, ...] | None:
    """The offsets of a tensor of a file in the whole, as torch noted them; None without such notes.

    Raises BrokenFile (`bad-header`).
    """
    noted = header.metadata.get(_NOTE) if isinstance(header.metadata, Mapping) else None
    if noted is None:
        return None
    notes = parse_json(str(noted).encode(errors="replace"), "bad-header", f"{where}: {_NOTE}")
    stated = notes.get(name) if isinstance(notes, Mapping) else None
    offsets = stated.get(_OFFSETS) if isinstance(stated, Mapping) else None
    if not isinstance(offsets, list) or not all(type(at) is int and 0 <= at < 1 << 63 for at in offsets):
        raise BrokenFile(
            "bad-header", where, f"{_NOTE} does not say at which row and column of the whole {name} begins"
        )
    return tuple(offsets)


def _rank(file: str) -> int:
    rank = rank_of(file)
    return SHARED if rank is None else rank
