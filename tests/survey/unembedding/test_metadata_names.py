"""A file's metadata names the tensor that was left out because it shares its bytes with another."""

from __future__ import annotations

from typing import Any

import pytest
from support.checkpoints import EMBED, HEAD
from support.layouts import LLAMA, LLAMA_TIED, LLAMA_UNTIED, OUTPUT, TABLE, chosen, refused, with_metadata


@pytest.mark.parametrize(
    "config",
    [LLAMA_TIED, LLAMA_UNTIED, LLAMA, {"model_type": "gpt2"}],
    ids=["tied", "untied", "silent", "gpt-2"],
)
@pytest.mark.parametrize(
    ("kept", "left_out"), [(HEAD, EMBED), (EMBED, HEAD)], ids=["head-kept", "embedding-kept"]
)
def test_save_model_notes_the_name_that_it_leaves_out(
    kept: str, left_out: str, config: dict[str, Any]
) -> None:
    files = with_metadata({kept: OUTPUT}, {"format": "pt", left_out: kept}, config)
    for matrix in ("output", "input"):
        target = chosen(files, matrix)
        assert (target.spec.name, target.identity.tensor, target.identity.tied) == (kept, kept, True)


@pytest.mark.parametrize(
    "metadata", [{"format": "pt"}, {HEAD: "model.norm.weight.absent"}, {EMBED: EMBED}], ids=str
)
def test_other_metadata_names_nothing(metadata: dict[str, str]) -> None:
    assert refused(with_metadata({EMBED: TABLE}, metadata, LLAMA_UNTIED)).reason == "no-head"
