"""Which of a repository's files are read: one copy of the weights, and the config that is theirs."""

import json
from pathlib import Path

import pytest
from support.checkpoints import CONFIG, INDEX, SINGLE, Stored, safetensors, sharded, single, stored, write
from support.llama_files import LLAMA, MISTRAL, STORED_EMBEDDING, STORED_HEAD, UNTIED_CONFIG, read

import survey
from jobs.demo.hub.local_hub import LocalHub
from survey.checkpoints.weight_files import find_weights
from survey.errors import NotThere, SurveyError

PARAMS = b'{"dim": 4, "vocab_size": 6}'
FIRST, SECOND, THIRD = (f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3))
PEFT = "base_model.model."
LORA = {f"{PEFT}model.layers.0.mlp.up_proj.lora_A.weight": stored(2, 4)}

# files beside config.json -> those that are read
CHOSEN: dict[str, tuple[list[str], list[str]]] = {
    "one file": ([SINGLE], [SINGLE]),
    "shards and their index": ([INDEX, FIRST, SECOND, THIRD], [INDEX]),
    "one file beside shards": ([SINGLE, INDEX, FIRST, SECOND, THIRD], [SINGLE]),
    "consolidated beside one file": ([SINGLE, "consolidated.safetensors"], [SINGLE]),
    "consolidated beside shards": ([INDEX, FIRST, SECOND, THIRD, "consolidated.safetensors"], [INDEX]),
    "consolidated beside shards without an index": (
        [FIRST, SECOND, THIRD, "consolidated.safetensors"],
        ["consolidated.safetensors"],
    ),
    "consolidated shards with their index": (
        ["consolidated-00001-of-00002.safetensors", "consolidated.safetensors.index.json"],
        ["consolidated.safetensors.index.json"],
    ),
    "an index of another precision": (
        ["model.fp16-00001-of-00001.safetensors", "model.safetensors.index.fp16.json"],
        ["model.safetensors.index.fp16.json"],
    ),
    "another name": (["gpt-tiny.safetensors"], ["gpt-tiny.safetensors"]),
    "another name beside an adapter": (
        ["weights.safetensors", "adapter_model.safetensors"],
        ["weights.safetensors"],
    ),
    "another name beside an optimizer": (
        ["weights.safetensors", "optimizer.safetensors"],
        ["weights.safetensors"],
    ),
    "shards without an index": ([FIRST, SECOND, THIRD], [FIRST, SECOND, THIRD]),
    "one shard of one": (["model-00001-of-00001.safetensors"], ["model-00001-of-00001.safetensors"]),
    "safetensors before pickles": (["pytorch_model.bin", "weights.safetensors"], ["weights.safetensors"]),
    "pickles before an adapter": (["adapter_model.safetensors", "pytorch_model.bin"], ["pytorch_model.bin"]),
    "pickled shards": (
        ["pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"],
        ["pytorch_model.bin.index.json"],
    ),
    "shards without an index beside another file": (
        [FIRST, SECOND, THIRD, "speech_tokenizer.safetensors"],
        [FIRST, SECOND, THIRD],
    ),
    "a pickled adapter": (["adapter_model.bin"], ["adapter_model.bin"]),
    "an adapter": (["adapter_model.safetensors"], ["adapter_model.safetensors"]),
    "two files side by side": (["a.safetensors", "b.safetensors"], ["a.safetensors", "b.safetensors"]),
    "files of two devices": (
        ["x-TP-000.safetensors", "x-TP-001.safetensors", "x-TP-common.safetensors"],
        ["x-TP-000.safetensors", "x-TP-001.safetensors", "x-TP-common.safetensors"],
    ),
    "shards before files of devices": ([FIRST, SECOND, THIRD, "rank0.safetensors"], [FIRST, SECOND, THIRD]),
    "the parts of one device": (["shard-00001-model-00001-of-00001.safetensors"],) * 2,
    "torch's distributed checkpoint": ([".metadata", "__0_0.distcp", "__1_0.distcp"], [".metadata"]),
    "Meta's own format": (["consolidated.00.pth", "consolidated.01.pth"],) * 2,
    "the root before a folder": ([SINGLE, f"original/{SINGLE}", "original/config.json"], [SINGLE]),
    "the only folder with weights": (["README.md", f"checkpoint/{SINGLE}"], [f"checkpoint/{SINGLE}"]),
    "the only folder with a config": (
        [f"onnx/{SINGLE}", f"model/{SINGLE}", "model/config.json"],
        [f"model/{SINGLE}"],
    ),
}


@pytest.mark.parametrize(("files", "read"), CHOSEN.values(), ids=CHOSEN)
def test_one_copy_is_chosen(files: list[str], read: list[str]) -> None:
    for order in (files, files[::-1]):
        weights = find_weights(["config.json", *order], "org/model")
        assert [weights.single or weights.index or "", *weights.shards][-len(read) :] == read
        assert weights.config in ("config.json", "model/config.json")
        assert (weights.folder != "") is ("/" in read[0])


REFUSED: dict[str, tuple[list[str], str, str]] = {
    "nothing": ([], "no-config", "no such file"),
    "a page alone": (["README.md"], "no-config", "no such file"),
    "a config alone": (["config.json"], "no-safetensors", "neither model.safetensors nor"),
    "ggml before GGUF": (
        ["config.json", "ggml-model-q4_0.bin"],
        "no-safetensors",
        r"older llama.cpp \(ggml-model-q4_0.bin\)",
    ),
    "a pickle of another name": (["config.json", "rwkv.pth"], "no-safetensors", "found rwkv.pth"),
    "a training checkpoint": (
        ["config.json", "last.ckpt", "x.pt"],
        "no-safetensors",
        "found last.ckpt, x.pt",
    ),
    "a shard's number of 5000 digits": (
        ["config.json", f"m-{'1' * 5000}-of-00002.safetensors", "b.safetensors"],
        "no-safetensors",
        "found b.safetensors",
    ),
    "many files that could all be it": (
        ["config.json", *(f"{letter}.safetensors" for letter in "abcdefghi")],
        "no-safetensors",
        "found a.safetensors, b.safetensors, c.safetensors",
    ),
    "shards of which one is missing": (["config.json", FIRST, THIRD], "no-safetensors", "found model-00001"),
    "two folders": (
        [f"{part}/{name}" for part in ("text_encoder", "unet") for name in ("config.json", SINGLE)],
        "no-safetensors",
        "several folders hold weights, and the root none → write the model's name, a colon and one of text_encoder, unet",
    ),
}


@pytest.mark.parametrize(("files", "reason", "problem"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_single_model_is_refused(files: list[str], reason: str, problem: str) -> None:
    with pytest.raises(NotThere, match=problem) as caught:
        find_weights(files, "org/model")
    assert caught.value.reason == reason


FOREIGN = {
    "iter_0001000/mp_rank_00/model_optim_rng.pt": "a Megatron-LM checkpoint",
    "release/mp_rank_01_003/model_optim_rng.pt": "a Megatron-LM checkpoint",
    "model_optim_rng.pt": "a Megatron-LM checkpoint",
    "global_step100/mp_rank_00_model_states.pt": "a DeepSpeed checkpoint",
    "global_step100/bf16_zero_pp_rank_3_mp_rank_00_optim_states.pt": "a DeepSpeed checkpoint",
    "global_step100/layer_01-model_00-model_states.pt": "a DeepSpeed checkpoint",
    "model_state.tp00.pdparams": "a PaddlePaddle checkpoint",
    "model.pdparams": "a PaddlePaddle checkpoint",
    "megatron.nemo": "a NeMo archive",
    "flax_model-00001-of-00002.msgpack": "a Flax checkpoint",
    "tf_model.h5": "a TensorFlow checkpoint",
    "__0_0.distcp": "that lacks its .metadata",
    "ggml-model-q4_0.bin": "a model for an older llama.cpp",
}


@pytest.mark.parametrize("config", [["config.json"], []], ids=["described", "alone"])
@pytest.mark.parametrize(("file", "what"), FOREIGN.items(), ids=FOREIGN)
def test_the_format_of_another_program_is_named_with_what_to_do(
    file: str, what: str, config: list[str]
) -> None:
    with pytest.raises(NotThere, match=what) as caught:
        find_weights([*config, file], "org/model")
    assert (caught.value.reason, f"({file})" in caught.value.problem) == ("no-safetensors", True)
    assert ": " in caught.value.problem  # and a remedy


@pytest.mark.parametrize("file", FOREIGN)
def test_the_format_of_another_program_beside_weights_is_passed_over(file: str) -> None:
    assert find_weights(["config.json", SINGLE, file], "org/model").single == SINGLE


NAMED: dict[str, tuple[str, list[str]]] = {
    "a folder": ("fp16", ["fp16/model.safetensors"]),
    "a folder in a folder": ("runs/last", ["runs/last/model-00001-of-00001.safetensors"]),
    "a file": ("fp16/model.safetensors", ["fp16/model.safetensors"]),
    "a file at the root": ("b.safetensors", ["b.safetensors"]),
    "a folder beside weights at the root": ("bf16", ["bf16/model.safetensors.index.json"]),
}
SEVERAL = [
    "config.json", "a.safetensors", "b.safetensors", "fp16/config.json", "fp16/model.safetensors", "notes/a.txt",
    "bf16/model.safetensors.index.json", "runs/last/model-00001-of-00001.safetensors", "runs/config.json",
]  # fmt: skip


@pytest.mark.parametrize(("part", "read"), NAMED.values(), ids=NAMED)
def test_of_several_the_one_that_is_named_is_read(part: str, read: list[str]) -> None:
    weights = find_weights(SEVERAL, "org/model", part)
    assert [weights.single or weights.index or "", *weights.shards][-len(read) :] == read
    nearest = {"fp16": "fp16/config.json", "runs": "runs/config.json"}
    assert weights.config == nearest.get(part.split("/")[0], "config.json")


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        pytest.param("fp8", "there is no such folder or file", id="nothing"),
        pytest.param("a", "there is no such folder or file", id="a-file-without-its-ending"),
        pytest.param("runs", "this folder holds no weights itself", id="a-folder-of-folders"),
        pytest.param("notes", "this folder holds no weights itself", id="a-folder-without-weights"),
        pytest.param("notes/a.txt", "is no file of weights that is read", id="a-text"),
    ],
)
def test_what_cannot_be_named_is_refused_with_what_can(part: str, problem: str) -> None:
    with pytest.raises(NotThere, match=problem) as caught:
        find_weights(SEVERAL, f"org/model:{part}", part)
    assert (caught.value.reason, caught.value.where) == ("no-safetensors", f"org/model:{part}")
    shown = "bf16, fp16, runs/last, a.safetensors, b.safetensors"
    assert caught.value.remedy == f"what may be named after the colon: {shown}"


SHARDS = sharded(
    [{"model.embed_tokens.weight": STORED_EMBEDDING}, {"lm_head.weight": STORED_HEAD}], UNTIED_CONFIG
)
OTHER: dict[str, Stored] = {"output.weight": stored(6, 4, seed=9), "tok_embeddings.weight": STORED_EMBEDDING}
# what a repository holds -> the file and the tensor that are read
REPOSITORIES: dict[str, tuple[dict[str, bytes], str, str]] = {
    "Mistral's own format": (
        {"params.json": PARAMS, "consolidated.safetensors": safetensors(MISTRAL)},
        "consolidated.safetensors",
        "output.weight",
    ),
    "shards and a consolidated copy": (
        SHARDS | {"params.json": PARAMS, "consolidated.safetensors": safetensors(OTHER)},
        "model-00002-of-00002.safetensors",
        "lm_head.weight",
    ),
    "shards without their index": (
        {name: content for name, content in SHARDS.items() if name != INDEX},
        "model-00002-of-00002.safetensors",
        "lm_head.weight",
    ),
    "a folder": (
        {f"final/{name}": content for name, content in single(LLAMA, UNTIED_CONFIG).items()},
        f"final/{SINGLE}",
        "lm_head.weight",
    ),
    "shards in a folder": (
        {f"final/{name}": content for name, content in SHARDS.items()},
        "final/model-00002-of-00002.safetensors",
        "lm_head.weight",
    ),
    "a folder and its config at the root": (
        {"config.json": json.dumps(UNTIED_CONFIG).encode(), f"weights/{SINGLE}": safetensors(LLAMA)},
        f"weights/{SINGLE}",
        "lm_head.weight",
    ),
    "an adapter with a head": (
        {
            "adapter_config.json": b'{"base_model_name_or_path": "org/base-7b"}',
            "adapter_model.safetensors": safetensors(LORA | {f"{PEFT}lm_head.weight": STORED_HEAD}),
        },
        "adapter_model.safetensors",
        f"{PEFT}lm_head.weight",
    ),
    "an adapter with a head, as early PEFT wrote it": (
        {
            "adapter_config.json": b"{}",
            "adapter_model.safetensors": safetensors(
                LORA | {f"{PEFT}lm_head.modules_to_save.weight": STORED_HEAD}
            ),
        },
        "adapter_model.safetensors",
        f"{PEFT}lm_head.modules_to_save.weight",
    ),
}


@pytest.mark.parametrize(("files", "file", "tensor"), REPOSITORIES.values(), ids=REPOSITORIES)
def test_it_is_read_from_a_folder_and_from_the_hub(
    files: dict[str, bytes], file: str, tensor: str, tmp_path: Path, hub: LocalHub
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
    hub.add_repo("org/model", files)
    opened = [
        survey.open_matrix(write(tmp_path, files)),
        survey.open_matrix("org/model", endpoint=hub.endpoint),
    ]
    for matrix in opened:
        assert (matrix.target.spec.file, matrix.target.spec.name) == (file, tensor)
        assert read(matrix) == STORED_HEAD.data
        assert not matrix.target.identity.tied


def refused(files: dict[str, bytes], folder: Path, matrix: str = "output") -> SurveyError:
    with pytest.raises(SurveyError) as caught:
        survey.open_matrix(write(folder, files), matrix)
    return caught.value


def adapter(tensors: dict[str, Stored], base: str = "org/base-7b") -> dict[str, bytes]:
    return {
        "adapter_config.json": json.dumps({"base_model_name_or_path": base}).encode(),
        "adapter_model.safetensors": safetensors(LORA | tensors),
    }


def test_an_adapter_without_a_head_names_its_base_model(tmp_path: Path) -> None:
    for number, matrix in enumerate(("output", "input")):
        error = refused(adapter({}), tmp_path / str(number), matrix)
        assert error.reason == "no-head"
        assert "an adapter for org/base-7b" in error.problem
        assert error.remedy == "survey org/base-7b"


def test_an_embedding_that_an_adapter_holds_never_stands_for_the_unembedding(tmp_path: Path) -> None:
    files = adapter({f"{PEFT}model.embed_tokens.weight": STORED_EMBEDDING})
    files["config.json"] = json.dumps(CONFIG | {"tie_word_embeddings": True}).encode()
    assert refused(files, tmp_path).reason == "no-head"
    embedding = survey.open_matrix(tmp_path, "input")
    assert (read(embedding), embedding.target.identity.tied) == (STORED_EMBEDDING.data, False)


def test_a_head_with_a_low_rank_update_is_not_the_models_head(tmp_path: Path) -> None:
    error = refused(
        adapter({f"{PEFT}lm_head.weight": STORED_HEAD, f"{PEFT}lm_head.lora_A.weight": stored(2, 4)}),
        tmp_path,
    )
    assert (error.reason, "low-rank update" in error.problem) == ("no-head", True)


def test_an_adapters_base_model_is_recorded(tmp_path: Path) -> None:
    files = adapter({f"{PEFT}lm_head.weight": STORED_HEAD}, base="meta-llama/Llama-3.1-8B")
    identity = survey.open_matrix(write(tmp_path, files)).target.identity
    assert (identity.base_model, identity.family) == ("meta-llama/Llama-3.1-8B", "Llama")


def test_mistrals_own_format_may_be_tied(tmp_path: Path) -> None:
    files = {
        "params.json": b'{"tied_embeddings": true}',
        "consolidated.safetensors": safetensors({"tok_embeddings.weight": STORED_EMBEDDING}),
    }
    identity = survey.open_matrix(write(tmp_path, files)).target.identity
    assert (identity.tensor, identity.tied, identity.tie_stated) == ("tok_embeddings.weight", True, True)


def test_an_encoder_alone_has_an_embedding_and_no_unembedding(tmp_path: Path) -> None:
    tensors = {"embeddings.word_embeddings.weight": STORED_EMBEDDING}
    files = single(tensors, {"model_type": "bert", "architectures": ["BertModel"]})
    assert refused(files, tmp_path).reason == "no-head"
    assert read(survey.open_matrix(tmp_path, "input")) == STORED_EMBEDDING.data


def test_a_change_in_an_inner_folder_changes_the_sha(tmp_path: Path) -> None:
    (tmp_path / "final").mkdir()
    files = {f"final/{name}": content for name, content in single(LLAMA, UNTIED_CONFIG).items()}
    before = survey.open_matrix(write(tmp_path, files)).target.identity.sha
    files["final/config.json"] += b" "
    assert survey.open_matrix(write(tmp_path, files)).target.identity.sha != before


def test_folders_beside_weights_are_not_looked_into(tmp_path: Path) -> None:
    before = survey.open_matrix(write(tmp_path, single(LLAMA, UNTIED_CONFIG))).target.identity.sha
    write(tmp_path / "checkpoint-10", single(LLAMA, UNTIED_CONFIG))
    assert survey.open_matrix(tmp_path).target.identity.sha == before
