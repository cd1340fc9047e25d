"""Unknown is not absent: a tensor or a file that may be a head is refused by name, whatever the config says."""

from __future__ import annotations

from typing import Any

import pytest
from support.checkpoints import EMBED, HEAD, Stored, single, stored
from support.layouts import (
    FULL,
    LAYERS,
    LLAMA,
    LLAMA_TIED,
    LLAMA_UNTIED,
    SQUARE,
    TABLE,
    VECTOR,
    D,
    Layout,
    V,
    chosen,
    refused,
)

# tensors beside the embedding -> the reason, and the tensor that the refusal names
UNKNOWN: dict[str, tuple[dict[str, tuple[int, ...]], str, str]] = {
    "another spelling": ({"LM_HEAD.weight": FULL}, "unknown-head", "LM_HEAD.weight"),
    "another ending": ({"lm_head.weights": FULL}, "unknown-head", "lm_head.weights"),
    "a bare parameter of another name": ({"lm_head_w": FULL}, "unknown-head", "lm_head_w"),
    "flax": ({"lm_head.kernel": (D, V)}, "unknown-head", "lm_head.kernel"),
    "transformer-lens": ({"unembed.W_U": (D, V), "unembed.b_U": (V,)}, "unknown-head", "unembed.W_U"),
    "a module in the head": ({"lm_head.proj.weight": FULL, "lm_head.norm.weight": VECTOR}, "unknown-head", "lm_head.proj.weight"),
    "weight normalisation": ({"lm_head.weight_g": (V, 1), "lm_head.weight_v": FULL}, "unknown-head", "lm_head.weight_g"),
    "a head of another tongue": ({"unembedder.weight": FULL}, "unknown-head", "unembedder.weight"),
    "what leaves the embedding": ({"output_embeddings.weight": FULL}, "unknown-head", "output_embeddings.weight"),
    "an output head": ({"model.output_head.weight": FULL}, "unknown-head", "model.output_head.weight"),
    "half of an output head": ({"model.output_head.weight": (V // 2, D)}, "unknown-head", "model.output_head.weight"),
    "a transposed output head": ({"model.output_head.weight": (D, V)}, "unknown-head", "model.output_head.weight"),
    "another beginning": ({"unemb.weight": (V // 3, D)}, "unknown-head", "unemb.weight"),
    "what leaves the table": ({"model.embed_tokens_out.weight": (V // 3, D)}, "unknown-head", "model.embed_tokens_out.weight"),
    "the end of a sequence by another name": ({"model.logits.0.weight": VECTOR, "model.logits.1.weight": (V + 8, D)}, "unknown-head", "model.logits.1.weight"),
    "any name in the embedding's shape": ({"model.zeta.weight": FULL}, "unknown-head", "model.zeta.weight"),
    "a head in a list": ({"modules.3.lm_head.weight": FULL}, "unknown-head", "modules.3.lm_head.weight"),
    "two that adapters trained": ({"lm_head.modules_to_save.a.weight": FULL, "lm_head.modules_to_save.b.weight": FULL}, "unknown-head", "lm_head.modules_to_save.a.weight"),
    "two that wrappers hold": ({"a.lm_head.weight": FULL, "b.lm_head.weight": FULL, "a.layers.0.x": VECTOR, "b.layers.0.x": VECTOR}, "unknown-head", "a.lm_head.weight and b.lm_head.weight"),
    "a list of heads": ({"lm_head.0.weight": FULL, "lm_head.1.weight": FULL}, "split-head", "lm_head.0.weight"),
    "a sequence that ends small": ({"lm_head.0.weight": FULL, "lm_head.3.weight": SQUARE}, "split-head", "lm_head.0.weight"),
    "new rows alone": ({"lm_head.new_embedding": (2, D)}, "split-head", "lm_head.new_embedding"),
    "a low-rank update": ({"lm_head.base_layer.weight": FULL, "lm_head.lora_A.default.weight": (2, D), "lm_head.lora_B.default.weight": (V, 2)}, "no-head", "lm_head.lora_A.default.weight"),
    "an update beside a plain head": ({HEAD: FULL, "lm_head.lora_A.weight": (2, D)}, "no-head", "lm_head.lora_A.weight"),
    "a mask beside a pruned head": ({HEAD: FULL, "lm_head.weight_mask": FULL}, "no-head", "lm_head.weight_mask"),
    "an update in blocks": ({HEAD: FULL, "lm_head.bone_block.default": (D, D)}, "no-head", "lm_head.bone_block.default"),
    "a kernel of an update": ({HEAD: FULL, "lm_head.c3a_kernel.default": (2, D)}, "no-head", "lm_head.c3a_kernel.default"),
    "an update of what is not there": ({"lm_head.lora_A.weight": (2, D)}, "no-head", "lm_head.lora_A.weight"),
    "two factors beside a plain head": ({HEAD: FULL, "lm_head_a.weight": (V, 2), "lm_head_b.weight": (2, D)}, "no-head", f"{HEAD} has an update that is not merged into it (lm_head_a.weight × lm_head_b.weight)"),
    "two bare factors in its module": ({HEAD: FULL, "lm_head.first": (D, 2), "lm_head.second": (2, V)}, "no-head", "lm_head.second × lm_head.first"),
    "one factor without the other": ({HEAD: FULL, "lm_head_a.weight": (V, 2)}, "unknown-head", f"lm_head_a.weight may change {HEAD}"),
    "two factors alone": ({"lm_head_a.weight": (V, 2), "lm_head_b.weight": (2, D)}, "unknown-head", "lm_head_a.weight (F32 [96, 2]) and lm_head_b.weight (F32 [2, 8]) look like two factors of a head"),
    "two bare factors": ({"lm_head_in": (D, 2), "lm_head_out": (2, V)}, "unknown-head", "look like two factors of a head"),
    "halves by rows": ({"lm_head_a.weight": (V // 2, D), "lm_head_b.weight": (V // 2, D)}, "unknown-head", "lm_head_a.weight (F32 [48, 8]) and lm_head_b.weight (F32 [48, 8]) look like pieces of a head"),
    "halves by columns": ({"lm_head_a.weight": (V, D // 2), "lm_head_b.weight": (V, D // 2)}, "unknown-head", "look like pieces of a head"),
    "a score": ({"score_head.weight": (1, D)}, "no-head", "score_head.weight"),
}  # fmt: skip


@pytest.mark.parametrize("config", [LLAMA_TIED, LLAMA_UNTIED, LLAMA], ids=["tied", "untied", "silent"])
@pytest.mark.parametrize(("tensors", "reason", "name"), UNKNOWN.values(), ids=UNKNOWN)
def test_a_possible_head_is_refused_by_name_whatever_the_config_says(
    tensors: dict[str, tuple[int, ...]], reason: str, name: str, config: dict[str, Any]
) -> None:
    files = Layout({EMBED: FULL, **tensors, **LAYERS}, config, "").files()
    error = refused(files)
    assert (error.reason, name in error.problem) == (reason, True), error
    embedding = chosen(files, "input")
    assert (embedding.spec.name, embedding.identity.tied) == (EMBED, False)


@pytest.mark.parametrize(
    ("inner", "reason", "name"),
    [
        ("lm_head.inner.weight", "unknown-head", "lm_head.inner.weight"),
        ("lm_head.codebooks", "quantised-head", "lm_head.codebooks"),
    ],
)
def test_integers_are_no_codes_beside_a_whole_matrix_in_floats(inner: str, reason: str, name: str) -> None:
    integers = ("lm_head.complement_map",)
    shape = FULL if reason == "unknown-head" else (4, D)
    tensors = {EMBED: FULL, inner: shape, integers[0]: (V,), **LAYERS}
    error = refused(Layout(tensors, LLAMA_TIED, "", integers=integers).files())
    assert (error.reason, name in error.problem) == (reason, True), error


def test_of_an_embedding_and_its_trained_copy_none_is_the_head() -> None:
    trained = "model.embed_tokens.modules_to_save.default.weight"
    tensors = {"model.embed_tokens.original_module.weight": FULL, trained: FULL, **LAYERS}
    files = Layout(tensors, LLAMA_TIED, "").files()
    error = refused(files)
    assert (error.reason, trained in error.problem) == ("unknown-head", True)
    assert chosen(files, "input").spec.name == trained


def test_a_static_embedding_is_an_input_and_no_output() -> None:
    files = single(
        {"embeddings": stored(*FULL)}, {"model_type": "model2vec", "architectures": ["StaticModel"]}
    )
    assert chosen(files, "input").spec.name == "embeddings"
    assert refused(files).reason == "no-head"


@pytest.mark.parametrize("config", [LLAMA_TIED, LLAMA_UNTIED, LLAMA], ids=["tied", "untied", "silent"])
@pytest.mark.parametrize("file", ["lm_head.safetensors", "lm_head.bin", "unembedding.pt"])
def test_a_file_named_like_a_head_is_refused(file: str, config: dict[str, Any]) -> None:
    files = {**single({EMBED: stored(*FULL)}, config), file: b"?"}
    error = refused(files)
    assert (error.reason, file in error.problem) == ("unknown-head", True)
    assert not chosen(files, "input").identity.tied
    assert (
        chosen({**single({EMBED: stored(*FULL), HEAD: stored(*FULL)}, config), file: b"?"}).spec.name == HEAD
    )


@pytest.mark.parametrize("file", ["medusa_lm_head.pt", "lm_head.md", "optimizer.bin", "visual_lm_head.bin"])
def test_other_files_say_nothing_of_a_head(file: str) -> None:
    assert chosen({**single({EMBED: stored(*FULL)}, LLAMA_TIED), file: b"?"}).identity.tied


@pytest.mark.parametrize(
    "file", ["onnx/lm_head.onnx", "lm_head.onnx", "coreml/lm_head.bin", "checkpoint-100/text_head.pt"]
)
def test_files_of_other_runtimes_and_folders_say_nothing_of_a_head(file: str) -> None:
    assert chosen({**single({EMBED: TABLE}, LLAMA_TIED), file: b"?"}).identity.tied


@pytest.mark.parametrize("name", ["LlamaForCausalLMEagle", "Eagle3Speculator", "MedusaModel"])
def test_a_draft_without_a_head_uses_that_of_another_model(name: str) -> None:
    error = refused(single({EMBED: stored(*FULL)}, LLAMA_TIED | {"architectures": [name]}))
    assert (error.reason, "draft" in error.problem) == ("no-head", True)


@pytest.mark.parametrize("name", ["Eagle2_5_VLForConditionalGeneration", "Eagle2ChatModel"])
def test_a_family_of_a_drafts_name_is_no_draft(name: str) -> None:
    target = chosen(single({EMBED: stored(*FULL)}, LLAMA_TIED | {"architectures": [name]}))
    assert (target.spec.name, target.identity.tied) == (EMBED, True)


LONG = 2000  # rows; a vocabulary of fewer than a thousand is not padded
PADDED = {"padded": (2048, D), "by eight": (2008, D), "transposed": (D, 2048)}
OTHERS = {"many more rows": (4000, D), "of no multiple": (2009, D), "another width": (2048, D // 2), "fewer": (1990, D)}  # fmt: skip


def beside_a_long_table(shape: tuple[int, ...], dtype: str = "F32", name: str = "model.zeta.weight") -> dict[str, bytes]:  # fmt: skip
    tensors = {EMBED: stored(LONG, D), name: stored(*shape, seed=1, dtype=dtype)}
    return single(tensors, LLAMA_TIED | {"vocab_size": LONG})


@pytest.mark.parametrize("shape", PADDED.values(), ids=PADDED)
def test_a_padded_matrix_of_any_name_is_not_passed_over(shape: tuple[int, ...]) -> None:
    error = refused(beside_a_long_table(shape, name="model.layer_norm_zeta.3.weight"))
    assert (error.reason, "model.layer_norm_zeta.3.weight" in error.problem) == ("unknown-head", True)


@pytest.mark.parametrize("shape", [shape for name, shape in OTHERS.items() if name != "fewer"], ids=str)
def test_other_lengths_are_not_padding(shape: tuple[int, ...]) -> None:
    name = "model.list.3.weight"  # of a list, in which parts of a head have other names
    assert chosen(beside_a_long_table(shape, name=name)).identity.tied


@pytest.mark.parametrize(("codes", "dtype"), [(1, "I8"), (2, "I8"), (4, "I32")])
def test_flat_codes_of_a_whole_matrix_are_not_passed_over(codes: int, dtype: str) -> None:
    error = refused(beside_a_long_table((LONG * D // codes, 1), dtype, "model.readout.weight"))
    assert (error.reason, "model.readout.weight" in error.problem) == ("quantised-head", True)


@pytest.mark.parametrize("length", [LONG, LONG * D // 3, 7])
def test_other_flat_integers_are_no_codes_of_a_matrix(length: int) -> None:
    assert chosen(beside_a_long_table((length,), "I32", "model.counts")).identity.tied


UNREAD = {
    "a layer's": ("model.layers.0.mlp.up.weight", (D, D)),
    "a norm's": ("model.output_norm.weight", (D,)),
    "a tower's": ("vision_tower.head.weight", (V, D + 1)),
    "a table's": ("model.embed_positions.weight", (V, D)),
}
UNREAD_HEADS = {
    "a head": ("lm_head.weight", (V, D), "unsupported-dtype"),
    "codes of a head": ("lm_head.weight", (V, D // 2), "unsupported-dtype"),
    "a module of a head": ("lm_head.dense.weight", (V, D // 4), "unknown-head"),
    "a hint": ("out.1.weight", (V * D // 16, 7), "unknown-head"),
    "a flat one": ("predictor.weight", (V * D // 2,), "unknown-head"),
    "a second table": ("model.zeta.weight", (V, D), "unknown-head"),
}


@pytest.mark.parametrize(("name", "shape"), UNREAD.values(), ids=UNREAD)
def test_an_unknown_dtype_is_no_matter_in_a_tensor_that_is_not_needed(
    name: str, shape: tuple[int, ...]
) -> None:
    unread = Stored("F5_E2M2", shape, bytes(3))
    assert chosen(single({EMBED: TABLE, name: unread}, LLAMA_TIED)).identity.tied
    untied = chosen(single({EMBED: unread, HEAD: TABLE, name: unread}, LLAMA_UNTIED))
    assert (untied.spec.name, untied.identity.tied) == (HEAD, False)


@pytest.mark.parametrize("config", [LLAMA_TIED, LLAMA_UNTIED, LLAMA], ids=["tied", "untied", "silent"])
@pytest.mark.parametrize(("name", "shape", "reason"), UNREAD_HEADS.values(), ids=UNREAD_HEADS)
def test_a_possible_head_of_an_unknown_dtype_is_refused_by_name(
    name: str, shape: tuple[int, ...], reason: str, config: dict[str, Any]
) -> None:
    files = single({EMBED: TABLE, name: Stored("F5_E2M2", shape, bytes(3))}, config)
    error = refused(files)
    assert (error.reason, name in error.problem, "F5_E2M2" in error.problem) == (reason, True, True), error
    embedding = chosen(files, "input")
    assert (embedding.spec.name, embedding.identity.tied) == (EMBED, False)
