"""Files of weights that lie side by side without an index: whether they are one model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from survey.errors import NotThere
from survey.formats.safetensors_header import Header
from survey.unembedding.tensor_names import TensorNames


def refuse_several(headers: Mapping[str, Header], config: Mapping[str, Any], where: str) -> None:
    """Raise NotThere (`no-safetensors`) unless at most one file holds a head, and one an embedding.

    What else lies beside them, such as a decoder of images, is no rival.
    """
    seen: dict[str, str] = {}
    for file, header in headers.items():
        names = TensorNames(header.tensors.keys(), config)
        for kind, held in (
            ("an unembedding", names.matrices(names.heads)),
            ("an embedding", names.matrices(names.embeddings)),
        ):
            if held and kind in seen:
                files = ", ".join(sorted(headers))
                problem = f"both {seen[kind]} and {file} hold {kind}"
                remedy = f"write the model's name, a colon and one of {files}"
                raise NotThere("no-safetensors", where, problem, remedy)
            if held:
                seen[kind] = file
        if twice := next((name for name in header.tensors if seen.get(name)), None):
            problem = f"both {seen[twice]} and {file} hold {twice}"
            raise NotThere("no-safetensors", where, problem, "write the model's name, a colon and a file")
        seen |= dict.fromkeys(header.tensors, file)
