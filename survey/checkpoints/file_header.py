"""The header of one of a checkpoint's files, in any format that is read."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from survey.checkpoints.checkpoint import Checkpoint
from survey.checkpoints.folder_files import snapshot
from survey.checkpoints.folder_links import strange_link
from survey.errors import BrokenFile
from survey.formats.bounded_json import refuse_long_name
from survey.formats.gguf_header import GgufHeader, read_gguf
from survey.formats.gguf_values import FIRST_WINDOW_BYTES
from survey.formats.safetensors_header import Header, read_header
from survey.formats.torch_file import read_pickled

BARE_HEADER_BYTES = 64 << 10  # of a file without a vocabulary: a tensor takes some 80 bytes


def file_header(checkpoint: Checkpoint, file: str) -> Header:
    """Read the header of a file of weights: a request or two. Raises BrokenFile, Unreachable."""
    checkpoint.refuse_late()
    read = read_header if file.endswith(".safetensors") else read_pickled
    where = f"{checkpoint.repo}/{file}"
    try:
        header = read(partial(checkpoint.read_range, file), file, checkpoint.files[file], where)
    except BrokenFile as error:
        _quote_nothing_linked(checkpoint, file, error)
        raise
    return _with_noted_names(header, where)


def gguf_header(checkpoint: Checkpoint, file: str, *, is_first: bool = True) -> GgufHeader:
    """Read the header of a file of llama.cpp, with its values: a few requests.

    is_first: whether it holds a vocabulary, as of a set the first file alone does. Raises BrokenFile,
    Unreachable.
    """
    checkpoint.refuse_late()
    where = f"{checkpoint.repo}/{file}"
    first_bytes = FIRST_WINDOW_BYTES if is_first else BARE_HEADER_BYTES
    try:
        return read_gguf(
            partial(checkpoint.read_range, file), file, checkpoint.files[file], where, first_bytes
        )
    except BrokenFile as error:
        _quote_nothing_linked(checkpoint, file, error)
        raise


def _quote_nothing_linked(checkpoint: Checkpoint, file: str, error: BrokenFile) -> None:
    """Raise an error without the file's bytes if the file is a link: a stranger's may lead to a secret.

    The first bytes of a file are in the messages, as text or as the length of a header.
    """
    if checkpoint.folder is None:
        return
    target = strange_link(snapshot(checkpoint.folder), file)
    if target is not None:
        problem = f"is a link to {target}, which is no file of weights"
        raise BrokenFile(error.reason, error.where, problem, "copy the weights into the folder") from None


def _with_noted_names(header: Header, where: str) -> Header:
    """The header, with the further names that its metadata gives to its tensors.

    safetensors' `save_model` writes tensors that share their memory once, and notes their other names.
    Raises BrokenFile (`bad-header`) if such a name is too long.
    """
    noted = {
        name: header.tensors[kept]
        for name, kept in header.metadata.items()
        if name not in header.tensors and kept in header.tensors
    }
    for name in noted:
        refuse_long_name(name, "bad-header", where)
    return replace(header, tensors={**header.tensors, **noted}) if noted else header
