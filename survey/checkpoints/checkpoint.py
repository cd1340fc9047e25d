"""The protocol of a checkpoint: a few small files, and tensors read by byte range.

Two modules implement it: `survey.hub.checkpoint` and `survey.checkpoints.folder`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from survey.errors import BrokenFile, NotThere, storable
from survey.formats.bounded_json import parse_json
from survey.formats.git_lfs import refuse_pointer
from survey.formats.json_stream import NAME_A_FILE
from survey.records.blocks import Block
from survey.records.target import FileVersion, Traffic
from survey.records.tensors import ByteRange, ChunkRun, FileRange

CONFIG_CAP_BYTES = 8 << 20
INDEX_CAP_BYTES = 96 << 20  # the largest known names 500,000 tensors in 58 MB

TEXT_CHARS = 1_000  # of a model type, a class or a base model; a longer one is ignored

OnBytes = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Card:
    """The model card's statements about a repository."""

    base_model: str | None = None
    library_name: str | None = None
    tags: tuple[str, ...] = ()
    last_modified: datetime | None = None


class Checkpoint(Protocol):
    """One commit of one model; `files` maps names to sizes in bytes."""

    @property
    def repo(self) -> str: ...
    @property
    def revision(self) -> str: ...
    @property
    def sha(self) -> str: ...
    @property
    def part(self) -> str | None: ...  # the folder or file that the user named; `repo` ends in it
    @property
    def folder(self) -> Path | None: ...
    @property
    def files(self) -> Mapping[str, int]: ...
    @property
    def card(self) -> Card: ...
    @property
    def traffic(self) -> Traffic: ...
    @property
    def versions(self) -> tuple[FileVersion, ...]: ...  # of the files that were read, as the Hub states them

    def refuse_late(self) -> None:
        """Raise Unreachable (`timeout`) if the model's time is over: hostile names can take minutes."""

    def content_id(self, file: str) -> str | None:
        """A text that only files of equal bytes have, in any checkpoint; None if nothing states one."""

    def chunks(self, source: FileRange) -> tuple[ChunkRun, ...]:
        """The chunks of the storage that hold a range; empty if none are stated. Raises SurveyError."""

    def read_file(self, file: str, cap_bytes: int) -> bytes:
        """The content of a small file. Raises BrokenFile if it is larger than the cap or cannot be read."""

    def read_range(self, file: str, byte_range: ByteRange) -> bytes:
        """Exactly these bytes of a file."""

    def stream(self, ranges: Sequence[FileRange], on_bytes: OnBytes) -> Iterator[Block]:
        """Yield the ranges in order. on_bytes(count): called as bytes arrive. Raises SurveyError."""


def read_text(checkpoint: Checkpoint, file: str, cap_bytes: int, reason: str) -> bytes:
    """The content of a small file.

    Raises NotThere (`reason`) if it does not exist, BrokenFile (`reason`) if it is larger than the cap.
    """
    where = f"{checkpoint.repo}/{file}"
    if file not in checkpoint.files:
        raise NotThere(reason, where, "no such file in the checkpoint")
    size = checkpoint.files[file]
    if size > cap_bytes:
        remedy = NAME_A_FILE if cap_bytes == INDEX_CAP_BYTES else ""
        raise BrokenFile(reason, where, f"has {size:,} bytes, expected at most {cap_bytes:,}", remedy)
    text = checkpoint.read_file(file, cap_bytes)
    refuse_pointer(text, reason, where)
    return text


def read_json(checkpoint: Checkpoint, file: str, cap_bytes: int, reason: str) -> dict[str, Any]:
    """A small JSON object of the checkpoint.

    Raises NotThere (`reason`) if the file does not exist, BrokenFile (`reason`) if it is not an object.
    """
    where = f"{checkpoint.repo}/{file}"
    text = read_text(checkpoint, file, cap_bytes, reason)
    # Configs may be hand-written; like transformers, let the last of repeated keys win.
    value = parse_json(text, reason, where, allow_duplicates=file.endswith("config.json"))
    if not isinstance(value, dict):
        raise BrokenFile(reason, where, f"holds a {type(value).__name__}, expected an object")
    return value


def short_text(value: Any) -> str | None:  # Any: a value of somebody's JSON
    """A text that the catalog can hold; None for any other value, and for a text that is too long."""
    return storable(value) if isinstance(value, str) and len(value) <= TEXT_CHARS else None
