"""The header of one of a checkpoint's files, in any format that is read."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from survey.checkpoints.checkpoint import Checkpoint
from survey.formats.safetensors_header import Header, read_header
from survey.formats.torch_file import read_pickled


def file_header(checkpoint: Checkpoint, file: str) -> Header:
    """Read the header of a file of weights: a request or two. Raises BrokenFile."""
    read = read_header if file.endswith(".safetensors") else read_pickled
    where = f"{checkpoint.repo}/{file}"
    return _with_noted_names(read(partial(checkpoint.read_range, file), file, checkpoint.files[file], where))


def _with_noted_names(header: Header) -> Header:
    """The header, with the further names that its metadata gives to its tensors.

    safetensors' `save_model` writes tensors that share their memory once, and notes their other names.
    """
    noted = {
        name: header.tensors[kept]
        for name, kept in header.metadata.items()
        if name not in header.tensors and kept in header.tensors
    }
    return replace(header, tensors={**header.tensors, **noted}) if noted else header
