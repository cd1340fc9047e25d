"""Files of torch.save, their structure as it is read, and the refusal of wrong ones."""

import io
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from survey.errors import BrokenFile
from survey.formats.safetensors_header import Header
from survey.formats.torch_file import read_pickled
from survey.records.tensors import ByteRange

BIN, BIN_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
LLAMA_CONFIG = b'{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}'
TIED_LLAMA_CONFIG = b'{"model_type": "llama", "tie_word_embeddings": true}'
WHERE = "org/model/pytorch_model.bin"
FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before-1.6"])


def saved(state: Any, zipped: bool = True) -> bytes:
    """What torch.save writes."""
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def header(content: bytes) -> tuple[Header, list[ByteRange]]:
    """The structure of a file with this content, and the ranges that were read for it."""
    reads: list[ByteRange] = []

    def read(span: ByteRange) -> bytes:
        assert 0 <= span.start < span.stop <= len(content), "a read outside the file"
        reads.append(span)
        return content[span.start : span.stop]

    return read_pickled(read, BIN, len(content), WHERE), reads


def raw(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())


def refusal(content: bytes, tensor: str | None = None) -> str:
    """Why a file, or one tensor of it, is refused."""

    def look() -> None:
        tensors = header(content)[0].tensors
        if tensor is not None:
            tensors[tensor]

    with pytest.raises(BrokenFile) as caught:
        look()
    assert (caught.value.reason, caught.value.where) == ("bad-pickle", WHERE)
    return caught.value.problem


def shards(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> dict[str, bytes]:
    import json

    names = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
    weight_map = dict.fromkeys(first, names[0]) | dict.fromkeys(second, names[1])
    return {
        "config.json": LLAMA_CONFIG,
        BIN_INDEX: json.dumps({"metadata": {}, "weight_map": weight_map}).encode(),
        names[0]: saved(first),
        names[1]: saved(second),
    }
