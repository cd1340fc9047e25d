"""Meta's own format: a file for each device, the embedding by columns and the head by rows."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from support.checkpoints import write
from support.cut_matrices import TABLE, WHOLE, D, Files, Floats, V, columns, read, rows, without

import survey
from survey.errors import NotThere


def saved(tensors: Mapping[str, Floats]) -> bytes:
    buffer = io.BytesIO()
    torch.save({name: torch.from_numpy(part.copy()) for name, part in tensors.items()}, buffer)
    return buffer.getvalue()


def of_meta(devices: int, vocab_size: int = -1) -> Files:
    """The embedding by columns, the head by rows: Llama 1 and 2, whose tokenizer alone knows V."""
    parts = zip(columns(devices, TABLE), rows(devices), strict=True)
    return {"params.json": json.dumps({"dim": D, "vocab_size": vocab_size}).encode()} | {
        f"consolidated.{rank:02}.pth": saved({"tok_embeddings.weight": table, "output.weight": head})
        for rank, (table, head) in enumerate(parts)
    }


@pytest.mark.parametrize(
    "files", [of_meta(1), of_meta(2), of_meta(4), of_meta(2, V)], ids=["1", "2", "4", "stated"]
)
def test_metas_own_format_is_put_together(files: Files, tmp_path: Path) -> None:
    matrix = survey.open_matrix(write(tmp_path, files))
    assert (matrix.shape, read(matrix)) == ((V, D), WHOLE.tobytes())
    assert read(survey.open_matrix(tmp_path, "input")) == TABLE.tobytes()
    before = matrix.target.identity.sha
    os.utime(tmp_path / "consolidated.00.pth", ns=(0, 1))
    assert survey.open_matrix(tmp_path).target.identity.sha != before


def test_of_metas_own_format_one_device_alone_is_no_matrix(tmp_path: Path) -> None:
    write(tmp_path, without(of_meta(2), "consolidated.01.pth"))
    for matrix in ("output", "input"):
        with pytest.raises(NotThere) as caught:
            survey.open_matrix(tmp_path, matrix)  # type: ignore[arg-type]
        assert caught.value.reason == "split-head"
