"""Which tensor is the unembedding, by the names that real checkpoints use."""

from typing import Any

import pytest
from support.checkpoints import LAYER, SILENT, TIED, UNTIED

from survey.errors import NotThere
from survey.unembedding.tensor_choice import choose_among
from survey.unembedding.tensor_names import TensorNames

# checkpoint: its names beside the layers, what its config says, unembedding, embedding, one tensor for both
CHOSEN: dict[str, tuple[list[str], dict[str, Any], str, str, bool]] = {
    "llama-3.1-8b": (
        ["model.embed_tokens.weight", "lm_head.weight"],
        UNTIED,
        "lm_head.weight",
        "model.embed_tokens.weight",
        False,
    ),
    "qwen3-4b": (
        ["model.embed_tokens.weight"],
        TIED,
        "model.embed_tokens.weight",
        "model.embed_tokens.weight",
        True,
    ),
    "gemma-2-2b-says-nothing": (
        ["model.embed_tokens.weight"],
        SILENT,
        "model.embed_tokens.weight",
        "model.embed_tokens.weight",
        True,
    ),
    "head-in-the-files-of-a-tied-config": (
        ["model.embed_tokens.weight", "lm_head.weight"],
        TIED,
        "lm_head.weight",
        "model.embed_tokens.weight",
        False,
    ),
    "head-in-the-files-of-a-silent-config": (
        ["model.embed_tokens.weight", "lm_head.weight"],
        SILENT,
        "lm_head.weight",
        "model.embed_tokens.weight",
        False,
    ),
    "qwen3-embedding": (["embed_tokens.weight"], TIED, "embed_tokens.weight", "embed_tokens.weight", True),
    "gpt2-of-openai": (["wte.weight", "wpe.weight"], SILENT, "wte.weight", "wte.weight", True),
    "gpt2-of-transformers": (
        ["transformer.wte.weight", "transformer.wpe.weight"],
        SILENT,
        "transformer.wte.weight",
        "transformer.wte.weight",
        True,
    ),
    "gpt-j": (
        ["transformer.wte.weight", "lm_head.weight", "lm_head.bias"],
        UNTIED,
        "lm_head.weight",
        "transformer.wte.weight",
        False,
    ),
    "pythia": (
        ["gpt_neox.embed_in.weight", "embed_out.weight"],
        UNTIED,
        "embed_out.weight",
        "gpt_neox.embed_in.weight",
        False,
    ),
    "opt": (
        ["model.decoder.embed_tokens.weight", "model.decoder.embed_positions.weight"],
        SILENT,
        "model.decoder.embed_tokens.weight",
        "model.decoder.embed_tokens.weight",
        True,
    ),
    "falcon": (
        ["transformer.word_embeddings.weight", "lm_head.weight"],
        SILENT,
        "lm_head.weight",
        "transformer.word_embeddings.weight",
        False,
    ),
    "bloom": (
        ["word_embeddings.weight", "word_embeddings_layernorm.weight"],
        SILENT,
        "word_embeddings.weight",
        "word_embeddings.weight",
        True,
    ),
    "mamba": (
        ["backbone.embeddings.weight"],
        SILENT,
        "backbone.embeddings.weight",
        "backbone.embeddings.weight",
        True,
    ),
    "mamba-of-its-authors": (
        ["backbone.embedding.weight", "lm_head.weight"],
        SILENT,
        "lm_head.weight",
        "backbone.embedding.weight",
        False,
    ),
    "chatglm3": (
        ["transformer.embedding.word_embeddings.weight", "transformer.output_layer.weight"],
        UNTIED,
        "transformer.output_layer.weight",
        "transformer.embedding.word_embeddings.weight",
        False,
    ),
    "olmo-1-7b": (
        [
            "model.transformer.wte.weight",
            "model.transformer.ff_out.weight",
            "model.transformer.blocks.0.ff_out.weight",
        ],
        {"weight_tying": False},
        "model.transformer.ff_out.weight",
        "model.transformer.wte.weight",
        False,
    ),
    "internlm2": (
        ["model.tok_embeddings.weight", "output.weight"],
        UNTIED,
        "output.weight",
        "model.tok_embeddings.weight",
        False,
    ),
    "mistral-consolidated": (
        ["tok_embeddings.weight", "output.weight"],
        SILENT,
        "output.weight",
        "tok_embeddings.weight",
        False,
    ),
    "phi-2": (
        ["model.embed_tokens.weight", "lm_head.weight", "lm_head.bias"],
        UNTIED,
        "lm_head.weight",
        "model.embed_tokens.weight",
        False,
    ),
    "phi-1.5-of-microsoft": (
        [
            "transformer.embd.wte.weight",
            "transformer.wte.weight",
            "lm_head.linear.weight",
            "lm_head.ln.weight",
        ],
        SILENT,
        "lm_head.linear.weight",
        "transformer.wte.weight",
        False,
    ),
    "rwkv": (
        ["rwkv.embeddings.weight", "head.weight"],
        UNTIED,
        "head.weight",
        "rwkv.embeddings.weight",
        False,
    ),
    "t5": (["shared.weight"], SILENT, "shared.weight", "shared.weight", True),
    "t5-1.1": (["shared.weight", "lm_head.weight"], UNTIED, "lm_head.weight", "shared.weight", False),
    "bart": (
        ["model.shared.weight", "final_logits_bias"],
        SILENT,
        "model.shared.weight",
        "model.shared.weight",
        True,
    ),
    "bert": (
        [
            "bert.embeddings.word_embeddings.weight",
            "bert.embeddings.position_embeddings.weight",
            "cls.predictions.bias",
        ],
        SILENT,
        "bert.embeddings.word_embeddings.weight",
        "bert.embeddings.word_embeddings.weight",
        True,
    ),
    "bert-untied": (
        ["bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"],
        UNTIED,
        "cls.predictions.decoder.weight",
        "bert.embeddings.word_embeddings.weight",
        False,
    ),
    "roberta": (
        ["roberta.embeddings.word_embeddings.weight", "lm_head.dense.weight", "lm_head.layer_norm.weight"],
        SILENT,
        "roberta.embeddings.word_embeddings.weight",
        "roberta.embeddings.word_embeddings.weight",
        True,
    ),
    "llava": (
        [
            "language_model.model.embed_tokens.weight",
            "language_model.lm_head.weight",
            "vision_tower.vision_model.embeddings.position_embedding.weight",
        ],
        UNTIED,
        "language_model.lm_head.weight",
        "language_model.model.embed_tokens.weight",
        False,
    ),
    "gemma-3-4b": (
        [
            "language_model.model.embed_tokens.weight",
            "vision_tower.vision_model.embeddings.position_embedding.weight",
        ],
        SILENT,
        "language_model.model.embed_tokens.weight",
        "language_model.model.embed_tokens.weight",
        True,
    ),
    "gemma-3n": (
        ["model.language_model.embed_tokens.weight", "model.language_model.embed_tokens_per_layer.weight"],
        SILENT,
        "model.language_model.embed_tokens.weight",
        "model.language_model.embed_tokens.weight",
        True,
    ),
    "qwen3-vl": (
        ["model.language_model.embed_tokens.weight", "lm_head.weight", "model.visual.pos_embed.weight"],
        {"tie_word_embeddings": False, "text_config": {}},
        "lm_head.weight",
        "model.language_model.embed_tokens.weight",
        False,
    ),
    "smolvlm": (
        ["model.text_model.embed_tokens.weight", "lm_head.weight"],
        UNTIED,
        "lm_head.weight",
        "model.text_model.embed_tokens.weight",
        False,
    ),
    "gemma-3n-4-12b-per-layer-table-first": (
        ["model.language_model.embed_tokens_per_layer.weight", "model.language_model.embed_tokens.weight"],
        TIED,
        "model.language_model.embed_tokens.weight",
        "model.language_model.embed_tokens.weight",
        True,
    ),
    "baichuan-2": (
        ["model.embed_tokens.weight", "lm_head.weight"],
        UNTIED,
        "lm_head.weight",
        "model.embed_tokens.weight",
        False,
    ),
    "internvl-2": (
        [
            "language_model.output.weight",
            "language_model.model.tok_embeddings.weight",
            "vision_model.embeddings.position_embedding",
            "mlp1.1.weight",
        ],
        {"llm_config": UNTIED},
        "language_model.output.weight",
        "language_model.model.tok_embeddings.weight",
        False,
    ),
    "minicpm-v": (
        ["llm.model.embed_tokens.weight", "llm.lm_head.weight", "vpm.embeddings.position_embedding.weight"],
        SILENT,
        "llm.lm_head.weight",
        "llm.model.embed_tokens.weight",
        False,
    ),
    "qwen-2.5-omni-with-its-talker": (
        [
            "thinker.lm_head.weight",
            "thinker.model.embed_tokens.weight",
            "talker.codec_head.weight",
            "talker.model.embed_tokens.weight",
            "talker.lm_head.weight",
        ],
        UNTIED,
        "thinker.lm_head.weight",
        "thinker.model.embed_tokens.weight",
        False,
    ),
    "qwen-1": (
        ["transformer.wte.weight", "lm_head.weight", "transformer.visual.proj"],
        UNTIED,
        "lm_head.weight",
        "transformer.wte.weight",
        False,
    ),
    "rwkv-of-its-authors": (
        ["emb.weight", "head.weight", "blocks.0.ln0.weight"],
        SILENT,
        "head.weight",
        "emb.weight",
        False,
    ),
    "olmo-1-1b-tied": (
        ["model.transformer.wte.weight", "model.transformer.blocks.0.ff_out.weight"],
        {"weight_tying": True},
        "model.transformer.wte.weight",
        "model.transformer.wte.weight",
        True,
    ),
    "donut": (
        [
            "decoder.model.decoder.embed_tokens.weight",
            "decoder.lm_head.weight",
            "encoder.embeddings.norm.weight",
        ],
        UNTIED,
        "decoder.lm_head.weight",
        "decoder.model.decoder.embed_tokens.weight",
        False,
    ),
    "an-adapter-that-trained-both": (
        [
            "base_model.model.lm_head.weight",
            "base_model.model.model.embed_tokens.weight",
            "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
        ],
        SILENT,
        "base_model.model.lm_head.weight",
        "base_model.model.model.embed_tokens.weight",
        False,
    ),
    "deepseek-v3-with-its-second-head": (
        [
            "model.embed_tokens.weight",
            "lm_head.weight",
            "model.layers.61.embed_tokens.weight",
            "model.layers.61.shared_head.head.weight",
        ],
        UNTIED,
        "lm_head.weight",
        "model.embed_tokens.weight",
        False,
    ),
    "whisper-untied": (
        ["model.decoder.embed_tokens.weight", "proj_out.weight"],
        UNTIED,
        "proj_out.weight",
        "model.decoder.embed_tokens.weight",
        False,
    ),
    "pythia-tied": (
        ["gpt_neox.embed_in.weight"],
        TIED,
        "gpt_neox.embed_in.weight",
        "gpt_neox.embed_in.weight",
        True,
    ),
    "electra": (
        ["electra.embeddings.word_embeddings.weight", "generator_lm_head.bias"],
        SILENT,
        "electra.embeddings.word_embeddings.weight",
        "electra.embeddings.word_embeddings.weight",
        True,
    ),
}


@pytest.mark.parametrize(
    ("names", "config", "output", "embedding", "tied"),
    [pytest.param(*row, id=id) for id, row in CHOSEN.items()],
)
def test_the_head_in_the_files_is_the_unembedding_else_the_embedding_is(
    names: list[str], config: dict[str, Any], output: str, embedding: str, tied: bool
) -> None:
    for order in (names, names[::-1]):
        chosen = choose_among(TensorNames([LAYER, *order], config), "output", "org/model")
        assert (chosen.tensor, chosen.tied) == (output, tied)
        chosen = choose_among(TensorNames([LAYER, *order], config), "input", "org/model")
        assert (chosen.tensor, chosen.tied) == (embedding, tied)


@pytest.mark.parametrize("head", ["output.weight", "head.weight", "decoder.weight"])
def test_a_vague_name_is_a_head_only_beside_an_embedding(head: str) -> None:
    with pytest.raises(NotThere, match="neither head nor embedding"):
        choose_among(TensorNames([head, "patch_embed.proj.weight"], SILENT), "output", "")
    assert choose_among(TensorNames([head, "tok_embeddings.weight"], SILENT), "output", "").tensor == head


def test_the_only_tensor_may_have_the_heads_name() -> None:
    names = ["lm_head.weight", "model.layers.0.mlp.up_proj.weight"]
    for matrix in ("output", "input"):
        chosen = choose_among(TensorNames(names, TIED), matrix, "")
        assert (chosen.tensor, chosen.tied) == ("lm_head.weight", True)


def test_a_base_models_own_name_is_learnt_from_its_config() -> None:
    names = ["grape_lm.embeddings.word_embeddings.weight"]
    assert choose_among(TensorNames(names, {"model_type": "grape-lm"}), "output", "").tensor == names[0]
    with pytest.raises(NotThere):
        choose_among(TensorNames(names, {"model_type": "apple"}), "output", "")


def test_a_head_without_an_embedding_is_measured_as_output_alone() -> None:
    assert choose_among(TensorNames(["lm_head.weight"], UNTIED), "output", "").tensor == "lm_head.weight"
    with pytest.raises(NotThere, match="no embedding among its 1 tensors"):
        choose_among(TensorNames(["lm_head.weight"], UNTIED), "input", "")


@pytest.mark.parametrize(
    "name",
    [
        "lm_head.bias",
        "embed_out.bias",
        "language_model.lm_head.bias",
        "cls.predictions.bias",
        "cls.predictions.decoder.bias",
        "final_logits_bias",
        "output.bias",
    ],
)
def test_a_bias_beside_the_head_is_seen(name: str) -> None:
    assert TensorNames(["lm_head.weight", name], SILENT).head_bias


@pytest.mark.parametrize(
    "name",
    [
        "lm_head.weight",
        "lm_head.layer_norm.bias",
        "lm_head.dense.bias",
        "model.layers.0.self_attn.q_proj.bias",
        "model.norm.bias",
        "vision_tower.head.bias",
        "cls.predictions.transform.dense.bias",
    ],
)
def test_other_biases_are_not(name: str) -> None:
    assert not TensorNames(["lm_head.weight", name], SILENT).head_bias


@pytest.mark.parametrize(
    ("kind", "embedding"),
    [
        ("mpnet", "mpnet.embeddings.word_embeddings.weight"),
        ("deberta-v2", "deberta.embeddings.word_embeddings.weight"),
        ("xlm-roberta", "roberta.embeddings.word_embeddings.weight"),
        ("esm", "esm.embeddings.word_embeddings.weight"),
        ("longformer", "longformer.embeddings.word_embeddings.weight"),
        ("flaubert", "transformer.embeddings.weight"),
    ],
)
def test_a_masked_language_models_embedding_is_found(kind: str, embedding: str) -> None:
    names = [
        embedding,
        f"{kind}.embeddings.position_embeddings.weight",
        f"{kind}.embeddings.LayerNorm.weight",
    ]
    assert choose_among(TensorNames(names, {"model_type": kind}), "input", "").tensor == embedding


@pytest.mark.parametrize("inner", ["", "model.", "language_model.", "model.language_model."])
def test_an_adapter_around_a_multimodal_model_keeps_its_names(inner: str) -> None:
    names = [f"base_model.model.{inner}{name}" for name in ("embed_tokens.weight", "lm_head.weight")]
    assert choose_among(TensorNames(names, SILENT), "output", "").tensor == names[1]
    assert choose_among(TensorNames(names, SILENT), "input", "").tensor == names[0]
