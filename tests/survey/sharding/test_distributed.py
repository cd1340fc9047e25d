"""torch's distributed checkpoints: parts that their metadata name, put together or refused."""

from __future__ import annotations

import copy
import pickle
import time
import warnings
from pathlib import Path

import pytest
import torch
from support.checkpoints import write
from support.cut_matrices import TABLE, WHOLE, D, V, described, read, rows
from torch.distributed import checkpoint as distributed

import survey
from survey.errors import BrokenFile, NotThere


def of_torch(folder: Path, *, drop: int | None = None) -> Path:
    """What torch writes, with its metadata as if two devices had held a half of the head each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it runs in one process alone
        halves = {f"half{n}": torch.from_numpy(part.copy()) for n, part in enumerate(rows(2))}
        tensors = {"model.embed_tokens.weight": torch.from_numpy(TABLE.copy()), **halves}
        distributed.save({"model": tensors, "step": 3}, checkpoint_id=folder, no_dist=True)
    metadata = pickle.loads((folder / ".metadata").read_bytes())  # noqa: S301 - torch wrote it just now
    state, stored = metadata.state_dict_metadata, metadata.storage_data
    whole = state["model.lm_head.weight"] = copy.deepcopy(state["model.half0"])
    whole.size, whole.chunks = torch.Size([V, D]), []
    for number in range(2):
        (chunk,) = state.pop(f"model.half{number}").chunks
        key_of_half = next(key for key in stored if key.fqn == f"model.half{number}")
        info = stored.pop(key_of_half)
        if number == drop:
            continue
        chunk.offsets = torch.Size([600 * number, 0])
        whole.chunks.append(chunk)
        stored[type(key_of_half)("model.lm_head.weight", chunk.offsets, number)] = info
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    return write(folder, described())


def test_torchs_distributed_checkpoints_are_put_together(tmp_path: Path) -> None:
    matrix = survey.open_matrix(of_torch(tmp_path))
    assert (matrix.target.identity.tensor, matrix.target.identity.file) == (
        "model.lm_head.weight",
        "__0_0.distcp",
    )
    assert (matrix.shape, read(matrix)) == ((V, D), WHOLE.tobytes())
    assert read(survey.open_matrix(tmp_path, "input")) == TABLE.tobytes()


@pytest.mark.parametrize(("drop", "missing"), [(0, "rows 0 to 599"), (1, "rows 600 to 1,199")])
def test_a_distributed_checkpoint_without_a_part_is_refused(drop: int, missing: str, tmp_path: Path) -> None:
    with pytest.raises(NotThere, match=f"{missing} of 1,200 are missing") as caught:
        survey.open_matrix(of_torch(tmp_path, drop=drop))
    assert caught.value.reason == "split-head"


def test_a_distributed_checkpoint_without_a_file_is_refused(tmp_path: Path) -> None:
    of_torch(tmp_path).joinpath("__0_0.distcp").rename(tmp_path / "__1_0.distcp")
    with pytest.raises(
        BrokenFile, match=r"ends at byte [0-9,]+ of __0_0.distcp, which does not exist"
    ) as caught:
        survey.open_matrix(tmp_path)
    assert caught.value.reason == "index-mismatch"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"cos\nsystem\n(S'true'\ntR.", id="a-call"),
        pytest.param(b"\x80\x04]\x94.", id="a-list"),
        pytest.param(b"\x80\x04\x8c\x05torch\x8c\x04load\x93)\x81.", id="a-foreign-record"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_metadata_that_is_none_is_refused_and_not_run(content: bytes, tmp_path: Path) -> None:
    of_torch(tmp_path).joinpath(".metadata").write_bytes(content)
    with pytest.raises(BrokenFile) as caught:
        survey.open_matrix(tmp_path)
    assert caught.value.reason == "bad-pickle"


def test_a_list_of_parts_that_thousands_of_tensors_share_is_refused_in_time(tmp_path: Path) -> None:
    """100 kB of them, looked at one by one, took half a minute, and 1 MB hours and all memory."""
    of_torch(tmp_path)
    metadata = pickle.loads((tmp_path / ".metadata").read_bytes())  # noqa: S301 - torch wrote it just now
    state = metadata.state_dict_metadata
    table = state["model.model.embed_tokens.weight"]
    table.chunks = 3000 * [table.chunks[0]]
    state.update({f"tensor{number}": table for number in range(3000)})
    (tmp_path / ".metadata").write_bytes(pickle.dumps(metadata))
    started = time.process_time()
    with pytest.raises(
        BrokenFile, match=r"lists more parts of tensors than the [0-9]+ that it says"
    ) as caught:
        survey.open_matrix(tmp_path)
    assert (caught.value.reason, time.process_time() - started < 3) == ("bad-pickle", True)
