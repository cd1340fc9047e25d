"""Never the unembedding: other tensors, cut or quantised ones, and the embedding of models without a head."""

from typing import Any

import pytest
from support.checkpoints import LAYER, SILENT, TIED, UNTIED

from survey.errors import NotThere
from survey.unembedding.tensor_choice import choose_among
from survey.unembedding.tensor_names import TensorNames


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
        "v_head.summary.weight",
        "pooler.dense.weight",
        "",
    ],
)
def test_what_is_no_token_table_is_never_chosen(name: str) -> None:
    for matrix in ("output", "input"):
        with pytest.raises(NotThere) as caught:
            choose_among(TensorNames([LAYER, name], SILENT), matrix, "org/model")
        assert (caught.value.reason, caught.value.where) == ("no-head", "org/model")
    assert (
        choose_among(TensorNames([name, "model.embed_tokens.weight"], SILENT), "output", "").tensor
        == "model.embed_tokens.weight"
    )
    assert (
        choose_among(TensorNames([name, "lm_head.weight"], SILENT), "output", "").tensor == "lm_head.weight"
    )


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
        choose_among(TensorNames([*names, "model.embed_tokens.weight"], config), "output", "org/model")
    assert caught.value.reason == reason
    assert named in caught.value.problem
    assert (
        choose_among(TensorNames([*names, "model.embed_tokens.weight"], config), "input", "").tensor
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
    assert choose_among(TensorNames([name, "model.embed_tokens.weight"], TIED), "output", "").tied


def test_a_quantised_embedding_that_serves_as_unembedding_is_called_quantised() -> None:
    for matrix in ("output", "input"):
        with pytest.raises(NotThere) as caught:
            choose_among(
                TensorNames(["model.embed_tokens.qweight", "model.embed_tokens.scales"], TIED),
                matrix,
                "org/model",
            )
        assert caught.value.reason == "quantised-head"


def test_a_base_model_has_an_embedding_and_no_head() -> None:
    names = [LAYER, "embed_tokens.weight"]
    with pytest.raises(NotThere, match="base model") as caught:
        choose_among(TensorNames(names, UNTIED), "output", "org/model")
    assert caught.value.reason == "no-head"
    embedding = choose_among(TensorNames(names, UNTIED), "input", "org/model")
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
    all_names = ["model.embed_tokens.weight", *names]
    with pytest.raises(NotThere, match="scores") as caught:
        choose_among(TensorNames(all_names, config | tie), "output", "org/model")
    assert caught.value.reason == "no-head"
    embedding = choose_among(TensorNames(all_names, config | tie), "input", "")
    assert (embedding.tensor, embedding.tied) == ("model.embed_tokens.weight", False)
    assert (
        choose_among(TensorNames([*all_names, "lm_head.weight"], config | tie), "output", "").tensor
        == "lm_head.weight"
    )


def test_a_value_head_beside_a_language_model_changes_nothing() -> None:
    names = ["pretrained_model.model.embed_tokens.weight", "v_head.summary.weight"]
    assert (
        choose_among(TensorNames(names, TIED), "output", "").tensor
        == "pretrained_model.model.embed_tokens.weight"
    )


SPANS = ["rnn.lstm.weight_ih_l0", "span_rep_layer.span_rep_layer.project_start.0.weight"]
ENCODERS = {
    "spans": ("token_rep_layer.bert_layer.model.", {"max_len": 384, "name": "span level"}),
    "spans, with a type of its own": ("token_rep_layer.bert_layer.model.", {"model_type": "spans"}),
    "a table of its own": ("text_encoder.auto_model.", {"model_type": "retriever", "vocab_size": 96}),
    "remote code for another task": ("encoder_wrapper.", {"auto_map": {"AutoModelForTokenClassification": "x.Y"}}),
    "an unknown class": ("", {"architectures": ["Extractor"], "model_type": "extractor"}),
}  # fmt: skip
TOKENS: dict[str, dict[str, Any]] = {
    "said": TIED,
    "a class": {"architectures": ["NewForMaskedLM"]},
    "another class": {"architectures": ["BigGPT2"]},
    "remote code": {"auto_map": {"AutoConfig": "x.Y", "AutoModelForCausalLM": "x.Z"}},
}


@pytest.mark.parametrize(("prefix", "config"), ENCODERS.values(), ids=ENCODERS)
@pytest.mark.parametrize("beside", [[], SPANS], ids=["alone", "with its output"])
def test_silence_does_not_make_an_encoder_of_an_unknown_model_a_head(
    prefix: str, config: dict[str, Any], beside: list[str]
) -> None:
    table = f"{prefix}embeddings.word_embeddings.weight"
    names = [table, f"{prefix}encoder.layer.0.attention.self.query.weight", *beside]
    with pytest.raises(NotThere) as caught:
        choose_among(TensorNames(names, config), "output", "org/model")
    assert (caught.value.reason, table in caught.value.problem) == ("unknown-head", True)
    embedding = choose_among(TensorNames(names, config), "input", "")
    assert (embedding.tensor, embedding.tied) == (table, False)
    biased = TensorNames([*names, "cls.predictions.bias"], config)
    assert choose_among(biased, "output", "").tied


@pytest.mark.parametrize("said", TOKENS.values(), ids=TOKENS)
@pytest.mark.parametrize("prefix", ["", "model.", "zeta.eta.", "token_rep_layer.bert_layer.model."])
def test_what_says_that_it_predicts_tokens_is_tied(prefix: str, said: dict[str, Any]) -> None:
    names = [f"{prefix}embed_tokens.weight", f"{prefix}layers.0.mlp.up_proj.weight"]
    assert choose_among(TensorNames(names, said), "output", "").tied


def test_a_draft_models_short_vocabulary_is_refused() -> None:
    with pytest.raises(NotThere, match="draft model") as caught:
        choose_among(
            TensorNames(["lm_head.weight", "d2t", "t2d", "fc.weight", "embed_tokens.weight"], UNTIED),
            "output",
            "m",
        )
    assert caught.value.reason == "no-head"


def test_the_heads_of_codebooks_are_no_unembedding() -> None:
    names = ["decoder.lm_heads.0.weight", "decoder.lm_heads.1.weight", "shared.weight"]
    with pytest.raises(NotThere) as caught:
        choose_among(TensorNames(names, TIED), "output", "")
    assert caught.value.reason == "split-head"


@pytest.mark.parametrize("head", ["proj_out.weight", "output_layer.weight", "output_projection.weight"])
def test_what_leaves_a_diffusion_transformer_is_no_head(head: str) -> None:
    with pytest.raises(NotThere, match="neither head nor embedding"):
        choose_among(
            TensorNames([head, "x_embedder.weight", "context_embedder.weight"], SILENT), "output", "org/flux"
        )
    assert (
        choose_among(
            TensorNames([head, "model.decoder.embed_tokens.weight"], SILENT), "output", "here"
        ).tensor
        == head
    )
