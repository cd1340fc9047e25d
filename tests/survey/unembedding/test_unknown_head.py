"""Unknown is not absent: layouts of whole checkpoints, and what is right about each of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.checkpoints import INDEX, Stored, safetensors, single, stored, with_length
from support.in_memory_checkpoint import HeldCheckpoint

from survey.errors import SurveyError
from survey.onepass.layout import row_blocks
from survey.records.target import MatrixName, Target
from survey.sharding.pieces import stream_rows
from survey.targets.layout import lay_out
from survey.targets.locate import locate

V, D = 96, 8
FULL, SQUARE, VECTOR = (V, D), (D, D), (D,)
LLAMA = {"model_type": "llama", "vocab_size": V, "hidden_size": D}
TIED, UNTIED = LLAMA | {"tie_word_embeddings": True}, LLAMA | {"tie_word_embeddings": False}
EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
LAYER = {"model.layers.0.self_attn.q_proj.weight": SQUARE}


@dataclass(frozen=True)
class Layout:
    """Names and shapes of a checkpoint, its config, and the tensors that are right.

    tied: of the output. integers: names that hold codes.
    """

    tensors: Mapping[str, tuple[int, ...]]
    config: Mapping[str, Any]
    output: str
    input: str = EMBED
    tied: bool = False
    integers: tuple[str, ...] = field(default=())

    def files(self) -> dict[str, bytes]:
        held = {
            name: stored(*shape, seed=seed, dtype="I8" if name in self.integers else "F32")
            for seed, (name, shape) in enumerate(self.tensors.items())
        }
        return single(held, self.config)


def found(files: Mapping[str, bytes], matrix: MatrixName = "output") -> Target:
    checkpoint = HeldCheckpoint(files)
    return locate(lay_out(checkpoint), matrix)


def refused(files: Mapping[str, bytes], matrix: MatrixName = "output") -> SurveyError:
    with pytest.raises(SurveyError) as caught:
        found(files, matrix)
    return caught.value


def below(prefix: str, *names: str) -> dict[str, tuple[int, ...]]:
    """An untied model whose names all begin so."""
    held = dict.fromkeys(names, FULL)
    return {prefix + name: shape for name, shape in {**held, **LAYER}.items()}


MEASURED = {
    # wrappers that no list names
    "compiled": Layout(below("_orig_mod.", EMBED, HEAD), UNTIED, f"_orig_mod.{HEAD}", f"_orig_mod.{EMBED}"),
    "distributed": Layout(below("module.", EMBED, HEAD), UNTIED, f"module.{HEAD}", f"module.{EMBED}"),
    "an adapter inside": Layout(
        below("llm.base_model.model.", EMBED, HEAD),
        UNTIED,
        f"llm.base_model.model.{HEAD}",
        f"llm.base_model.model.{EMBED}",
    ),
    "a wrapper that nobody has heard of": Layout(below("zeta.eta.", EMBED, HEAD), UNTIED, f"zeta.eta.{HEAD}", f"zeta.eta.{EMBED}"),
    "moondream": Layout(
        {"model.text.wte": FULL, "model.text.lm_head.weight": FULL, "model.text.blocks.0.attn.qkv.weight": SQUARE, "model.vision.pos_emb": (1, 4, D)},
        {"model_type": "moondream1"},
        "model.text.lm_head.weight",
        "model.text.wte",
    ),
    "ernie's own body": Layout({"ernie.embed_tokens.weight": FULL, HEAD: FULL, "ernie.layers.0.mlp.weight": SQUARE}, UNTIED, HEAD, "ernie.embed_tokens.weight"),
    "voxtral in mistral's format": Layout(
        {"mm_whisper_embeddings.tok_embeddings.weight": FULL, "output.weight": FULL, "layers.0.attention.wq.weight": SQUARE},
        {"dim": D, "vocab_size": V},
        "output.weight",
        "mm_whisper_embeddings.tok_embeddings.weight",
    ),
    # names
    "gpt-oss of its authors": Layout(
        {"embedding.weight": FULL, "unembedding.weight": FULL, "block.0.attn.norm.scale": VECTOR, "norm.scale": VECTOR},
        {"vocab_size": V, "hidden_size": D},
        "unembedding.weight",
        "embedding.weight",
    ),
    "openelm": Layout(
        {"transformer.token_embeddings.weight": FULL, "transformer.layers.0.attn.qkv_proj.weight": SQUARE},
        {"model_type": "openelm", "vocab_size": V, "model_dim": D, "share_input_output_layers": True},
        "transformer.token_embeddings.weight",
        "transformer.token_embeddings.weight",
        tied=True,
    ),
    "a head that ends a sequence": Layout(
        {"esmc.embed.weight": FULL, "lm_head.0.weight": SQUARE, "lm_head.0.bias": VECTOR, "lm_head.2.weight": VECTOR, "lm_head.3.weight": FULL, "lm_head.3.bias": (V,)},
        {"model_type": "esmc", "vocab_size": V, "hidden_size": D},
        "lm_head.3.weight",
        "esmc.embed.weight",
    ),
    "the same in esm-3": Layout(
        {"encoder.sequence_embed.weight": FULL, "output_heads.sequence_head.0.weight": SQUARE, "sequence_head.0.weight": SQUARE, "sequence_head.3.weight": FULL, "transformer.blocks.0.attn.weight": SQUARE},
        {"vocab_size": V, "d_model": D},
        "sequence_head.3.weight",
        "encoder.sequence_embed.weight",
    ),
    # adapters
    "a head that an adapter trained": Layout(
        {EMBED: FULL, "lm_head.original_module.weight": FULL, "lm_head.modules_to_save.default.weight": FULL, **LAYER},
        TIED,
        "lm_head.modules_to_save.default.weight",
    ),
    "the same by another name": Layout({EMBED: FULL, "lm_head.original_module.weight": FULL, "lm_head.modules_to_save.mine.weight": FULL}, UNTIED, "lm_head.modules_to_save.mine.weight"),
    "a head beside which nothing was trained": Layout({EMBED: FULL, "lm_head.base_layer.weight": FULL}, TIED, "lm_head.base_layer.weight"),
    "an embedding beside which nothing was trained": Layout({"model.embed_tokens.base_layer.weight": FULL}, TIED, "model.embed_tokens.base_layer.weight", "model.embed_tokens.base_layer.weight", tied=True),
    "a head that a compiler wrapped": Layout({EMBED: FULL, "lm_head._orig_mod.weight": FULL, **LAYER}, TIED, "lm_head._orig_mod.weight"),
    "a head that was wrapped twice": Layout({"model.embed_tokens._checkpoint_wrapped_module.weight": FULL, "lm_head._fsdp_wrapped_module.module.weight": FULL, **LAYER}, UNTIED, "lm_head._fsdp_wrapped_module.module.weight", "model.embed_tokens._checkpoint_wrapped_module.weight"),
    "integers that are made of an embedding": Layout({EMBED: FULL, "model.embed_tokens.weight_integer": FULL, **LAYER}, TIED, EMBED, tied=True),
    # what looks like a head and is none
    "a table of positions of the same size": Layout({EMBED: FULL, "model.embed_positions.weight": FULL}, TIED, EMBED, tied=True),
    "tables for each layer": Layout({EMBED: FULL, "model.embed_tokens_per_layer.weight": FULL}, TIED, EMBED, tied=True),
    "the head of a draft": Layout({EMBED: FULL, "model.mtp.lm_head.weight": FULL, "medusa_head.0.1.weight": FULL}, TIED, EMBED, tied=True),
    "a second head in a layer": Layout({EMBED: FULL, "model.layers.9.shared_head.head.weight": FULL, "model.layers.9.embed_tokens.weight": FULL}, TIED, EMBED, tied=True),
    "towers": Layout({EMBED: FULL, "vision_tower.head.weight": (10, D), "audio_tower.output.weight": (V, 4), "talker.lm_head.weight": (V // 2, D)}, TIED, EMBED, tied=True),
    "what a head does before": Layout({"bert.embeddings.word_embeddings.weight": FULL, "cls.predictions.transform.dense.weight": SQUARE, "lm_head.dense.weight": SQUARE, "lm_head.layer_norm.weight": VECTOR}, LLAMA | {"model_type": "bert"}, "bert.embeddings.word_embeddings.weight", "bert.embeddings.word_embeddings.weight", tied=True),
    "outputs of attention": Layout({EMBED: FULL, "model.layers.0.attn.output.weight": SQUARE, "model.output_layer_norm.weight": VECTOR}, TIED, EMBED, tied=True),
    "codes of layers": Layout({EMBED: FULL, "model.layers.0.mlp.trellis": (4, 4), "model.layers.0.mlp.svh": VECTOR}, TIED, EMBED, tied=True),
}  # fmt: skip

QUANTISED = {
    "exl3": ["lm_head.trellis", "lm_head.suh", "lm_head.svh", "lm_head.mul1"],
    "torchao": ["lm_head._weight_qdata", "lm_head._weight_scale", "lm_head._weight_zero_point"],
    "torchao's later names": ["lm_head.weight:qdata", "lm_head.weight:scale"],
    "eetq": ["lm_head.q_weight", "lm_head.weight_scales"],
    "compressed-tensors": ["lm_head.weight_packed", "lm_head.weight_scale", "lm_head.weight_shape"],
    "gptq": ["lm_head.qweight", "lm_head.qzeros", "lm_head.scales", "lm_head.g_idx"],
    "the next one": ["lm_head.codes_v2.codes", "lm_head.codes_v2.lut"],
    "codes without a module": ["lm_head_qweight"],
    "integers of an unknown name": ["lm_head.w_int8", "lm_head.b_int8"],
    "indices and centroids": ["lm_head.vq_indices", "lm_head.vq_codes"],
    "a scale alone": ["lm_head.weight_scale"],
    "an output layer": ["output.qweight", "output.scales"],
    "by a name that no list has": ["final_output.trellis", "final_output.svh"],
}

IN_ONE_MODULE = [
    names for names in QUANTISED.values() if all(re.fullmatch(r"lm_head\.[^.]+", name) for name in names)
]

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
    "an update of what is not there": ({"lm_head.lora_A.weight": (2, D)}, "no-head", "lm_head.lora_A.weight"),
    "a score": ({"score_head.weight": (1, D)}, "no-head", "score_head.weight"),
}  # fmt: skip


@pytest.mark.parametrize("layout", MEASURED.values(), ids=MEASURED)
def test_each_matrix_is_found(layout: Layout) -> None:
    target = found(layout.files())
    assert (target.spec.name, target.identity.tied) == (layout.output, layout.tied)
    assert found(layout.files(), "input").spec.name == layout.input


@pytest.mark.parametrize("config", [TIED, UNTIED, LLAMA], ids=["tied", "untied", "silent"])
@pytest.mark.parametrize(("tensors", "reason", "name"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_may_be_a_head_is_refused_by_name_whatever_the_config_says(
    tensors: dict[str, tuple[int, ...]], reason: str, name: str, config: dict[str, Any]
) -> None:
    files = Layout({EMBED: FULL, **tensors, **LAYER}, config, "").files()
    error = refused(files)
    assert (error.reason, name in error.problem) == (reason, True), error
    embedding = found(files, "input")
    assert (embedding.spec.name, embedding.identity.tied) == (EMBED, False)


@pytest.mark.parametrize("config", [TIED, UNTIED, LLAMA], ids=["tied", "untied", "silent"])
@pytest.mark.parametrize("names", QUANTISED.values(), ids=QUANTISED)
def test_codes_are_known_by_what_lies_beside_them(names: list[str], config: dict[str, Any]) -> None:
    codes = dict.fromkeys(names, (V // 2, 2 * D))
    files = Layout({EMBED: FULL, **codes, **LAYER}, config, "", integers=tuple(names)).files()
    error = refused(files)
    assert error.reason == "quantised-head"
    assert any(name in error.problem for name in names)
    assert not found(files, "input").identity.tied


@pytest.mark.parametrize(
    "beside", [{}, {"encoder.embed_tokens.weight": FULL}, {HEAD: FULL}], ids=["alone", "another", "head"]
)
@pytest.mark.parametrize("names", IN_ONE_MODULE, ids=str)
def test_an_embedding_in_codes_makes_nothing_else_the_matrix(
    names: list[str], beside: dict[str, tuple[int, ...]]
) -> None:
    codes = {name.replace("lm_head", "model.embed_tokens"): (V // 2, 2 * D) for name in names}
    files = Layout({**codes, **beside, **LAYER}, TIED, "", integers=tuple(codes)).files()
    assert refused(files, "input").reason == "quantised-head"
    if HEAD in beside:
        assert not found(files).identity.tied
    else:
        assert refused(files).reason == "quantised-head"


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
@pytest.mark.parametrize(
    ("matrix", "name"),
    [
        ("output", "lm_head.additional_fc.weight"),
        ("output", "lm_head.new_weight"),
        ("input", "model.embed_tokens.additional_embedding.weight"),
        ("input", "model.embed_tokens.new_embedding"),
    ],
)
def test_rows_that_are_kept_apart_follow_the_others(matrix: MatrixName, name: str, dtype: str) -> None:
    tensors = {EMBED: stored(*FULL), HEAD: stored(*FULL, seed=1), name: stored(2, D, dtype=dtype, seed=2)}
    files = single(tensors, UNTIED)
    if dtype != "F32":  # of two dtypes there is no one matrix
        assert refused(files, matrix).reason == "split-head"
        return
    target = found(files, matrix)
    first = HEAD if matrix == "output" else EMBED
    assert (target.spec.name, target.spec.shape) == (first, (V + 2, D))
    rows = b"".join(
        bytes(block) for block in stream_rows(HeldCheckpoint(files), target.spec, row_blocks(target.spec))
    )
    assert rows == tensors[first].data + tensors[name].data


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize(
    "name",
    [
        "lm_head.weight_extra",
        "lm_head.second.weight",
        "new_lm_head.weight",
        "model.embed_tokens.weight_2",
        "model.extra_embeddings.weight",
    ],
)
def test_rows_that_are_kept_apart_are_never_dropped(name: str, tied: bool) -> None:
    tensors = {EMBED: FULL, name: (2, D), **LAYER}
    if not tied or "head" in name:
        tensors[HEAD] = FULL
    files = Layout(tensors, TIED if tied else UNTIED, "").files()
    of_head = HEAD in name or "lm_head" in name
    for matrix in ("output", "input"):
        concerned = (tied and HEAD not in tensors) or of_head is (matrix == "output")
        if concerned:
            error = refused(files, matrix)
            assert (error.reason, name in error.problem) == ("split-head", True)
        else:
            assert found(files, matrix).spec.name == (HEAD if matrix == "output" else EMBED)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        pytest.param("lm_head.dense.weight", SQUARE, id="a-layer-before"),
        pytest.param("lm_head.bias", (V,), id="a-bias"),
        pytest.param("model.new_norm.weight", VECTOR, id="a-norm"),
        pytest.param("model.embeddings.position_embeddings.weight", (4, D), id="positions"),
        pytest.param("model.new_embeddings.weight", (2, 2 * D), id="another-width"),
        pytest.param("vision_tower.extra_embeddings.weight", (2, D), id="a-tower"),
        pytest.param("model.layers.0.new_embeddings.weight", (2, D), id="a-layer"),
    ],
)
def test_what_lies_beside_a_matrix_is_no_more_of_it(name: str, shape: tuple[int, ...]) -> None:
    files = Layout({EMBED: FULL, HEAD: FULL, name: shape, **LAYER}, UNTIED, "").files()
    assert [found(files, matrix).spec.name for matrix in ("output", "input")] == [HEAD, EMBED]


def test_of_an_embedding_and_its_trained_copy_none_is_the_head() -> None:
    trained = "model.embed_tokens.modules_to_save.default.weight"
    tensors = {"model.embed_tokens.original_module.weight": FULL, trained: FULL, **LAYER}
    files = Layout(tensors, TIED, "").files()
    error = refused(files)
    assert (error.reason, trained in error.problem) == ("unknown-head", True)
    assert found(files, "input").spec.name == trained


@pytest.mark.parametrize("rest", ["lora_embedding_A.default", "token_adapter.trainable_tokens_delta.default"])
@pytest.mark.parametrize("matrix", ["output", "input"])
def test_an_update_of_the_embedding_is_refused_on_both_sides(rest: str, matrix: MatrixName) -> None:
    tensors = {"model.embed_tokens.base_layer.weight": FULL, f"model.embed_tokens.{rest}": (2, V), **LAYER}
    error = refused(Layout(tensors, TIED, "").files(), matrix)
    assert (error.reason, rest in error.problem) == ("no-head", True)


def test_a_static_embedding_is_an_input_and_no_output() -> None:
    files = single(
        {"embeddings": stored(*FULL)}, {"model_type": "model2vec", "architectures": ["StaticModel"]}
    )
    assert found(files, "input").spec.name == "embeddings"
    assert refused(files).reason == "no-head"


@pytest.mark.parametrize("config", [TIED, UNTIED, LLAMA], ids=["tied", "untied", "silent"])
@pytest.mark.parametrize("file", ["lm_head.safetensors", "lm_head.bin", "unembedding.pt"])
def test_a_file_by_a_heads_name_is_not_passed_over(file: str, config: dict[str, Any]) -> None:
    files = {**single({EMBED: stored(*FULL)}, config), file: b"?"}
    error = refused(files)
    assert (error.reason, file in error.problem) == ("unknown-head", True)
    assert not found(files, "input").identity.tied
    assert (
        found({**single({EMBED: stored(*FULL), HEAD: stored(*FULL)}, config), file: b"?"}).spec.name == HEAD
    )


@pytest.mark.parametrize("file", ["medusa_lm_head.pt", "lm_head.md", "optimizer.bin", "visual_lm_head.bin"])
def test_other_files_say_nothing_of_a_head(file: str) -> None:
    assert found({**single({EMBED: stored(*FULL)}, TIED), file: b"?"}).identity.tied


@pytest.mark.parametrize("name", ["LlamaForCausalLMEagle", "Eagle3Speculator", "MedusaModel"])
def test_a_draft_without_a_head_uses_that_of_another_model(name: str) -> None:
    error = refused(single({EMBED: stored(*FULL)}, TIED | {"architectures": [name]}))
    assert (error.reason, "draft" in error.problem) == ("no-head", True)


# ---- shapes

CONFIGS = {
    "gpt-2": {"vocab_size": V, "n_embd": D},
    "t5": {"vocab_size": V, "d_model": D},
    "mistral's own": {"vocab_size": V, "dim": D},
    "openelm": {"vocab_size": V, "model_dim": D},
    "chatglm": {"padded_vocab_size": V, "hidden_size": D},
    "multimodal": {"text_config": {"vocab_size": V, "hidden_size": D}, "vision_config": {"hidden_size": 4}},
    "internvl": {"llm_config": {"vocab_size": V, "hidden_size": D}},
    "deepseek-vl": {"language_config": {"vocab_size": V, "hidden_size": D}},
    "deeply nested": {"model": {"vocab_size": V, "text_config": {"vocab_size": V, "hidden_size": D}}},
    "width outside": {"hidden_size": D, "text_config": {"vocab_size": V}},
    "nothing": {},
}
SHAPES = {
    "transposed": (D, V),
    "one row": (1, D),
    "half": (V // 2, D),
    "a third": (V // 3, D),
    "three quarters": (3 * V // 4, D),
    "one dimension": (V,),
    "no rows": (0, D),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_shape_that_is_not_the_whole_matrix_is_refused(
    shape: tuple[int, ...], config: dict[str, Any]
) -> None:
    files = Layout({"transformer.wte.weight": FULL, HEAD: shape, **LAYER}, config, "").files()
    error = refused(files)
    assert (error.reason, HEAD in error.problem) == ("no-head", True)


@pytest.mark.parametrize("config", [config for name, config in CONFIGS.items() if name != "nothing"], ids=str)
def test_half_of_the_columns_is_not_enough(config: dict[str, Any]) -> None:
    files = Layout({"transformer.wte.weight": FULL, HEAD: (V, D // 2)}, config, "").files()
    assert "4 columns, the config says 8" in refused(files).problem


@pytest.mark.parametrize(
    ("shape", "config"),
    [
        pytest.param((V + 32, D), LLAMA, id="padding"),
        pytest.param((V, D // 2), LLAMA | {"word_embed_proj_dim": D // 2}, id="a-narrow-embedding"),
        pytest.param((V, D), LLAMA | {"audio_config": {"vocab_size": 9 * V, "hidden_size": D}}, id="a-tower"),
        pytest.param((V, D), {"vocab_size": "many", "hidden_size": [D]}, id="a-config-of-other-types"),
        pytest.param((V - 4, D), {}, id="rows-for-images-in-the-embedding"),
    ],
)
def test_other_shapes_are_measured(shape: tuple[int, ...], config: dict[str, Any]) -> None:
    assert found(Layout({EMBED: FULL, HEAD: shape, **LAYER}, config, "").files()).spec.shape == shape


# ---- the index is a claim

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
TABLE, OUTPUT, NORM = stored(*FULL), stored(*FULL, seed=1), stored(D, seed=2)


def shards(
    claimed: Mapping[str, str], config: Mapping[str, Any], **held: Mapping[str, Stored]
) -> dict[str, bytes]:
    files = {FIRST: safetensors(held["first"]), SECOND: safetensors(held["second"])}
    files["config.json"] = json.dumps(config).encode()
    return {**files, INDEX: json.dumps({"weight_map": dict(claimed)}).encode()}


@pytest.mark.parametrize("config", [TIED, UNTIED, LLAMA], ids=["tied", "untied", "silent"])
@pytest.mark.parametrize(
    "listed", [{FIRST, SECOND}, {FIRST}], ids=["its-shard-listed", "its-shard-not-listed"]
)
def test_a_head_that_the_index_omits_is_found_in_its_shard(config: dict[str, Any], listed: set[str]) -> None:
    claimed = {
        name: file for name, file in {EMBED: FIRST, "model.norm.weight": SECOND}.items() if file in listed
    }
    files = shards(claimed, config, first={EMBED: TABLE}, second={HEAD: OUTPUT, "model.norm.weight": NORM})
    target = found(files)
    assert (target.spec.name, target.spec.file, target.identity.tied) == (HEAD, SECOND, False)
    assert not found(files, "input").identity.tied


def test_a_head_that_no_shard_holds_is_tied_where_the_config_says_so() -> None:
    claimed = {EMBED: FIRST, HEAD: SECOND, "model.norm.weight": SECOND}
    held = {"first": {EMBED: TABLE}, "second": {"model.norm.weight": NORM}}
    target = found(shards(claimed, TIED, **held))
    assert (target.spec.name, target.identity.tied) == (EMBED, True)
    for config in (UNTIED, LLAMA):
        assert refused(shards(claimed, config, **held)).reason == "index-mismatch"


def test_an_embedding_that_no_shard_holds_is_tied_to_the_head() -> None:
    claimed = {EMBED: SECOND, HEAD: SECOND, "model.norm.weight": FIRST}
    files = shards(claimed, TIED, first={"model.norm.weight": NORM}, second={HEAD: OUTPUT})
    for matrix in ("output", "input"):
        target = found(files, matrix)
        assert (target.spec.name, target.identity.tied) == (HEAD, True)


def test_without_a_shard_nobody_knows_whether_there_is_a_head() -> None:
    files = shards({EMBED: FIRST, "model.norm.weight": SECOND}, TIED, first={EMBED: TABLE}, second={})
    del files[SECOND]
    error = refused(files)
    assert error.reason == "index-mismatch"
    assert SECOND in error.where


def test_an_unknown_head_that_the_index_omits_is_refused() -> None:
    claimed = {EMBED: FIRST, "model.norm.weight": SECOND}
    held = {"first": {EMBED: TABLE}, "second": {"unembedder.weight": OUTPUT, "model.norm.weight": NORM}}
    assert refused(shards(claimed, TIED, **held)).reason == "unknown-head"


@pytest.mark.parametrize("indexed", [False, True], ids=["no-index", "an-index-that-names-neither"])
def test_a_name_that_two_shards_hold_is_not_chosen_silently(indexed: bool) -> None:
    held = {"first": {EMBED: TABLE, HEAD: OUTPUT}, "second": {HEAD: TABLE, "model.norm.weight": NORM}}
    files = shards({EMBED: FIRST, "model.norm.weight": SECOND}, UNTIED, **held)
    if not indexed:
        del files[INDEX]
    error = refused(files)
    assert (error.reason, HEAD in error.problem) == ("index-mismatch", True)
    assert found(files, "input").spec.name == EMBED if not indexed else True


def test_the_index_decides_between_two_shards() -> None:
    held = {"first": {EMBED: TABLE, HEAD: OUTPUT}, "second": {HEAD: TABLE}}
    assert found(shards({EMBED: FIRST, HEAD: SECOND}, UNTIED, **held)).spec.file == SECOND


def test_nothing_more_is_read_where_the_index_names_both() -> None:
    held = {"first": {EMBED: TABLE}, "second": {HEAD: OUTPUT}}
    checkpoint = HeldCheckpoint(shards({EMBED: FIRST, HEAD: SECOND}, UNTIED, **held))
    locate(lay_out(checkpoint), "output")
    assert [file for file, _ in checkpoint.read] == ["config.json", INDEX, SECOND]


RIVALS: dict[str, tuple[str, MatrixName, str]] = {
    "a head in another wrapper": ("ema.lm_head.weight", "output", "unknown-head"),
    "a head of another name": ("unembed.weight", "output", "unknown-head"),
    "rows of the head": ("lm_head_special.weight", "output", "split-head"),
    "an embedding in another wrapper": ("ema.model.embed_tokens.weight", "input", "unknown-head"),
    "rows of the embedding": ("model.special_embeddings.weight", "input", "split-head"),
}
NO_RIVALS = ["vision_tower.head.weight", "model.embed_positions.weight", "mtp.lm_head.weight", "encoder.norm.weight",
             "model.embed_tokens_per_layer.weight", "lm_head.bias"]  # fmt: skip


@pytest.mark.parametrize(("name", "matrix", "reason"), RIVALS.values(), ids=RIVALS.keys())
def test_a_rival_in_a_shard_that_need_not_be_read_is_seen(name: str, matrix: MatrixName, reason: str) -> None:
    claimed = {EMBED: FIRST, HEAD: FIRST, name: SECOND, "ema.model.layers.0.mlp.up.weight": SECOND}
    layer = {"ema.model.layers.0.mlp.up.weight": stored(*SQUARE)}
    held = {"first": {EMBED: TABLE, HEAD: OUTPUT}, "second": {name: stored(*FULL, seed=3), **layer}}
    error = refused(shards(claimed, UNTIED, **held), matrix)
    assert (error.reason, name in error.problem) == (reason, True)
    # of another size, or in the index alone, it is none
    held["second"] = {name: stored(4, 3), **layer}
    assert found(shards(claimed, UNTIED, **held), matrix).spec.file == FIRST
    held["second"] = layer
    assert found(shards(claimed, UNTIED, **held), matrix).spec.file == FIRST
    # and nobody knows what a file that is not there holds
    files = shards(claimed, UNTIED, **held)
    del files[SECOND]
    assert refused(files, matrix).reason == "index-mismatch"


@pytest.mark.parametrize("name", NO_RIVALS)
def test_what_is_no_rival_by_its_name_costs_no_request(name: str) -> None:
    held = {"first": {EMBED: TABLE, HEAD: OUTPUT}, "second": {name: NORM}}
    checkpoint = HeldCheckpoint(shards({EMBED: FIRST, HEAD: FIRST, name: SECOND}, UNTIED, **held))
    layout = lay_out(checkpoint)
    for matrix in ("output", "input"):
        locate(layout, matrix)
    assert [file for file, _ in checkpoint.read] == ["config.json", INDEX, FIRST]


# ---- names that a file's metadata gives


def noted(
    tensors: Mapping[str, Stored], metadata: Mapping[str, str], config: Mapping[str, Any]
) -> dict[str, bytes]:
    plain = safetensors(tensors)
    length = int.from_bytes(plain[:8], "little")
    entries = {"__metadata__": dict(metadata), **json.loads(plain[8 : 8 + length])}
    content = with_length(json.dumps(entries).encode()) + plain[8 + length :]
    return {"config.json": json.dumps(config).encode(), "model.safetensors": content}


@pytest.mark.parametrize(
    "config", [TIED, UNTIED, LLAMA, {"model_type": "gpt2"}], ids=["tied", "untied", "silent", "gpt-2"]
)
@pytest.mark.parametrize(
    ("kept", "left_out"), [(HEAD, EMBED), (EMBED, HEAD)], ids=["head-kept", "embedding-kept"]
)
def test_save_model_notes_the_name_that_it_leaves_out(
    kept: str, left_out: str, config: dict[str, Any]
) -> None:
    files = noted({kept: OUTPUT}, {"format": "pt", left_out: kept}, config)
    for matrix in ("output", "input"):
        target = found(files, matrix)
        assert (target.spec.name, target.identity.tensor, target.identity.tied) == (kept, kept, True)


@pytest.mark.parametrize(
    "metadata", [{"format": "pt"}, {HEAD: "model.norm.weight.absent"}, {EMBED: EMBED}], ids=str
)
def test_other_metadata_names_nothing(metadata: dict[str, str]) -> None:
    assert refused(noted({EMBED: TABLE}, metadata, UNTIED)).reason == "no-head"


# ---- a second table of the vocabulary, whatever it is called

SECOND_TABLES = """
    tail.1.weight final.1.weight logits.0.weight generator.1.weight model.layers.33.weight
    pipeline.9.linear.weight sequential.45.final_linear.weight model.layers.33.final.weight
    output_projector.weight model.lm_head_projector.weight model.diffusion_head.weight codec_lm_head.weight
    image_text_head.weight lm_head.dense.weight lm_head.transform.weight lm_head_norm.weight
    lm_head.out_norm.weight normhead.weight unbiased_lm_head.weight flora_head.weight dense.weight
    output_dense.weight output_emb.weight logits_emb.weight tgt_emb softmax_embedding.weight
    decoder_embedding.weight target_embed.weight token_out.weight final_w.weight emb_out.weight emb_head.weight
    vocab.weight wte_out.weight model.tok_logits.weight
""".split()  # noqa: SIM905 - words
LISTED_LAYERS = {f"model.layers.{number}.mlp.up_proj.weight": (V, D) for number in range(2)}


@pytest.mark.parametrize("shape", [FULL, (D, V), (1, V, D), (V * D,)], ids=str)
@pytest.mark.parametrize("wrapper", ["", "language_model."], ids=["alone", "wrapped"])
@pytest.mark.parametrize("name", SECOND_TABLES)
def test_a_second_table_is_refused_by_its_shape(name: str, wrapper: str, shape: tuple[int, ...]) -> None:
    held = {EMBED: FULL, name: shape, **LAYER}
    files = Layout({wrapper + key: value for key, value in held.items()}, TIED, "").files()
    error = refused(files)
    assert (error.reason, wrapper + name in error.problem) == ("unknown-head", True), error


@pytest.mark.parametrize(
    "name",
    [
        "vision_tower.pooler.dense.weight",
        "audio_codec.codebook.weight",
        "model.layers.9.embed_tokens.weight",
        "model.layers.9.shared_head.head.weight",
        "language_embeddings.weight",
        "model.token_type_embeddings.weight",
    ],
)
def test_other_parts_and_other_tables_have_that_shape_too(name: str) -> None:
    layout = Layout({EMBED: FULL, name: FULL, **LISTED_LAYERS}, TIED, "")
    assert found(layout.files()).identity.tied


@pytest.mark.parametrize("shape", [(V + 64, D), (V // 2, D), (D, V // 2)], ids=["padded", "half", "turned"])
@pytest.mark.parametrize("name", ["final_proj.weight", "tail.weight", "fc.weight"])
def test_a_padded_or_cut_table_is_refused(name: str, shape: tuple[int, ...]) -> None:
    error = refused(Layout({EMBED: FULL, name: shape, **LAYER}, TIED, "").files())
    assert (error.reason, name in error.problem) == ("unknown-head", True)


@pytest.mark.parametrize("module", ["final_proj", "fc", "tok_out", "tail", "w_out"])
@pytest.mark.parametrize(
    "endings", [("qweight", "scales"), ("weight_packed", "scales"), ("weight", "scales", "biases")], ids=str
)
def test_codes_under_an_unknown_name_are_refused(module: str, endings: tuple[str, ...]) -> None:
    codes = {f"{module}.{endings[0]}": stored(V, D // 4, dtype="I32")}
    codes |= {f"{module}.{ending}": stored(V, 1) for ending in endings[1:]}
    assert refused(single({EMBED: stored(*FULL), **codes}, TIED)).reason == "quantised-head"


@pytest.mark.parametrize("wrapper", ["", "language_model."], ids=["alone", "wrapped"])
@pytest.mark.parametrize("name", ["model.wordvecs.weight", "model.word_embed.weight", "model.tail.weight"])
def test_a_head_is_no_embedding_beside_a_second_table(name: str, wrapper: str) -> None:
    held = {wrapper + key: shape for key, shape in {HEAD: FULL, name: FULL, **LAYER}.items()}
    files = Layout(held, TIED, "").files()
    error = refused(files, "input")
    assert (error.reason, wrapper + name in error.problem) == ("unknown-head", True)
    assert (found(files).spec.name, found(files).identity.tied) == (wrapper + HEAD, False)


# ---- what changes or continues a matrix from elsewhere, and what is there twice

ELSEWHERE = {
    "base_model.model.lm_head.lora_A.weight": "no-head",
    "model.lm_head.lora_B.weight": "no-head",
    "lm_head_lora_A.weight": "no-head",
    "lm_head_adapter.A.weight": "no-head",
    "lm_head_special.weight": "split-head",
    "lm_head_image_tokens.weight": "split-head",
    "model.embed_tokens_lora.A.weight": "no-head",
    "base_model.model.model.embed_tokens.trainable_tokens_delta": "no-head",
    "model.embed_tokens_ext.weight": "split-head",
    "model.embed_tokens2.weight": "split-head",
    "model.special_embeddings.weight": "split-head",
}


@pytest.mark.parametrize(("name", "reason"), ELSEWHERE.items(), ids=ELSEWHERE)
def test_what_changes_or_continues_a_matrix_is_seen_outside_its_module(name: str, reason: str) -> None:
    files = Layout({EMBED: FULL, HEAD: FULL, name: (2, D), **LAYER}, UNTIED, "").files()
    error = refused(files, "output" if "lm_head" in name else "input")
    assert (error.reason, name in error.problem) == (reason, True), error


@pytest.mark.parametrize(
    ("name", "matrix"),
    [
        ("language_model.lm_head.weight", "output"),
        ("model.lm_head.weight", "output"),
        ("unembed.weight", "output"),
        ("embed_tokens.weight", "input"),
    ],
)
def test_of_two_whole_matrices_none_is_chosen_unless_they_are_one(name: str, matrix: MatrixName) -> None:
    tensors = {EMBED: stored(*FULL), HEAD: stored(*FULL, seed=1), name: stored(*FULL, seed=2)}
    error = refused(single(tensors, UNTIED), matrix)
    assert (error.reason, name in error.problem) == ("unknown-head", True)
    one = HEAD if matrix == "output" else EMBED
    del tensors[name]
    assert found(noted(tensors, {name: one}, UNTIED), matrix).spec.shape == FULL


@pytest.mark.parametrize(
    ("omitted", "reason"),
    [("lm_head.lora_A.weight", "no-head"), ("lm_head.qweight", "quantised-head")],
)
def test_what_the_index_omits_in_the_heads_own_shard_is_seen(omitted: str, reason: str) -> None:
    claimed = {EMBED: FIRST, HEAD: SECOND}
    held = {"first": {EMBED: TABLE}, "second": {HEAD: OUTPUT, omitted: stored(2, D)}}
    assert refused(shards(claimed, UNTIED, **held)).reason == reason


@pytest.mark.parametrize("file", ["first", "second"])
def test_a_scale_that_the_index_omits_is_found(file: str) -> None:
    held: dict[str, dict[str, Stored]] = {
        "first": {EMBED: TABLE},
        "second": {HEAD: stored(*FULL, dtype="F8_E4M3")},
    }
    held[file]["lm_head.weight_scale"] = stored(1)
    target = found(shards({EMBED: FIRST, HEAD: SECOND}, UNTIED, **held))
    assert target.identity.scale == "lm_head.weight_scale per tensor"


def test_a_vague_name_in_the_index_hides_no_head() -> None:
    held = {"first": {EMBED: TABLE, "output.weight": TABLE}, "second": {HEAD: OUTPUT}}
    target = found(shards({EMBED: FIRST, "output.weight": FIRST}, UNTIED, **held))
    assert target.spec.name == HEAD


def test_a_head_in_a_file_beside_the_shards_is_not_passed_over() -> None:
    files = shards(
        {EMBED: FIRST, "model.norm.weight": SECOND},
        TIED,
        first={EMBED: TABLE},
        second={"model.norm.weight": NORM},
    )
    assert refused(files | {"extra.safetensors": safetensors({HEAD: OUTPUT})}).reason == "unknown-head"
    for other in ({EMBED: TABLE, HEAD: OUTPUT}, {"zeta": NORM}):  # a copy, and something else
        assert found(files | {"extra.safetensors": safetensors(other)}).identity.tied


@pytest.mark.parametrize("key", ["moe_intermediate_size", "head_dim", "max_window_size", "dimensionality"])
def test_only_an_embeddings_width_excuses_fewer_columns(key: str) -> None:
    files = Layout({EMBED: FULL, HEAD: (V, D // 2), **LAYER}, UNTIED | {key: D // 2}, "").files()
    assert (refused(files).reason, "columns" in refused(files).problem) == ("no-head", True)


@pytest.mark.parametrize("rows", [V + 256, 8 * V])
def test_many_more_rows_than_tokens_are_for_others(rows: int) -> None:
    assert refused(Layout({EMBED: FULL, HEAD: (rows, D), **LAYER}, UNTIED, "").files()).reason == "no-head"


@pytest.mark.parametrize("cap", ["_MOST_SHARDS", "_MOST_TENSORS"])
def test_the_shards_that_are_asked_are_bounded(cap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = shards(
        {EMBED: FIRST, "model.norm.weight": SECOND}, TIED, first={EMBED: TABLE}, second={HEAD: NORM}
    )
    monkeypatch.setattr(f"survey.checkpoints.index_claims.{cap}", 1)
    error = refused(files)
    assert (error.reason, "our cap" in error.problem) == ("index-mismatch", True)


@pytest.mark.parametrize(
    "file", ["onnx/lm_head.onnx", "lm_head.onnx", "coreml/lm_head.bin", "checkpoint-100/text_head.pt"]
)
def test_files_of_other_runtimes_and_folders_say_nothing_of_a_head(file: str) -> None:
    assert found({**single({EMBED: TABLE}, TIED), file: b"?"}).identity.tied
