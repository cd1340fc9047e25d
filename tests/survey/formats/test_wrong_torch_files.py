"""Files that are not what torch.save writes: refused, each with its fault."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from support.checkpoints import EMBED, HEAD, write
from support.pickles import archive, tensor_pickle
from support.torch_files import (
    FORMATS,
    header,
    raw,
    refusal,
    saved,
    shards,
)

import survey
from jobs.demo.hub.local_hub import LocalHub
from survey.checkpoints.folder import FolderCheckpoint
from survey.errors import NotThere


def good_archive(**changes: bytes | None) -> dict[str, bytes]:
    pickled = b"\x80\x02}X\x01\0\0\0a" + tensor_pickle(shape=(4, 3), strides=(3, 1), elements=12) + b"s."
    members = {"data.pkl": pickled, "byteorder": b"little", "data/0": bytes(48)} | changes
    return {name: content for name, content in members.items() if content is not None}


def with_tensor(**parts: Any) -> dict[str, bytes]:
    given = {"shape": (4, 3), "strides": (3, 1), "elements": 12} | parts
    return good_archive(**{"data.pkl": b"\x80\x02}X\x01\0\0\0a" + tensor_pickle(**given) + b"s."})


def test_the_helper_writes_what_torch_reads() -> None:
    tensors = torch.load(io.BytesIO(archive(good_archive(version=b"3"))), weights_only=True)
    assert tensors["a"].shape == (4, 3)
    assert list(header(archive(good_archive()))[0].tensors) == ["a"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"", "begins with b''", id="empty"),
        pytest.param(b"<!DOCTYPE html>", "begins with b'<!DOCTYP'", id="a-web-page"),
        pytest.param(b"version https://git-lfs", "expected a file of torch.save", id="a-pointer-to-git-lfs"),
        pytest.param(b"\x80\x02}.", "expected a file of torch.save", id="a-bare-pickle"),
        pytest.param(b"PK\x03\x04" + bytes(50), "is no whole zip: File is not a zip file", id="no-directory"),
        pytest.param(archive(good_archive())[:-1], "is no whole zip", id="cut-by-a-byte"),
        pytest.param(archive(good_archive())[:-200], "is no whole zip", id="cut-in-the-directory"),
        pytest.param(archive({"a": b""}), "holds 0 members called data.pkl, expected one", id="no-pickle"),
        pytest.param(
            archive({"data.pkl": b"}."}, more={"other/data.pkl": b"}."}),
            "holds 2 members called data.pkl, expected one",
            id="two-pickles",
        ),
        pytest.param(
            archive({"data.pkl": b"}.", "constants.pkl": b"}."}), "is a TorchScript program", id="a-program"
        ),
        pytest.param(
            archive(good_archive(byteorder=b"big")), "has the byte order b'big', expected little", id="big-endian"
        ),
        pytest.param(
            archive(good_archive(), compression=zipfile.ZIP_DEFLATED), "is compressed", id="compressed"
        ),
        pytest.param(
            archive({"data.pkl": b"}."}).replace(b"PK\x03\x04", b"PK\x03\x04", 1)[:4]
            + archive({"data.pkl": b"}."})[4:].replace(b"PK\x05\x06", b"PK\x05\x07"),
            "is no whole zip",
            id="a-broken-end",
        ),
        pytest.param(archive({"data.pkl": bytes(9 << 20)}), "9,437,184 bytes, expected at most", id="a-pickle-of-9-mb"),
        pytest.param(archive({"data.pkl": b""}), "is no whole pickle", id="an-empty-pickle"),
        pytest.param(archive({"data.pkl": b"]."}), "holds a list, expected tensors by name", id="a-list"),
        pytest.param(archive({"data.pkl": b"K\x01."}), "holds a int, expected", id="a-number"),
        pytest.param(
            archive({"data.pkl": b"}X\x05\0\0\0modelX\x01\0\0\0xs."}),
            "holds no tensors but model, …; expected a state dict",
            id="no-tensors",
        ),
    ],
)  # fmt: skip
def test_a_file_that_is_no_state_dict_is_refused(content: bytes, problem: str) -> None:
    assert problem in refusal(content)


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        pytest.param(good_archive(**{"data/0": None}), "holds no data/0", id="no-storage"),
        pytest.param(
            good_archive(**{"data/0": bytes(47)}), "lies in a storage of 47 bytes, the pickle says 48", id="cut"
        ),
        pytest.param(
            good_archive(**{"data/0": bytes(49)}), "lies in a storage of 49 bytes, the pickle says 48", id="long"
        ),
        pytest.param(with_tensor(offset=1), "ends 4 bytes after its storage", id="offset"),
        pytest.param(with_tensor(shape=(5, 3)), "has shape [5, 3] in a storage of 48", id="shape"),
        pytest.param(with_tensor(shape=(2**62, 2**62)), "in a storage of 48 bytes", id="shape-past-64-bits"),
        pytest.param(with_tensor(strides=(1, 4)), "has strides [1, 4], expected [3, 1]", id="transposed"),
        pytest.param(with_tensor(strides=(0, 1)), "has strides [0, 1], expected [3, 1]", id="one-row-expanded"),
        pytest.param(with_tensor(shape=(2, 3), strides=(6, 1)), "has strides [6, 1]", id="every-second-row"),
        pytest.param(with_tensor(key="../../etc/passwd"), "holds no data/../../etc/passwd", id="a-path"),
    ],
)  # fmt: skip
def test_a_tensor_that_is_no_contiguous_part_of_its_storage_is_refused(
    members: dict[str, bytes], problem: str
) -> None:
    assert problem in refusal(archive(members), "a")


def test_a_member_that_lies_about_its_place_is_refused() -> None:
    content = bytearray(archive(good_archive()))
    at = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 4) + 4)
    for offset, problem in (
        (1, "has no stored member at byte 1"),
        (2**31, "is said to lie at byte 2,147,483,648"),
    ):
        content[at + 42 : at + 46] = offset.to_bytes(4, "little")
        assert problem in refusal(bytes(content), "a")


@FORMATS
def test_a_file_cut_anywhere_is_refused_or_gives_the_right_bytes(zipped: bool) -> None:
    tensor = torch.randn(40, 4)
    whole = saved({"a": tensor}, zipped)
    for left in range(0, len(whole), 7):
        refusal(whole[:left], "a")


def test_a_zip_with_64_bit_fields_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)  # as if everything were past 2 GB
    content = archive(good_archive())
    assert b"PK\x06\x06" in content
    monkeypatch.undo()
    spec = header(content)[0].tensors["a"]
    assert content[spec.bytes.start : spec.bytes.stop] == bytes(48)


def test_a_directory_that_leads_to_another_member_is_refused() -> None:
    content = saved({HEAD: torch.zeros(4, 3), EMBED: torch.ones(4, 3)})
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        first, second = (opened.getinfo(f"archive/data/{key}").header_offset for key in (0, 1))
    directory = content.index(b"PK\x01\x02")
    swapped = content[:directory] + content[directory:].replace(
        second.to_bytes(4, "little"), first.to_bytes(4, "little")
    )
    assert "has a member of another name" in refusal(swapped, EMBED)


def test_a_training_checkpoint_is_refused_by_what_it_holds() -> None:
    state = {"epoch": 3, "state_dict": {HEAD: torch.zeros(4, 3)}}
    assert "one level down in state_dict: a training checkpoint" in refusal(saved(state))


def test_pickled_shards_are_read_from_the_hub(hub: LocalHub) -> None:
    head = torch.arange(12.0).view(4, 3)
    hub.add_repo("org/sharded", shards({EMBED: torch.ones(4, 3)}, {HEAD: head}))
    opened = survey.open_matrix("org/sharded", endpoint=hub.endpoint)
    assert b"".join(bytes(block) for block in opened.blocks()) == raw(head)


def test_a_pickled_adapter_is_an_adapter(tmp_path: Path) -> None:
    stem = "base_model.model"
    config = {"adapter_config.json": b'{"base_model_name_or_path": "org/base"}'}
    lora = {f"{stem}.model.layers.0.mlp.up_proj.lora_A.weight": torch.zeros(2, 3)}
    folder = write(tmp_path, config | {"adapter_model.bin": saved(lora)})
    with pytest.raises(NotThere, match="an adapter for org/base"):
        survey.open_matrix(folder)
    head = {f"{stem}.lm_head.weight": torch.ones(4, 3)}
    before = FolderCheckpoint(folder).sha
    opened = survey.open_matrix(write(tmp_path, {"adapter_model.bin": saved(lora | head)}))
    assert (opened.shape, opened.target.identity.base_model) == ((4, 3), "org/base")
    assert FolderCheckpoint(folder).sha != before


def test_bytes_before_a_zip_are_refused_for_torch_sees_others_there() -> None:
    first, second = (saved({HEAD: torch.full((4, 3), number)}) for number in (1.0, 2.0))
    assert "does not begin with its first member" in refusal(first + second)
    assert "does not begin with its first member" in refusal(b"PK\x03\x04" + bytes(1000) + first)


@FORMATS
def test_a_tensor_whose_values_torch_would_change_is_refused(zipped: bool) -> None:
    """torch.save stores the bytes below a view that negates or conjugates, and a mark beside them."""
    plain = torch.arange(12.0).view(4, 3)
    marked = torch._neg_view(plain)
    assert "its values are others" in refusal(saved({"a": marked}, zipped))
    kept = {"a": marked.resolve_neg(), "b": torch.nn.Parameter(plain), "c": torch.complex(plain, plain)}
    assert set(header(saved(kept, zipped))[0].tensors) == {"a", "b", "c"}
