"""From a checkpoint's files to the bytes of its matrix, and every way in which they disagree."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints import CONFIG, INDEX, SINGLE, Stored, safetensors, sharded, single, stored, write
from support.in_memory_checkpoint import HeldCheckpoint

import survey
from survey.checkpoints.checkpoint import TEXT_CHARS, Card
from survey.checkpoints.folder import FolderCheckpoint
from survey.errors import BrokenFile, NotOffered, NotThere, SurveyError
from survey.opening import open_target
from survey.records.settings import Settings
from survey.records.target import MatrixChoice, Target, Traffic
from survey.records.tensors import ByteRange
from survey.targets.layout_reader import lay_out
from survey.targets.locate import MOST_BYTES, MOST_TAGS, locate

EMBED, HEAD, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"
EMBEDDING, OUTPUT, VECTOR = stored(6, 4), stored(6, 4, seed=1), stored(4, seed=2)
UNTIED = {EMBED: EMBEDDING, HEAD: OUTPUT, NORM: VECTOR}
TIED = {EMBED: EMBEDDING, NORM: VECTOR}
LORA = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
SHARDS = [{EMBED: EMBEDDING}, {NORM: VECTOR, HEAD: OUTPUT}]
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def located(folder: Path, matrix: MatrixChoice = "output") -> list[Target]:
    checkpoint = FolderCheckpoint(folder)
    layout = lay_out(checkpoint)
    if matrix != "both":
        return [locate(layout, matrix)]
    output = locate(layout, "output")
    return [output] if output.identity.tied else [output, locate(layout, "input")]


def refusal(folder: Path, matrix: MatrixChoice = "output") -> SurveyError:
    with pytest.raises(SurveyError) as caught:
        located(folder, matrix)
    return caught.value


def with_index(files: Mapping[str, bytes], index: Any) -> dict[str, bytes]:
    return {**files, INDEX: index if isinstance(index, bytes) else json.dumps(index).encode()}


# ---- what is found


@pytest.mark.parametrize(
    ("files", "file"),
    [
        pytest.param(single(UNTIED), SINGLE, id="single"),
        pytest.param(sharded(SHARDS), SECOND, id="sharded"),
        pytest.param(
            {**single(UNTIED), **with_index({}, {"weight_map": {}})}, SINGLE, id="single-beside-an-index"
        ),
        pytest.param(
            {"config.json": b"{}", "pytorch_model.safetensors": safetensors(UNTIED)},
            "pytorch_model.safetensors",
            id="one-file-by-another-name",
        ),
        pytest.param(
            {**single(UNTIED), "adapter_model.safetensors": b"", "optimizer.safetensors": b""},
            SINGLE,
            id="other-files",
        ),
    ],
)
def test_the_head_is_found_in_its_file(tmp_path: Path, files: dict[str, bytes], file: str) -> None:
    (target,) = located(write(tmp_path, files))
    assert (target.spec.name, target.spec.file, target.spec.shape) == (HEAD, file, (6, 4))
    span = target.spec.bytes
    assert files[file][span.start : span.stop] == OUTPUT.data
    assert dict(target.files) == {target.spec.file: len(files[file])}
    assert target.repo_bytes == sum(map(len, files.values()))
    assert target.planning == Traffic()


def test_files_of_more_bytes_than_a_column_holds_keep_no_model_from_being_measured(tmp_path: Path) -> None:
    """A sparse file may have an exabyte, and a Hub may list any number."""
    checkpoint = FolderCheckpoint(write(tmp_path, single(UNTIED)))
    checkpoint.files = {**checkpoint.files, **{f"{number}.iso": (1 << 62) - 1 for number in range(9)}}
    assert locate(lay_out(checkpoint), "output").repo_bytes == MOST_BYTES == 2**63 - 1


def test_texts_of_a_card_have_a_cap(tmp_path: Path) -> None:
    """A card is the repository's own: megabytes of it would be printed with each row."""
    checkpoint = FolderCheckpoint(write(tmp_path, single(UNTIED)))
    long, tags = "x" * (TEXT_CHARS + 1), [f"tag-{number}" for number in range(2 * MOST_TAGS)]
    checkpoint.card = Card(base_model=long, library_name=long, tags=("a", long, *tags))
    identity = locate(lay_out(checkpoint), "output").identity
    assert (identity.base_model, identity.library_name) == (None, None)
    assert identity.tags == ("a", *tags[: MOST_TAGS - 2])
    checkpoint.card = Card(library_name=long[1:], tags=(long[1:],))
    identity = locate(lay_out(checkpoint), "output").identity
    assert (identity.library_name, identity.tags) == (long[1:], (long[1:],))


def test_the_identity_says_what_the_config_and_the_files_say(tmp_path: Path) -> None:
    config = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM", "x"], "tie_word_embeddings": True}
    folder = write(tmp_path / "model", single(TIED, config))
    (target,) = located(folder)
    identity = target.identity
    assert (identity.repo, identity.revision, identity.org) == (str(folder), "main", None)
    assert (identity.model_type, identity.architecture) == ("qwen3", "Qwen3ForCausalLM")
    assert (identity.family, identity.family_by) == ("Qwen", "model_type")
    assert (identity.matrix, identity.tensor, identity.file) == ("output", EMBED, SINGLE)
    assert (identity.tied, identity.tie_stated, identity.head_bias) == (True, True, False)
    assert (identity.base_model, identity.library_name, identity.tags, identity.last_modified) == (
        None,
        None,
        (),
        None,
    )
    assert target.key == (str(folder), FolderCheckpoint(folder).sha, "output")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param({}, (None, None), id="nothing"),
        pytest.param({"model_type": 7, "architectures": [7]}, (None, None), id="numbers"),
        pytest.param({"model_type": None, "architectures": None}, (None, None), id="null"),
        pytest.param({"model_type": "llama", "architectures": []}, ("llama", None), id="empty-list"),
        pytest.param({"architectures": "LlamaForCausalLM"}, (None, None), id="text-for-a-list"),
    ],
)
def test_what_the_config_does_not_say_stays_unknown(
    tmp_path: Path, config: dict[str, Any], expected: tuple[str | None, str | None]
) -> None:
    (target,) = located(write(tmp_path, single(UNTIED, config)))
    assert (target.identity.model_type, target.identity.architecture) == expected


@pytest.mark.parametrize(
    ("tensors", "matrices"),
    [
        pytest.param(TIED, [("output", EMBED, True)], id="tied"),
        pytest.param(UNTIED, [("output", HEAD, False), ("input", EMBED, False)], id="untied"),
    ],
)
@pytest.mark.parametrize("several", [False, True], ids=["single", "sharded"])
def test_both_is_one_target_if_one_tensor_serves_as_both(
    tmp_path: Path, tensors: dict[str, Stored], matrices: list[tuple[str, str, bool]], several: bool
) -> None:
    config = CONFIG | {"tie_word_embeddings": tensors is TIED}
    shards = [{name: tensor} for name, tensor in tensors.items()]
    files = sharded(shards, config) if several else single(tensors, config)
    targets = located(write(tmp_path, files), "both")
    assert [(item.identity.matrix, item.spec.name, item.identity.tied) for item in targets] == matrices


@pytest.mark.parametrize("matrix", ["output", "input"])
def test_only_the_shard_that_holds_the_matrix_is_opened(tmp_path: Path, matrix: MatrixChoice) -> None:
    files = sharded([*SHARDS, {"model.layers.0.weight": VECTOR}])
    needed = next(
        name for name in files if ("00002" if matrix == "output" else "00001") in name.partition("-of-")[0]
    )
    for name in files:
        if name.endswith(".safetensors") and name != needed:
            files[name] = b"garbage"
    (target,) = located(write(tmp_path, files), matrix)
    assert target.spec.file == needed
    opened = open_target(target, Settings())
    assert (
        b"".join(bytes(block) for block in opened.blocks())
        == (OUTPUT if matrix == "output" else EMBEDDING).data
    )


# ---- what is not


@pytest.mark.parametrize(
    ("files", "kind", "reason", "where"),
    [
        pytest.param({SINGLE: safetensors(UNTIED)}, NotThere, "no-config", "config.json", id="no-config"),
        pytest.param(
            {**single(UNTIED), "config.json": b"{"},
            BrokenFile,
            "no-config",
            "config.json",
            id="config-not-json",
        ),
        pytest.param(
            {**single(UNTIED), "config.json": b""}, BrokenFile, "no-config", "config.json", id="config-empty"
        ),
        pytest.param(
            {**single(UNTIED), "config.json": b"[]"},
            BrokenFile,
            "no-config",
            "config.json",
            id="config-a-list",
        ),
        pytest.param(
            {**single(UNTIED), "config.json": b'{"a": "\xff"}'},
            BrokenFile,
            "no-config",
            "config.json",
            id="config-not-utf-8",
        ),
        pytest.param(
            {**single(UNTIED), "config.json": b"[" * 100_000},
            BrokenFile,
            "no-config",
            "config.json",
            id="config-nested-too-deep",
        ),
        pytest.param(
            {**single(UNTIED), "config.json": b'{"a":"' + b" " * (10 << 20) + b'"}'},
            BrokenFile,
            "no-config",
            "config.json",
            id="config-of-10-mb",
        ),
        pytest.param({"config.json": b"{}"}, NotThere, "no-safetensors", "", id="no-weights"),
        pytest.param(
            {"config.json": b"{}", "pytorch_model.bin": b"PK"},
            BrokenFile,
            "bad-pickle",
            "pytorch_model.bin",
            id="broken-pickled-weights",
        ),
        pytest.param(
            {"config.json": b"{}", "adapter_model.safetensors": safetensors({LORA: OUTPUT})},
            NotThere,
            "no-head",
            "",
            id="an-adapter",
        ),
        pytest.param(
            {"config.json": b"{}", "a.safetensors": safetensors(TIED), "b.safetensors": safetensors(TIED)},
            NotThere,
            "no-safetensors",
            "",
            id="two-files-and-no-index",
        ),
        pytest.param({**single(UNTIED), SINGLE: b""}, BrokenFile, "bad-header", SINGLE, id="an-empty-file"),
        pytest.param(
            {**single(UNTIED), SINGLE: safetensors(UNTIED)[:-1]},
            BrokenFile,
            "bad-header",
            SINGLE,
            id="a-cut-file",
        ),
        pytest.param(single({NORM: VECTOR}), NotThere, "no-head", "", id="no-head"),
        pytest.param(single({}), NotThere, "no-head", "", id="no-tensors"),
        pytest.param(
            single(TIED, CONFIG | {"tie_word_embeddings": False}), NotThere, "no-head", "", id="a-base-model"
        ),
        pytest.param(single({HEAD: stored(24)}), NotThere, "no-head", SINGLE, id="a-head-of-one-dimension"),
        pytest.param(single({HEAD: stored(2, 3, 4)}), NotThere, "no-head", SINGLE, id="a-head-of-three"),
        pytest.param(single({HEAD: stored()}), NotThere, "no-head", SINGLE, id="a-head-that-is-a-number"),
        pytest.param(single({HEAD: stored(0, 4)}), NotThere, "no-head", SINGLE, id="a-head-without-rows"),
        pytest.param(single({HEAD: stored(4, 0)}), NotThere, "no-head", SINGLE, id="a-head-without-columns"),
        pytest.param(
            single({"lm_head.0.weight": OUTPUT, EMBED: EMBEDDING}),
            NotThere,
            "split-head",
            "",
            id="a-cut-head",
        ),
        pytest.param(
            single({"lm_head.qweight": OUTPUT, EMBED: EMBEDDING}),
            NotThere,
            "quantised-head",
            "",
            id="a-packed-head",
        ),
    ],
)
def test_a_checkpoint_without_a_matrix_is_refused(
    tmp_path: Path, files: dict[str, bytes], kind: type[SurveyError], reason: str, where: str
) -> None:
    folder = write(tmp_path, files)
    error = refusal(folder)
    assert (type(error), error.reason) == (kind, reason)
    assert error.where == (f"{folder}/{where}" if where else str(folder))


def test_a_config_past_its_cap_is_refused_unread(tmp_path: Path) -> None:
    folder = write(tmp_path, single(UNTIED))
    os.truncate(folder / "config.json", 9 << 20)
    error = refusal(folder)
    assert isinstance(error, BrokenFile)
    assert "has 9,437,184 bytes, expected at most 8,388,608" in str(error)


@pytest.mark.parametrize(
    "index",
    [
        pytest.param(b"{", id="not-json"),
        pytest.param([], id="a-list"),
        pytest.param({}, id="no-weight-map"),
        pytest.param({"weight_map": {}}, id="an-empty-weight-map"),
        pytest.param({"weight_map": [HEAD]}, id="a-list-for-a-weight-map"),
        pytest.param({"weight_map": None}, id="null-for-a-weight-map"),
        pytest.param({"weight_map": {HEAD: 2}}, id="a-number-for-a-file"),
        pytest.param({"weight_map": {HEAD: None}}, id="null-for-a-file"),
        pytest.param({"weight_map": {HEAD: [SECOND]}}, id="a-list-for-a-file"),
        pytest.param({"weight_map": {HEAD: "../outside.safetensors"}}, id="a-path-to-the-outside"),
        pytest.param({"weight_map": {HEAD: "/outside.safetensors"}}, id="a-path-from-the-root"),
        pytest.param({"weight_map": {HEAD: f"./{SECOND}"}}, id="a-path-with-a-dot"),
        pytest.param({"weight_map": {HEAD: "weights.bin"}}, id="another-format"),
        pytest.param({"weight_map": {HEAD: ""}}, id="no-file-name"),
        pytest.param({"weight_map": {HEAD: "../../etc/passwd"}}, id="the-passwords"),
        pytest.param({"weight_map": {HEAD: "../../etc/passwd.safetensors"}}, id="the-passwords-by-suffix"),
        pytest.param({"weight_map": {HEAD: "..\\outside.safetensors"}}, id="a-path-of-windows"),
        pytest.param({"weight_map": {HEAD: "https://evil.example/x.safetensors"}}, id="a-url"),
        pytest.param(b'{"weight_map": {"a": "b.safetensors", "a": "c.safetensors"}}', id="a-name-twice"),
        pytest.param(b'{"weight_map": ' + b'{"a":' * 100_000, id="nested-too-deep"),
        pytest.param(b'{"weight_map": {"\xff": "b.safetensors"}}', id="not-utf-8"),
        pytest.param(b'{"weight_map": {' + b'"a":1,' * 600_000, id="half-a-million-values"),
        pytest.param(
            {"weight_map": {HEAD: SECOND, NORM: "../outside.safetensors"}}, id="one-bad-line-of-two"
        ),
    ],
)
def test_an_index_that_is_none_is_refused(tmp_path: Path, index: Any) -> None:
    (tmp_path / "outside.safetensors").write_bytes(safetensors(UNTIED))
    folder = write(tmp_path / "model", with_index(sharded(SHARDS), index))
    error = refusal(folder)
    assert (type(error), error.reason, error.where) == (BrokenFile, "index-mismatch", f"{folder}/{INDEX}")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param({SECOND: None}, "the index names this file for lm_head.weight", id="shard-missing"),
        pytest.param(
            {SECOND: safetensors({NORM: VECTOR})},
            "holds no lm_head.weight, though the index says so",
            id="tensor-missing-in-its-shard",
        ),
    ],
)
def test_an_index_that_its_shards_contradict_is_refused(
    tmp_path: Path, change: dict[str, bytes | None], problem: str
) -> None:
    files = {name: content for name, content in {**sharded(SHARDS), **change}.items() if content is not None}
    folder = write(tmp_path, files)
    error = refusal(folder)
    assert (type(error), error.reason) == (BrokenFile, "index-mismatch")
    assert str(error) == f"{folder}/{SECOND}: {problem}"
    (target,) = located(folder, "input")  # the other shard is whole
    assert target.spec.name == EMBED


@pytest.mark.parametrize("dtype", ["I8", "U8", "I32", "F4"])
@pytest.mark.parametrize(
    ("config", "beside", "by"),
    [
        pytest.param(
            {"quantization_config": {"quant_method": "gptq", "bits": 4}}, "", "gptq (4 bits)", id="gptq"
        ),
        pytest.param({"quantization_config": {"quant_method": "awq"}}, "", "awq", id="awq"),
        pytest.param(
            {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}},
            ".weight.absmax",
            "bitsandbytes",
            id="bitsandbytes",
        ),
        pytest.param({}, ".weight.absmax", "bitsandbytes 4-bit", id="bitsandbytes-unstated"),
        pytest.param({}, ".SCB", "bitsandbytes LLM.int8()", id="llm-int8"),
        pytest.param({"quantization": {"bits": 4, "group_size": 64}}, ".scales", "MLX", id="mlx"),
        pytest.param({}, ".weight_scale_2", "ModelOpt NVFP4", id="nvfp4"),
        pytest.param({"quantization_config": {"quant_method": ["x"]}}, "", "an unnamed scheme", id="a-list"),
        pytest.param({"quantization_config": None}, "", "an unnamed scheme", id="nothing"),
    ],
)
def test_a_head_of_integers_is_refused_with_its_scheme(
    tmp_path: Path, config: dict[str, Any], beside: str, by: str, dtype: str
) -> None:
    tensors = {HEAD: Stored(dtype, (6, 4), bytes({"I32": 96, "F4": 12}.get(dtype, 24))), EMBED: EMBEDDING}
    if beside:
        tensors["lm_head" + beside] = stored(6)
    error = refusal(write(tmp_path, single(tensors, CONFIG | config)))
    assert (type(error), error.reason) == (NotThere, "quantised-head")
    assert error.problem.startswith(f"lm_head.weight is {dtype}, quantised by {by}")


@pytest.mark.parametrize(
    ("names", "config", "by"),
    [
        pytest.param(["lm_head.qweight", "lm_head.qzeros", "lm_head.scales"], {}, "GPTQ or AWQ", id="gptq"),
        pytest.param(
            ["lm_head.weight_packed", "lm_head.weight_scale"],
            {"quantization_config": {"quant_method": "compressed-tensors"}},
            "compressed-tensors",
            id="compressed-tensors",
        ),
        pytest.param(["model.embed_tokens.qweight"], {}, "GPTQ or AWQ", id="the-tied-embedding"),
        pytest.param(["lm_head.W_q"], {}, "HQQ", id="hqq"),
        pytest.param(["lm_head.codebooks"], {}, "AQLM", id="aqlm"),
        pytest.param(
            ["lm_head.weight.quant_state.bitsandbytes__nf4"], {}, "bitsandbytes NF4", id="bitsandbytes"
        ),
    ],
)
def test_a_packed_head_is_refused_with_its_scheme(
    tmp_path: Path, names: list[str], config: dict[str, Any], by: str
) -> None:
    error = refusal(write(tmp_path, single(dict.fromkeys(names, VECTOR), CONFIG | config)))
    assert error.reason == "quantised-head"
    assert f"quantised by {by}" in error.problem
    assert names[0] in error.problem


@pytest.mark.parametrize("dtype", ["BOOL", "C64", "F8_E4M3FNUZ"])
def test_a_head_of_numbers_that_are_not_measured_is_refused(tmp_path: Path, dtype: str) -> None:
    size = 8 if dtype == "C64" else 1
    error = refusal(write(tmp_path, single({HEAD: Stored(dtype, (6, 4), bytes(24 * size))})))
    assert error.reason == "unsupported-dtype"
    assert f"dtype is {dtype}, expected one of F64, F32, F16, BF16, F8_E4M3, F8_E5M2" in error.problem


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16", "F8_E4M3"])
def test_a_head_left_whole_in_a_quantised_model_is_measured(tmp_path: Path, dtype: str) -> None:
    tensors = {
        HEAD: stored(6, 4, dtype=dtype),
        "model.layers.0.mlp.down_proj.qweight": stored(2, 2, dtype="I32"),
    }
    (target,) = located(
        write(tmp_path, single(tensors, CONFIG | {"quantization_config": {"quant_method": "gptq"}}))
    )
    assert target.spec.dtype == dtype


# ---- from plan to reading


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("config.json", id="config"),
        pytest.param(INDEX, id="index"),
        pytest.param(FIRST, id="another-shard"),
        pytest.param(SECOND, id="the-shard-itself"),
    ],
)
def test_a_folder_that_changed_after_planning_is_refused(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path, sharded(SHARDS))
    (target,) = located(folder)
    with (folder / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(BrokenFile, match="the folder changed after it was planned") as caught:
        open_target(target, Settings())
    assert (caught.value.reason, caught.value.where) == ("bad-header", str(folder))


def test_a_folder_that_changes_while_it_is_read_gives_no_row(tmp_path: Path) -> None:
    """Also in a notebook: the first rows would be of one checkpoint and the last of another."""
    folder = write(tmp_path, sharded(SHARDS))
    matrix = survey.open_matrix(folder)
    blocks = matrix.blocks()
    next(blocks)
    os.utime(folder / FIRST, ns=(0, 0))
    with pytest.raises(BrokenFile, match="the folder changed while it was measured") as caught:
        list(blocks)
    assert (caught.value.reason, caught.value.where) == ("bad-header", str(folder))
    with pytest.raises(BrokenFile, match="the folder changed while it was measured"):
        survey.measure(matrix)
    assert survey.measure(survey.open_matrix(folder)).vocab_rows == 6


def test_a_folder_that_stayed_is_read_as_planned(tmp_path: Path) -> None:
    folder = write(tmp_path, sharded(SHARDS))
    (target,) = located(folder)
    (folder / "README.md").write_text("new")
    progress: list[int] = []
    with open_target(target, Settings()) as matrix:
        assert b"".join(bytes(block) for block in matrix.blocks(progress.append)) == OUTPUT.data
    assert (matrix.shape, matrix.dtype, sum(progress)) == ((6, 4), "F32", 96)


def test_a_folder_gone_after_planning_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", single(UNTIED))
    (target,) = located(folder)
    folder.rename(tmp_path / "away")
    with pytest.raises(NotThere) as caught:
        open_target(target, Settings())
    assert caught.value.reason == "not-found"


def test_one_call_opens_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "model", single(UNTIED))
    monkeypatch.chdir(tmp_path)
    for model in (tmp_path / "model", str(tmp_path / "model"), "model", "./model"):
        matrix = survey.open_matrix(model, "input")
        assert matrix.target.spec.bytes == ByteRange(
            matrix.target.spec.bytes.start, matrix.target.spec.bytes.start + 96
        )
        assert b"".join(bytes(block) for block in matrix.blocks()) == EMBEDDING.data
    with pytest.raises(NotOffered) as caught:
        survey.open_matrix(Path("absent"))
    assert (caught.value.reason, caught.value.where) == ("not-found", "absent")


def test_a_model_type_of_megabytes_names_nothing() -> None:
    config = {"model_type": "x" * 7_000_000, "architectures": ["y" * 1000]}
    checkpoint = HeldCheckpoint(single({"a.weight": stored(6, 4)}, config))
    with pytest.raises(NotThere, match="neither head nor embedding"):
        locate(lay_out(checkpoint), "output")
    checkpoint = HeldCheckpoint(single({"lm_head.weight": stored(6, 4)}, config))
    identity = locate(lay_out(checkpoint), "output").identity
    assert (identity.model_type, identity.architecture) == (None, None)


def test_a_head_for_far_fewer_than_the_tokens_is_for_something_else() -> None:
    tensors = {"model.embed_tokens.weight": stored(6, 4), "lm_head.weight": stored(1, 4, seed=1)}
    checkpoint = HeldCheckpoint(single(tensors, CONFIG | {"vocab_size": 6, "hidden_size": 4}))
    with pytest.raises(NotThere, match="has 1 rows, the config says 6 tokens") as caught:
        locate(lay_out(checkpoint), "output")
    assert caught.value.reason == "no-head"
    assert locate(lay_out(checkpoint), "input").spec.shape == (6, 4)


def test_a_config_in_a_folder_is_read_as_one_at_the_root_is() -> None:
    files = single({"lm_head.weight": stored(6, 4)})
    below = {f"final/{name}": content for name, content in files.items()}
    below["final/config.json"] = b'{"model_type": "llama", "model_type": "qwen2"}'
    checkpoint = HeldCheckpoint(below)
    assert locate(lay_out(checkpoint), "output").identity.model_type == "qwen2"
