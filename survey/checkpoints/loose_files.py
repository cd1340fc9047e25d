"""Whether files of weights without an index are a single model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from survey.errors import NotThere
from survey.formats.safetensors_header import Header
from survey.unembedding.tensor_names import TensorNames


def refuse_several(headers: Mapping[str, Header], config: Mapping[str, Any], where: str) -> None:
    """Raise NotThere (`no-safetensors`) if two files hold a head, an embedding, or the same tensor.

    Other tensors, such as those of an image decoder, may lie beside them.
    """
    file_of: dict[str, str] = {}
    for file, header in headers.items():
        names = TensorNames(header.tensors.keys(), config)
        for kind, matrices in (
            ("an unembedding", names.matrices(names.heads)),
            ("an embedding", names.matrices(names.embeddings)),
        ):
            if matrices and kind in file_of:
                files = ", ".join(sorted(headers))
                problem = f"both {file_of[kind]} and {file} hold {kind}"
                remedy = f"write the model's name, a colon and one of {files}"
                raise NotThere("no-safetensors", where, problem, remedy)
            if matrices:
                file_of[kind] = file
        if duplicate := next((name for name in header.tensors if file_of.get(name)), None):
            problem = f"both {file_of[duplicate]} and {file} hold {duplicate}"
            raise NotThere("no-safetensors", where, problem, "write the model's name, a colon and a file")
        file_of |= dict.fromkeys(header.tensors, file)
