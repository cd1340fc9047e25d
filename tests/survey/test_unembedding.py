"""Which tensor is the unembedding, by the names that real checkpoints use."""

from typing import Any

import pytest

from survey.errors import NotThere
from survey.statements import stated_tie
from survey.unembedding import choose, has_head_bias

TIED, UNTIED, SILENT = {"tie_word_embeddings": True}, {"tie_word_embeddings": False}, {}
LAYER = "model.layers.0.self_attn.q_proj.weight"

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
        chosen = choose([LAYER, *order], config, "output", "org/model")
        assert (chosen.tensor, chosen.tied) == (output, tied)
        chosen = choose([LAYER, *order], config, "input", "org/model")
        assert (chosen.tensor, chosen.tied) == (embedding, tied)


@pytest.mark.parametrize(
    "name",
    [
        "vision_tower.vision_model.embeddings.position_embedding.weight",
        "vision_tower.embed_tokens.weight",
        "vision_model.head.weight",
        "model.visual.pos_embed.weight",
        "visual.lm_head.weight",
        "audio_tower.embed_positions.weight",
        "audio_tower.embed_tokens.weight",
        "audio_encoder.lm_head.weight",
        "thinker.audio_tower.embed_positions.weight",
        "image_encoder.embeddings.word_embeddings.weight",
        "model.embed_vision.embedding.weight",
        "model.language_model.embed_tokens_per_layer.weight",
        "model.layers.61.embed_tokens.weight",
        "model.layers.61.shared_head.head.weight",
        "model.mtp.lm_head.weight",
        "mtp.embed_tokens.weight",
        "draft.lm_head.weight",
        "model.decoder.embed_positions.weight",
        "bert.embeddings.position_embeddings.weight",
        "bert.embeddings.token_type_embeddings.weight",
        "transformer.wpe.weight",
        "transformer.word_embeddings_layernorm.weight",
        "transformer.blocks.0.ff_out.weight",
        "layers.0.attention.output.weight",
        "cls.predictions.transform.dense.weight",
        "cls.seq_relationship.weight",
        "lm_head.bias",
        "lm_head.dense.weight",
        "lm_head.layer_norm.weight",
        "lm_head.weight_scale",
        "lm_head.weight_scale_inv",
        "my_lm_head.weight",
        "LM_HEAD.weight",
        "lm_head.weights",
        "v_head.summary.weight",
        "pooler.dense.weight",
        "base_model.model.lm_head.lora_A.weight",
        "",
    ],
)
def test_what_is_no_token_table_is_never_chosen(name: str) -> None:
    for matrix in ("output", "input"):
        with pytest.raises(NotThere) as caught:
            choose([LAYER, name], SILENT, matrix, "org/model")
        assert (caught.value.reason, caught.value.where) == ("no-head", "org/model")
    assert (
        choose([name, "model.embed_tokens.weight"], SILENT, "output", "").tensor
        == "model.embed_tokens.weight"
    )
    assert choose([name, "lm_head.weight"], SILENT, "output", "").tensor == "lm_head.weight"


@pytest.mark.parametrize(
    ("names", "reason", "named"),
    [
        pytest.param(
            ["lm_head.qweight", "lm_head.scales"], "quantised-head", "lm_head.qweight", id="gptq-and-awq"
        ),
        pytest.param(
            ["lm_head.weight_packed", "lm_head.weight_scale"],
            "quantised-head",
            "lm_head.weight_packed",
            id="compressed-tensors",
        ),
        pytest.param(
            ["lm_head.weight.absmax"], "quantised-head", "lm_head.weight.absmax", id="bitsandbytes-4"
        ),
        pytest.param(["lm_head.SCB"], "quantised-head", "lm_head.SCB", id="bitsandbytes-8"),
        pytest.param(["embed_out.qweight"], "quantised-head", "embed_out.qweight", id="gpt-neox"),
        pytest.param(
            ["language_model.lm_head.qweight"],
            "quantised-head",
            "language_model.lm_head.qweight",
            id="multimodal",
        ),
        pytest.param(
            ["lm_head.0.weight", "lm_head.1.weight"], "split-head", "lm_head.0.weight", id="a-list-of-heads"
        ),
        pytest.param(
            ["lm_head.weight.0", "lm_head.weight.1"], "split-head", "lm_head.weight.0", id="numbered"
        ),
        pytest.param(
            ["lm_head.weight_part_0", "lm_head.weight_part_1"],
            "split-head",
            "lm_head.weight_part_0",
            id="parts",
        ),
        pytest.param(["output.weight.00"], "split-head", "output.weight.00", id="mistrals-own"),
        pytest.param(
            ["language_model.lm_head.3.weight"],
            "split-head",
            "language_model.lm_head.3.weight",
            id="multimodal-cut",
        ),
    ],
)
@pytest.mark.parametrize("config", [TIED, UNTIED, SILENT], ids=["tied", "untied", "silent"])
def test_a_quantised_or_cut_head_is_named_and_never_replaced_by_the_embedding(
    names: list[str], reason: str, named: str, config: dict[str, Any]
) -> None:
    with pytest.raises(NotThere) as caught:
        choose([*names, "model.embed_tokens.weight"], config, "output", "org/model")
    assert caught.value.reason == reason
    assert named in caught.value.problem
    assert (
        choose([*names, "model.embed_tokens.weight"], config, "input", "").tensor
        == "model.embed_tokens.weight"
    )


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("model.layers.0.mlp.down_proj.qweight", id="a-quantised-layer"),
        pytest.param("model.layers.0.self_attn.q_proj.weight.absmax", id="a-4-bit-layer"),
        pytest.param("model.layers.0.mlp.experts.0.weight", id="numbered-experts"),
        pytest.param("vision_tower.lm_head.qweight", id="another-tower"),
        pytest.param("lm_head.bias", id="a-bias"),
    ],
)
def test_quantised_layers_do_not_make_a_quantised_head(name: str) -> None:
    assert choose([name, "model.embed_tokens.weight"], TIED, "output", "").tied


def test_a_quantised_embedding_that_serves_as_unembedding_is_called_quantised() -> None:
    for matrix in ("output", "input"):
        with pytest.raises(NotThere) as caught:
            choose(["model.embed_tokens.qweight", "model.embed_tokens.scales"], TIED, matrix, "org/model")
        assert caught.value.reason == "quantised-head"


def test_a_base_model_has_an_embedding_and_no_head() -> None:
    names = [LAYER, "embed_tokens.weight"]
    with pytest.raises(NotThere, match="base model") as caught:
        choose(names, UNTIED, "output", "org/model")
    assert caught.value.reason == "no-head"
    embedding = choose(names, UNTIED, "input", "org/model")
    assert (embedding.tensor, embedding.tied) == ("embed_tokens.weight", False)


SCORERS = {
    "its class": ({"architectures": ["Qwen2ForSequenceClassification"]}, []),
    "a reward model's class": ({"architectures": ["LlamaForRewardModel"]}, []),
    "a token classifier's class": ({"architectures": ["BertForTokenClassification"]}, []),
    "a score": ({}, ["score.weight"]),
    "a classifier": ({}, ["classifier.dense.weight", "classifier.out_proj.weight"]),
    "an answer's span": ({}, ["qa_outputs.weight"]),
    "a value": ({}, ["v_head.weight"]),
}


@pytest.mark.parametrize(("config", "names"), SCORERS.values(), ids=SCORERS)
@pytest.mark.parametrize("tie", [TIED, SILENT], ids=["tied", "silent"])
def test_a_model_that_scores_has_no_unembedding(
    config: dict[str, Any], names: list[str], tie: dict[str, Any]
) -> None:
    held = ["model.embed_tokens.weight", *names]
    with pytest.raises(NotThere, match="scores") as caught:
        choose(held, config | tie, "output", "org/model")
    assert caught.value.reason == "no-head"
    embedding = choose(held, config | tie, "input", "")
    assert (embedding.tensor, embedding.tied) == ("model.embed_tokens.weight", False)
    assert choose([*held, "lm_head.weight"], config | tie, "output", "").tensor == "lm_head.weight"


def test_a_value_head_beside_a_language_model_changes_nothing() -> None:
    names = ["pretrained_model.model.embed_tokens.weight", "v_head.summary.weight"]
    assert choose(names, TIED, "output", "").tensor == "pretrained_model.model.embed_tokens.weight"


def test_a_draft_models_short_vocabulary_is_refused() -> None:
    with pytest.raises(NotThere, match="draft model") as caught:
        choose(["lm_head.weight", "d2t", "t2d", "fc.weight", "embed_tokens.weight"], UNTIED, "output", "m")
    assert caught.value.reason == "no-head"


@pytest.mark.parametrize("head", ["output.weight", "head.weight", "decoder.weight"])
def test_a_vague_name_is_a_head_only_beside_an_embedding(head: str) -> None:
    with pytest.raises(NotThere, match="neither head nor embedding"):
        choose([head, "patch_embed.proj.weight"], SILENT, "output", "")
    assert choose([head, "tok_embeddings.weight"], SILENT, "output", "").tensor == head


def test_the_only_tensor_may_have_the_heads_name() -> None:
    names = ["lm_head.weight", "model.layers.0.mlp.up_proj.weight"]
    for matrix in ("output", "input"):
        chosen = choose(names, TIED, matrix, "")
        assert (chosen.tensor, chosen.tied) == ("lm_head.weight", True)


def test_an_embedding_with_its_new_rows_apart_is_cut() -> None:
    names = ["model.transformer.wte.embedding", "model.transformer.wte.new_embedding", "lm_head.weight"]
    for config in (TIED, UNTIED):
        assert not choose(names, config, "output", "").tied
        with pytest.raises(NotThere) as caught:
            choose(names, config, "input", "")
        assert caught.value.reason == "split-head"


def test_the_heads_of_codebooks_are_no_unembedding() -> None:
    names = ["decoder.lm_heads.0.weight", "decoder.lm_heads.1.weight", "shared.weight"]
    with pytest.raises(NotThere) as caught:
        choose(names, TIED, "output", "")
    assert caught.value.reason == "split-head"


@pytest.mark.parametrize(
    ("config", "tied"),
    [
        pytest.param({"tied_embeddings": True}, True, id="mistrals-own"),
        pytest.param({"weight_tying": True}, True, id="olmo-1"),
        pytest.param({"tie_embeddings": True}, True, id="mambas-authors"),
        pytest.param({"tied_embeddings": False}, False, id="mistrals-own-untied"),
        pytest.param({"llm_config": {"tie_word_embeddings": False}}, False, id="internvl"),
        pytest.param({"language_config": {"tie_word_embeddings": False}}, False, id="deepseek-vl"),
        pytest.param(
            {"thinker_config": {"text_config": {"tie_word_embeddings": False}}}, False, id="qwen-omni"
        ),
        pytest.param({"decoder": {"tie_word_embeddings": False}}, False, id="an-encoder-decoder"),
        pytest.param({"talker_config": {"tie_word_embeddings": False}}, None, id="its-talker"),
    ],
)
def test_other_words_for_tying_are_understood(config: dict[str, Any], tied: bool | None) -> None:
    assert stated_tie(config) is tied


def test_a_base_models_own_name_is_learnt_from_its_config() -> None:
    names = ["grape_lm.embeddings.word_embeddings.weight"]
    assert choose(names, {"model_type": "grape-lm"}, "output", "").tensor == names[0]
    with pytest.raises(NotThere):
        choose(names, {"model_type": "apple"}, "output", "")


@pytest.mark.parametrize("name", ["LlamaModel", "GPT2Model", "BertModel", "T5EncoderModel"])
def test_a_class_that_has_no_head_is_a_base_model_where_the_config_says_nothing(name: str) -> None:
    config = {"architectures": [name]}
    with pytest.raises(NotThere, match=f"its class is {name}") as caught:
        choose(["embed_tokens.weight"], config, "output", "org/model")
    assert caught.value.reason == "no-head"
    assert not choose(["embed_tokens.weight"], config, "input", "").tied
    assert choose(["embed_tokens.weight"], config | TIED, "output", "").tied
    assert choose(["embed_tokens.weight", "lm_head.weight"], config, "output", "").tensor == "lm_head.weight"


@pytest.mark.parametrize(
    "architectures",
    [
        pytest.param(["LlamaForCausalLM"], id="causal"),
        pytest.param(["GPT2LMHeadModel"], id="lm-head-model"),
        pytest.param(["T5WithLMHeadModel"], id="with-lm-head-model"),
        pytest.param(["BartForConditionalGeneration"], id="conditional-generation"),
        pytest.param(["BertForMaskedLM", "BertModel"], id="the-first-counts"),
        pytest.param([], id="none"),
        pytest.param(None, id="null"),
        pytest.param("LlamaModel", id="a-text"),
        pytest.param([7], id="a-number"),
    ],
)
def test_any_other_class_is_tied_where_the_config_says_nothing(architectures: object) -> None:
    assert choose(["wte.weight"], {"architectures": architectures}, "output", "").tied


def test_a_head_without_an_embedding_is_measured_as_output_alone() -> None:
    assert choose(["lm_head.weight"], UNTIED, "output", "").tensor == "lm_head.weight"
    with pytest.raises(NotThere, match="no embedding among its 1 tensors"):
        choose(["lm_head.weight"], UNTIED, "input", "")


@pytest.mark.parametrize(
    ("config", "stated"),
    [
        pytest.param({}, None, id="nothing"),
        pytest.param({"tie_word_embeddings": True}, True, id="tied"),
        pytest.param({"tie_word_embeddings": False}, False, id="untied"),
        pytest.param({"tie_word_embeddings": None}, None, id="null"),
        pytest.param({"tie_word_embeddings": "false"}, None, id="a-text"),
        pytest.param({"tie_word_embeddings": 0}, None, id="a-number"),
        pytest.param({"text_config": {"tie_word_embeddings": True}}, True, id="its-language-model-alone"),
        pytest.param({"tie_word_embeddings": False, "text_config": {}}, False, id="the-whole-alone"),
        pytest.param({"tie_word_embeddings": True, "text_config": None}, True, id="no-language-model"),
        pytest.param({"tie_word_embeddings": True, "text_config": "llama"}, True, id="a-text-for-a-config"),
        pytest.param({"vision_config": {"tie_word_embeddings": False}}, None, id="its-vision-tower"),
    ],
)
def test_what_the_config_says_about_tying(config: dict[str, Any], stated: bool | None) -> None:
    assert stated_tie(config) is stated


# transformers 5 ties by the outer config, 4 by the language model's: the files of either may come.
@pytest.mark.parametrize(
    ("outer", "inner", "tied"),
    [
        pytest.param(True, True, True, id="both-tied"),
        pytest.param(True, False, True, id="mistral-3-as-transformers-5-writes-it"),
        pytest.param(False, True, True, id="as-transformers-4-read-it"),
        pytest.param(True, None, True, id="outer-alone"),
        pytest.param(None, True, True, id="inner-alone"),
        pytest.param(None, None, True, id="nobody-says"),
        pytest.param(False, False, False, id="both-untied"),
        pytest.param(None, False, False, id="inner-untied"),
        pytest.param(False, None, False, id="outer-untied"),
    ],
)
def test_a_headless_multimodal_model_is_tied_where_either_config_says_so(
    outer: bool | None, inner: bool | None, tied: bool
) -> None:
    def said(word: bool | None) -> dict[str, Any]:
        return {} if word is None else {"tie_word_embeddings": word}

    config = {**said(outer), "text_config": said(inner)}
    names = ["language_model.model.embed_tokens.weight"]
    if tied:
        assert choose(names, config, "output", "").tied
    else:
        with pytest.raises(NotThere, match="base model"):
            choose(names, config, "output", "")


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
    assert has_head_bias(["lm_head.weight", name], SILENT)


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
    assert not has_head_bias(["lm_head.weight", name], SILENT)


@pytest.mark.parametrize("head", ["proj_out.weight", "output_layer.weight", "output_projection.weight"])
def test_what_leaves_a_diffusion_transformer_is_no_head(head: str) -> None:
    with pytest.raises(NotThere, match="neither head nor embedding"):
        choose([head, "x_embedder.weight", "context_embedder.weight"], SILENT, "output", "org/flux")
    assert choose([head, "model.decoder.embed_tokens.weight"], SILENT, "output", "here").tensor == head


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
    assert choose(names, {"model_type": kind}, "input", "").tensor == embedding


@pytest.mark.parametrize("inner", ["", "model.", "language_model.", "model.language_model."])
def test_an_adapter_around_a_multimodal_model_keeps_its_names(inner: str) -> None:
    names = [f"base_model.model.{inner}{name}" for name in ("embed_tokens.weight", "lm_head.weight")]
    assert choose(names, SILENT, "output", "").tensor == names[1]
    assert choose(names, SILENT, "input", "").tensor == names[0]
