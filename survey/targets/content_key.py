"""Keys of bytes that need not be read: equal keys are equal bytes, whatever the repository or the commit.

A key covers all that decides a matrix's figures: of each of its pieces, and of its scale, the content id of
the file that holds it, the range in that file, dtype, shape and position. Names of tensors and of files
decide nothing. A file without a content id gives no key: unknown is not equal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from survey.checkpoints.checkpoint import Checkpoint
from survey.records.tensors import ScaleSpec, TensorSpec

_KEY_BYTES = 16
# Fields of the records of survey/records/tensors.py that name a thing, and say nothing about its bytes.
NAMES = frozenset({"name", "file"})


class _Unknown(Exception):
    """A file has no content id."""


def content_key(checkpoint: Checkpoint, spec: TensorSpec, scale: ScaleSpec | None) -> str | None:
    """The key of a matrix; None if its files' contents are not known before they are read."""
    try:
        return _digest("matrix", [_described(checkpoint, spec), _described(checkpoint, scale)])
    except _Unknown:
        return None


def tokenizer_key(checkpoint: Checkpoint, files: Iterable[str]) -> str | None:
    """The key of a tokenizer by its files' names and contents, also of one without files; None as above."""
    contents = {file.rpartition("/")[2]: checkpoint.content_id(file) for file in files}
    return None if None in contents.values() else _digest("tokenizer", list(contents.items()))


def stated_contents(checkpoint: Checkpoint, files: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Name and content id of each of the files that has one."""
    return tuple((file, known) for file in files if (known := checkpoint.content_id(file)) is not None)


def _described(checkpoint: Checkpoint, value: Any) -> Any:  # Any: records of tensors, as JSON
    """All fields of a record but for names, and the content id of the file of each tensor that is not cut."""
    if is_dataclass(value):
        stated = {
            field.name: _described(checkpoint, getattr(value, field.name))
            for field in fields(value)
            if field.name not in NAMES
        }
        if isinstance(value, TensorSpec) and not value.pieces:
            stated["content"] = _content_id(checkpoint, value.file)
        return stated
    if isinstance(value, tuple | list):
        return [_described(checkpoint, item) for item in value]
    return value


def _content_id(checkpoint: Checkpoint, file: str) -> str:
    known = checkpoint.content_id(file)
    if known is None:
        raise _Unknown
    return known


def _digest(kind: str, value: Any) -> str:  # Any: JSON
    text = json.dumps([kind, value], sort_keys=True).encode()
    return hashlib.blake2b(text, digest_size=_KEY_BYTES).hexdigest()
