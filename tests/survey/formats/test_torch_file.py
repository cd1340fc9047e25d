"""Pickled checkpoints: the tensors that torch.save wrote are found, by range, and nothing is run."""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.checkpoints import EMBED, HEAD, INDEX, SINGLE, safetensors, single, stored, write
from support.commands import Ran
from support.pickles import archive, tensor_pickle
from support.torch_files import (
    BIN,
    BIN_INDEX,
    FORMATS,
    LLAMA_CONFIG,
    TIED_LLAMA_CONFIG,
    header,
    raw,
    saved,
    shards,
)

import survey
from jobs.demo.hub.local_hub import LocalHub
from survey.checkpoints.folder import FolderCheckpoint
from survey.formats.torch_tensor import DTYPES, STORAGES
from survey.numerics.dtypes import BITS
from survey.opening import open_target
from survey.records.settings import Settings
from survey.records.target import Target
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate

# ---- what torch.save writes is found


def states() -> dict[str, Mapping[str, torch.Tensor]]:
    base = torch.randn(60, 8, generator=torch.Generator().manual_seed(5))
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    tagged = base.clone()
    tagged.tag = "x"  # type: ignore[attr-defined]
    return {
        "one": {"a": base},
        "with-attributes-of-the-dict": module.state_dict(),
        "shared": {"a": base, "b": base, "c": base[:10]},
        "parts": {"a": base[10:20], "b": base[59:], "c": base.view(120, 4), "d": base[:0]},
        "parameters": {"a": torch.nn.Parameter(base)},
        "a-tensor-with-attributes": {"a": tagged},
        "a-number-and-nothing": {"a": torch.tensor(3.0), "b": torch.empty(0, 4)},
        "lengths-of-one": {"a": base[:1].expand(1, 8), "b": base[:, :1][:1]},
        "ordered": OrderedDict(a=base, b=base.half()),
        "beside-other-values": {"a": base, "epoch": 3, "best": 0.5, "name": "x", "none": None, "list": [1, True]},  # type: ignore[dict-item]
    }  # fmt: skip


@FORMATS
@pytest.mark.parametrize("name", states())
def test_each_tensor_lies_where_torch_put_it(name: str, zipped: bool) -> None:
    state = states()[name]
    content = saved(state, zipped)
    read_header, _ = header(content)
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    assert list(read_header.tensors) == list(tensors)
    assert len(read_header.tensors) == len(tensors)
    for key, tensor in tensors.items():
        spec = read_header.tensors[key]
        assert (spec.name, spec.file, spec.shape) == (key, BIN, tuple(tensor.shape))
        assert content[spec.bytes.start : spec.bytes.stop] == raw(tensor)


BEFORE_1_6 = [code for code in STORAGES.values() if code is not None]


@pytest.mark.parametrize(
    ("torch_name", "code", "zipped"),
    [(name, code, True) for name, code in DTYPES.items()]
    + [(name, code, False) for name, code in DTYPES.items() if code in BEFORE_1_6],
)
def test_every_dtype_is_known_by_its_code(torch_name: str, code: str, zipped: bool) -> None:
    source = torch.from_numpy(np.random.default_rng(1).integers(0, 2, 8 * BITS[code] // 8, dtype=np.uint8))
    tensor = source.view(getattr(torch, torch_name.removeprefix("torch "))).view(4, 2)
    content = saved({"a": tensor}, zipped)
    spec = header(content)[0].tensors["a"]
    assert (spec.dtype, content[spec.bytes.start : spec.bytes.stop]) == (code, raw(tensor))


def test_every_class_of_storages_is_torchs() -> None:
    for name in STORAGES:
        module, _, kind = name.rpartition(" ")
        assert hasattr(torch.storage if module == "torch.storage" else torch, kind)


def test_a_file_of_python_2_is_read() -> None:
    # Its OrderedDict is made of a list of pairs, its texts are bytes of the old kind.
    tensor = torch.arange(12.0).view(4, 3)
    pickled = (
        b"\x80\x02ccollections\nOrderedDict\n]]("
        b"U\x01a" + tensor_pickle(shape=(4, 3), strides=(3, 1), elements=12) + b"ea\x85R."
    )  # fmt: skip
    content = archive({"data.pkl": pickled, "data/0": raw(tensor)})
    spec = header(content)[0].tensors["a"]
    assert content[spec.bytes.start : spec.bytes.stop] == raw(tensor)


# ---- what is read, and what is not


@pytest.mark.parametrize("tensors", [3, 2000])
@FORMATS
def test_only_the_structure_is_read(tensors: int, zipped: bool) -> None:
    state = {f"model.layers.{number}.mlp.down_proj.weight": torch.zeros(64, 64) for number in range(tensors)}
    content = saved(state, zipped)
    read_header, reads = header(content)
    assert len(read_header.tensors) == tensors
    structure = 1 << (17 if tensors == 3 else 20)
    assert sum(map(len, reads)) <= structure
    before = len(reads)
    last = read_header.tensors[list(read_header.tensors)[-1]]
    assert read_header.tensors[last.name] == last
    assert sum(map(len, reads[before:])) <= 30 + len(
        "archive/data/1999"
    )  # the local header and its name, or the count before a storage
    assert len(reads) <= before + 1


def test_the_hub_sends_the_directory_the_pickle_and_the_head(hub: LocalHub) -> None:
    state = {HEAD: torch.randn(4000, 64), "model.layers.0.weight": torch.randn(1000, 1000)}
    state[EMBED] = torch.randn(4000, 64)
    content = saved(state)
    hub.add_repo("org/pickled", {"config.json": LLAMA_CONFIG, BIN: content})
    with survey.open_matrix("org/pickled", endpoint=hub.endpoint) as matrix:
        stored = b"".join(bytes(block) for block in matrix.blocks())
    assert stored == raw(state[HEAD])
    ranges = [entry for entry in hub.log if entry.range]
    sent = sum(entry.sent_bytes for entry in ranges)
    structure = (64 << 10) * 2 + 128 + 30 * 2
    assert len(stored) <= sent <= len(stored) + structure < len(content) / 3
    assert survey.measure(matrix).vocab_rows == 4000


# ---- from the files of a repository


def located(folder: Path) -> Target:
    checkpoint = FolderCheckpoint(folder)
    return locate(lay_out(checkpoint), "output")


def read(target: Target) -> bytes:
    with open_target(target, Settings()) as matrix:
        return b"".join(bytes(block) for block in matrix.blocks())


@FORMATS
def test_tied_tensors_are_one(tmp_path: Path, zipped: bool) -> None:
    weight = torch.randn(6, 4)
    folder = write(tmp_path, {"config.json": LLAMA_CONFIG, BIN: saved({EMBED: weight, HEAD: weight}, zipped)})
    target = located(folder)
    assert (target.identity.tied, target.spec.name) == (True, HEAD)
    write(folder, {BIN: saved({EMBED: weight.clone(), HEAD: weight}, zipped)})
    assert located(folder).identity.tied is False
    write(folder, {"config.json": TIED_LLAMA_CONFIG, BIN: saved({EMBED: weight}, zipped)})
    assert (located(folder).identity.tied, located(folder).spec.name) == (True, EMBED)


def test_the_head_is_found_in_its_shard(tmp_path: Path) -> None:
    head = torch.randn(6, 4, dtype=torch.float64).bfloat16()
    files = shards({EMBED: torch.randn(6, 4)}, {HEAD: head})
    files["pytorch_model-00001-of-00002.bin"] = b"garbage"  # is not even opened
    target = located(write(tmp_path, files))
    assert (target.spec.file, target.spec.dtype, read(target)) == (
        "pytorch_model-00002-of-00002.bin",
        "BF16",
        raw(head),
    )


@FORMATS
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_a_state_dict_of_transformers_is_read_as_the_model_has_it(
    tmp_path: Path, tied: bool, zipped: bool
) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=100, tie_word_embeddings=tied, **size)
    model = LlamaForCausalLM(config).bfloat16()
    config.save_pretrained(tmp_path)
    write(tmp_path, {BIN: saved(model.state_dict(), zipped)})
    target = located(tmp_path)
    assert (target.identity.tied, target.spec.name, target.spec.dtype) == (tied, HEAD, "BF16")
    assert read(target) == raw(model.get_output_embeddings().weight)


@pytest.mark.parametrize(
    "weights",
    [
        pytest.param({SINGLE: safetensors({HEAD: stored(6, 4)})}, id="single"),
        pytest.param({"weights.safetensors": safetensors({HEAD: stored(6, 4)})}, id="by-another-name"),
        pytest.param(
            {"x.safetensors": safetensors({HEAD: stored(6, 4)}), INDEX: b'{"weight_map":{"lm_head.weight":"x.safetensors"}}'},
            id="index",
        ),
    ],
)  # fmt: skip
def test_safetensors_are_preferred(tmp_path: Path, weights: dict[str, bytes]) -> None:
    files = {"config.json": LLAMA_CONFIG, **weights, BIN: b"garbage", BIN_INDEX: b"garbage"}
    assert located(write(tmp_path, files)).spec.file.endswith(".safetensors")


def test_an_adapter_beside_pickled_weights_is_no_model(tmp_path: Path) -> None:
    head = torch.randn(6, 4)
    files = {"config.json": LLAMA_CONFIG, "adapter_model.safetensors": b"", "training_args.bin": b"garbage"}
    assert read(located(write(tmp_path, {**files, BIN: saved({HEAD: head})}))) == raw(head)


def test_a_pickled_model_is_measured_as_its_safetensors_are(tmp_path: Path) -> None:
    head = torch.randn(500, 16)
    head[100:110] = head[3]
    write(tmp_path / "a", {"config.json": LLAMA_CONFIG, BIN: saved({HEAD: head})})
    from support.checkpoints import Stored

    write(tmp_path / "b", single({HEAD: Stored("F32", (500, 16), raw(head))}))
    one, other = (survey.measure(survey.open_matrix(tmp_path / name)) for name in "ab")
    assert one.black_hole_sizes == (11,)
    assert (one.centroid_l2, one.token_norm_mean) == (other.centroid_l2, other.token_norm_mean)
    assert np.array_equal(one.tokens.row_hash, other.tokens.row_hash)


def test_a_folder_of_pickles_changes_its_sha_with_them(tmp_path: Path) -> None:
    import os

    folder = write(tmp_path, {"config.json": LLAMA_CONFIG, BIN: saved({HEAD: torch.zeros(3, 3)})})
    before = FolderCheckpoint(folder).sha
    assert FolderCheckpoint(write(folder, {"training_args.bin": b"x"})).sha == before
    clock = (folder / BIN).stat()
    (folder / BIN).write_bytes((folder / BIN).read_bytes().replace(HEAD.encode(), b"LM_head.weight"))
    os.utime(folder / BIN, ns=(clock.st_atime_ns, clock.st_mtime_ns))
    assert FolderCheckpoint(folder).sha != before


def test_the_command_measures_pickled_and_refuses_hostile_models(tmp_path: Path, request: Any) -> None:
    run: Any = request.getfixturevalue("survey")
    write(tmp_path / "good", {"config.json": LLAMA_CONFIG, BIN: saved({HEAD: torch.randn(50, 8)})})
    hostile = archive({"data.pkl": b"cos\nsystem\n(S'touch ran'\ntR."})
    write(tmp_path / "hostile", {"config.json": LLAMA_CONFIG, BIN: hostile})
    ran: Ran = run("run", tmp_path / "good", tmp_path / "hostile", "--catalog", "c", "--executor", "serial")
    assert (ran.code, "1 measured, 0 unchanged, 1 failed" in ran.out) == (1, True)
    assert "bad-pickle" in ran.out
    assert not list(tmp_path.rglob("ran"))
