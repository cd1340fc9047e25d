"""Matrices that are stored in parts are measured as the whole, or refused with the missing part."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.checkpoints import EMBED, HEAD, Stored, safetensors, sharded, single, with_length, write
from support.cut_matrices import (
    TABLE,
    WHOLE,
    D,
    Files,
    Floats,
    V,
    columns,
    config,
    described,
    of_devices,
    read,
    rows,
    tensor,
    without,
)

import survey
from jobs.demo.hub.local_hub import LocalHub
from jobs.planning.memory import expected_memory_bytes
from survey.checkpoints.folder import FolderCheckpoint
from survey.checkpoints.rank_files import is_of_ranks, rank_of
from survey.errors import BrokenFile, NotThere, SurveyError
from survey.onepass.geometry import BLOCK_BYTES, row_blocks
from survey.sharding.row_ranges import picked_rows
from survey.targets.layout_reader import lay_out


def noted(tensors: Mapping[str, tuple[Floats, list[int]]]) -> bytes:
    """A safetensors file in which torch noted where each part begins in the whole."""
    plain = safetensors({name: tensor(part) for name, (part, _) in tensors.items()})
    length = int.from_bytes(plain[:8], "little")
    offsets_by_name = {name: {"saved_offsets": offsets} for name, (_, offsets) in tensors.items()}
    header = json.loads(plain[8 : 8 + length])
    header["__metadata__"] = {
        "format": "pt",
        "DCP_VERSION": "1.0",
        "DCP_SHARDING_INFO": json.dumps(offsets_by_name),
    }
    return with_length(json.dumps(header).encode()) + plain[8 + length :]


def shard(number: int) -> str:
    return f"shard-{number:05}-model-00001-of-00001.safetensors"


def noted_parts(**stated: Any) -> Files:
    """The head by rows over two devices, the embedding by rows and columns over four, in another order."""
    top, bottom = WHOLE[:500], WHOLE[500:]
    return described(**stated) | {
        shard(1): noted({HEAD: (top, [0, 0]), EMBED: (TABLE[700:, :8], [700, 0])}),
        shard(2): noted({HEAD: (bottom, [500, 0]), EMBED: (TABLE[:700, 8:], [0, 8])}),
        shard(3): noted({EMBED: (TABLE[:700, :8], [0, 0])}),
        shard(4): noted({EMBED: (TABLE[700:, 8:], [700, 8])}),
    }


def numbered(names: list[str], parts: list[Floats], **stated: Any) -> Files:
    parts_by_name = {name: tensor(part) for name, part in zip(names, parts, strict=True)}
    return single({EMBED: tensor(TABLE), **parts_by_name}, config(**stated))


CUT: dict[str, Files] = {
    "rows over the files of four devices": of_devices(rows(4)),
    "rows that do not divide": of_devices(rows(7)),
    "columns over the files of four devices": of_devices(columns(4)),
    "rows, the hidden size not stated": of_devices(rows(4), hidden_size=None),
    "one device": of_devices([WHOLE]),
    "the whole at each device": of_devices([WHOLE, WHOLE]),
    "files as vLLM names them": of_devices(rows(2), "model-rank-{}-part-0.safetensors"),
    "files as DeepSeek names them": of_devices(rows(2), "model{}-mp2.safetensors"),
    "offsets that torch noted": noted_parts(),
    "numbers behind the name": numbered([f"{HEAD}.{number}" for number in range(3)], rows(3)),
    "numbers within the name": numbered(["lm_head.0.weight", "lm_head.1.weight"], rows(2)),
    "more than ten numbers": numbered([f"{HEAD}.{number}" for number in range(12)], rows(12)),
    "numbered columns": numbered([f"{HEAD}.{number}" for number in range(3)], columns(3)),
    "words before numbered columns": numbered(
        [f"lm_head.tp_{number}.weight" for number in range(2)], columns(2)
    ),
    "words before the numbers": numbered([f"lm_head.tp_{number}.weight" for number in range(2)], rows(2)),
    "modules of shards": numbered([f"lm_head.shards.{number}.weight" for number in range(3)], rows(3)),
    "ranks in the module's name": numbered([f"lm_head_rank{number}.weight" for number in range(2)], rows(2)),
    "numbers in shards": sharded(
        [
            {EMBED: tensor(TABLE), f"{HEAD}.0": tensor(WHOLE[:600])},
            {f"{HEAD}.1": tensor(WHOLE[600:])},
        ],
        config(),
    ),
}


def bits(value: Any) -> Any:  # Any: whatever a column may hold
    if is_dataclass(value):
        return {item.name: bits(getattr(value, item.name)) for item in fields(value)}
    return value.tobytes() if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("files", CUT.values(), ids=CUT)
def test_parts_are_put_together(files: Files, tmp_path: Path) -> None:
    matrix = survey.open_matrix(write(tmp_path, files))
    assert (matrix.shape, matrix.dtype, read(matrix)) == ((V, D), "F32", WHOLE.tobytes())
    assert read(survey.open_matrix(tmp_path, "input")) == TABLE.tobytes()
    assert not matrix.target.identity.tied


@pytest.mark.parametrize("files", CUT.values(), ids=CUT)
def test_parts_are_measured_to_the_same_bits_as_the_whole(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("survey.opening.row_blocks", lambda spec: row_blocks(spec, 7000))
    parts = survey.measure(survey.open_matrix(write(tmp_path, files)), device="cpu")
    whole = survey.measure(WHOLE, device="cpu")
    assert bits(parts) == bits(whole)
    assert whole.black_hole_sizes == (7, 3)


def test_a_row_says_which_tensors_and_files_it_was_made_of(tmp_path: Path) -> None:
    target = survey.open_matrix(write(tmp_path / "two", of_devices(rows(2)))).target
    assert target.identity.tensor == HEAD
    assert target.identity.file == "m-00006-TP-000.safetensors + m-00006-TP-001.safetensors"
    assert [file for file, _ in target.files] == target.identity.file.split(" + ")
    assert target.rule.endswith("put together from 2 parts")
    assert len(target.spec.bytes) == V * D * 4
    many = survey.open_matrix(write(tmp_path / "many", of_devices(rows(5)))).target
    assert many.identity.file == "m-00006-TP-000.safetensors + 3 more + m-00006-TP-004.safetensors"
    assert len(many.files) == 5
    names = numbered(["lm_head.0.weight", "lm_head.1.weight"], rows(2))
    assert survey.open_matrix(write(tmp_path / "names", names)).target.identity.tensor == (
        "lm_head.0.weight + lm_head.1.weight"
    )


@pytest.mark.parametrize("files", [CUT["rows that do not divide"], noted_parts()], ids=["rows", "both"])
def test_single_rows_are_read_from_their_parts(files: Files, tmp_path: Path) -> None:
    for matrix, whole in (("output", WHOLE), ("input", TABLE)):
        opened = survey.open_matrix(write(tmp_path, files), matrix)  # type: ignore[arg-type]
        picked = [0, 171, 172, 499, 500, 501, 699, 700, V - 1]
        assert picked_rows(opened.checkpoint, opened.target.spec, picked) == [
            whole[row].tobytes() for row in picked
        ]


def test_rows_in_columns_are_joined_in_bounded_memory(tmp_path: Path) -> None:
    spec = survey.open_matrix(write(tmp_path, of_devices(columns(4)))).target.spec
    wide = survey.open_matrix(write(tmp_path / "w", of_devices([WHOLE]))).target.spec
    assert all(len(block) <= 4 * BLOCK_BYTES for block in row_blocks(spec))
    assert expected_memory_bytes(spec, 8) > expected_memory_bytes(wide, 8) + 8 * BLOCK_BYTES


MISSING: dict[str, tuple[Files, str]] = {
    "the last device": (
        without(of_devices(rows(4)), "m-00006-TP-003.safetensors"),
        "is there in part only: rows 900 to 1,199 of 1,200 are missing; found 3 parts",
    ),
    "the first device": (
        without(of_devices(rows(4)), "m-00006-TP-000.safetensors"),
        "rows 900 to 1,199 of 1,200 are missing",
    ),
    "a device between": (
        without(of_devices(rows(4)), "m-00006-TP-001.safetensors"),
        "the files of devices 0, 2, 3: a file of one between them is missing",
    ),
    "all devices but one": (
        described() | {"rank0.safetensors": safetensors({HEAD: tensor(WHOLE[:600])})},
        "rows 600 to 1,199 of 1,200 are missing; found 1 part, in rank0.safetensors",
    ),
    "columns": (
        without(of_devices(columns(4)), "m-00006-TP-003.safetensors"),
        "dimensions 18 to 23 of 24 are missing",
    ),
    "the first half of torch's parts": (
        without(noted_parts(), shard(1)),
        "rows 0 to 499 of 1,200 are missing",
    ),
    "the second half of torch's parts": (
        without(noted_parts(), shard(2)),
        "rows 500 to 1,199 of 1,200 are missing",
    ),
    "a number": (
        numbered([f"{HEAD}.0", f"{HEAD}.2"], rows(3)[::2]),
        f"of the parts {HEAD}.0 to {HEAD}.2 there is no number 1",
    ),
    "a number, though the others have all rows": (
        numbered([f"{HEAD}.0", f"{HEAD}.1", f"{HEAD}.3"], rows(3)),
        "there is no number 2",
    ),
    "the first number": (numbered([f"{HEAD}.2", f"{HEAD}.3"], rows(2)), "there is no number 1"),
    "how many rows there are": (of_devices(rows(4), vocab_size=None), "the config states [?, 24]: how they"),
    "how the parts are cut": (of_devices([WHOLE[:, :20], WHOLE[:, 20:23]]), "dimensions 23 to 23 of 24"),
}


@pytest.mark.parametrize(("files", "problem"), MISSING.values(), ids=MISSING)
def test_what_is_incomplete_is_refused_with_what_is_missing(
    files: Files, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(NotThere) as caught:
        survey.open_matrix(write(tmp_path, files))
    assert caught.value.reason == "split-head"
    assert problem in caught.value.problem


def test_what_is_missing_of_one_matrix_says_nothing_of_the_other(tmp_path: Path) -> None:
    files = without(of_devices(rows(4)), "m-00006-TP-001.safetensors")
    assert read(survey.open_matrix(write(tmp_path, files), "input")) == TABLE.tobytes()


ODD: dict[str, tuple[Files, str, str]] = {
    "two dtypes": (
        of_devices(rows(2)) | {"m-00006-TP-001.safetensors": safetensors({HEAD: Stored("F16", (600, D), bytes(28800))})},
        "split-head",
        "parts in F32, F16",
    ),
    "two hidden sizes": (of_devices([WHOLE[:600], WHOLE[600:, :20]]), "split-head", "how they are cut is open"),
    "more rows than the config states": (of_devices(rows(4), vocab_size=500), "split-head", "is stated"),
    "two files of one device": (
        of_devices(rows(2)) | {"n-00001-TP-001.safetensors": safetensors({HEAD: tensor(WHOLE[600:])})},
        "index-mismatch",
        "both m-00006-TP-001.safetensors and n-00001-TP-001.safetensors hold lm_head.weight",
    ),
    "parts that overlap": (
        described() | {shard(1): noted({HEAD: (WHOLE[:700], [0, 0])}), shard(2): noted({HEAD: (WHOLE[500:], [500, 0])})},
        "split-head",
        "several parts hold the rows 500 to 699",
    ),
    "columns that overlap": (
        described() | {shard(1): noted({HEAD: (WHOLE[:, :16], [0, 0])}), shard(2): noted({HEAD: (WHOLE[:, 8:], [0, 8])})},
        "split-head",
        "several parts hold dimensions 8 to 15",
    ),
    "offsets of one dimension": (described() | {shard(1): noted({HEAD: (WHOLE, [0])})}, "split-head", "rows"),
    "negative offsets": (described() | {shard(1): noted({HEAD: (WHOLE, [-1, 0])})}, "bad-header", "does not say at which row"),
    "offsets past any file": (
        described() | {shard(1): noted({HEAD: (WHOLE, [1 << 62, 0])})},
        "split-head",
        "are missing",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("files", "reason", "problem"), ODD.values(), ids=ODD)
def test_parts_that_contradict_each_other_are_refused(
    files: Files, reason: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(SurveyError) as caught:
        survey.open_matrix(write(tmp_path, files))
    assert (caught.value.reason, problem in caught.value.problem) == (reason, True), caught.value.problem


def test_rows_that_only_fill_up_the_last_part_are_rows(tmp_path: Path) -> None:
    matrix = survey.open_matrix(write(tmp_path, of_devices(rows(4), vocab_size=V - 50)))
    assert (matrix.shape, read(matrix)) == ((V, D), WHOLE.tobytes())


NO_PARTS: dict[str, dict[str, Stored]] = {
    "two layers before the head": {"lm_head.0.weight": tensor(WHOLE[:D]), "lm_head.2.weight": tensor(WHOLE)},
    "a head for each codebook": {"lm_head.0.weight": tensor(WHOLE), "lm_head.1.weight": tensor(TABLE)},
    "two versions of a head": {"lm_head.part0.weight": tensor(WHOLE), "lm_head.part1.weight": tensor(TABLE)},
    "a speculator's heads, together as wide as the model": {
        "head.0.weight": tensor(WHOLE[:, : D // 2]),
        "head.1.weight": tensor(TABLE[:, : D // 2]),
    },
    "a head for text, one for sound": {
        "lm_head.0.weight": tensor(WHOLE),
        "lm_head.1.weight": tensor(TABLE[:9]),
    },
}


@pytest.mark.parametrize("heads", NO_PARTS.values(), ids=NO_PARTS)
def test_what_is_numbered_for_another_reason_is_not_put_together(
    heads: dict[str, Stored], tmp_path: Path
) -> None:
    files = single({EMBED: tensor(TABLE), **heads}, config())
    checkpoint = FolderCheckpoint(write(tmp_path, files))
    layout = lay_out(checkpoint)
    assert not layout.parts_of
    assert set(heads) < set(layout.file_of)


def test_tables_of_codebooks_are_no_parts_of_the_table_of_tokens(tmp_path: Path) -> None:
    codebooks = {f"embed_tokens.{number}.weight": tensor(WHOLE[: V // 4 + 9]) for number in range(4)}
    table = f"decoder.{EMBED}"
    files = single({table: tensor(TABLE), **codebooks, f"decoder.{HEAD}": tensor(WHOLE)}, config())
    folder = write(tmp_path, files)
    assert read(survey.open_matrix(folder)) == WHOLE.tobytes()
    with pytest.raises(SurveyError) as caught:
        survey.open_matrix(folder, matrix="input")
    assert (caught.value.reason, "embed_tokens.0.weight" in caught.value.problem) == ("split-head", True)


def test_layers_of_a_model_are_no_parts_of_its_matrix(tmp_path: Path) -> None:
    layers = {f"model.layers.{number}.head.weight": tensor(WHOLE[:600]) for number in range(2)}
    tables = {f"model.layers.0.embed.{number}.weight": tensor(WHOLE[:600]) for number in range(2)}
    files = single({EMBED: tensor(TABLE), HEAD: tensor(WHOLE), **layers, **tables}, config())
    assert read(survey.open_matrix(write(tmp_path, files))) == WHOLE.tobytes()


NAMES: dict[str, int | None] = {
    "pytorch_model-00006-TP-003.safetensors": 3,
    "model-rank-1-part-0.safetensors": 1,
    "model13-mp16.safetensors": 13,
    "rank2.safetensors": 2,
    "model_tp1.safetensors": 1,
    "tp_rank_03.safetensors": 3,
    "mp_rank_07/model.safetensors": 7,
    "shard-00002-model-00001-of-00001.safetensors": 2,
    "consolidated.01.pth": 1,
    "model.safetensors": None,
    "model-00001-of-00002.safetensors": None,
    "consolidated-00001-of-00002.safetensors": None,
    "consolidated.safetensors": None,
    "model-temp3.safetensors": None,
    "gpt-fp16.safetensors": None,
    "step-100.safetensors": None,
}


@pytest.mark.parametrize("file", NAMES)
def test_a_files_name_says_which_device_wrote_it(file: str) -> None:
    assert rank_of(file) == NAMES[file]
    assert is_of_ranks(file) is (NAMES[file] is not None)


# ---- on the Hub


@pytest.fixture
def served(hub: LocalHub) -> Callable[[Files], LocalHub]:
    def serve(files: Files) -> LocalHub:
        hub.add_repo("org/cut", files)
        return hub

    return serve


@pytest.mark.parametrize(
    "name", ["rows over the files of four devices", "columns over the files of four devices"]
)
def test_parts_on_the_hub_cost_their_own_bytes_and_no_more(
    served: Callable[[Files], LocalHub], name: str
) -> None:
    hub = served(CUT[name])
    opened = survey.open_matrix("org/cut", endpoint=hub.endpoint)
    planned = opened.checkpoint.traffic
    hub.clear_log()
    counts: list[int] = []
    assert b"".join(map(bytes, opened.blocks(counts.append))) == WHOLE.tobytes()
    assert sum(counts) == len(WHOLE.tobytes())
    assert (opened.checkpoint.traffic - planned).bytes == len(WHOLE.tobytes())
    assert len(hub.requests("cdn")) == 4  # one block, which four files make up


def test_a_part_that_changed_size_is_refused(served: Callable[[Files], LocalHub]) -> None:
    from dataclasses import replace

    from survey.opening import open_target
    from survey.records.settings import Settings

    hub = served(of_devices(rows(2)))
    target = survey.open_matrix("org/cut", endpoint=hub.endpoint).target
    files = tuple((file, size + 1) for file, size in target.files)
    opened = open_target(replace(target, files=files), Settings(endpoint=hub.endpoint))
    with pytest.raises(BrokenFile, match="as the Hub lists it"):
        read(opened)
