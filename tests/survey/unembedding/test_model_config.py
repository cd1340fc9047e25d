"""Statements of a config about tying, and the unembedding of a model without a head that follows from them."""

from typing import Any

import pytest
from support.checkpoints import TIED

from survey.errors import NotThere
from survey.unembedding.tensor_choice import choose_among
from survey.unembedding.tensor_names import TensorNames
from survey.unembedding.tying import stated_tie
from survey.unembedding.tying_defaults import LISTED_FROM, UNTIED_IN_SILENCE


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
        pytest.param({"tie_embedding": True}, True, id="lfm2"),
        pytest.param({"share_input_output_layers": True}, True, id="openelm"),
        pytest.param({"share_embeddings": True}, True, id="shared"),
        pytest.param({"share_decoder_input_output_embed": False}, False, id="fairseq"),
        pytest.param({"share_embeddings_and_output_weights": True}, True, id="megatron"),
        pytest.param({"untie_embeddings_and_output_weights": True}, False, id="megatrons-arguments"),
        pytest.param({"untie_embeddings_and_output_weights": False}, True, id="megatrons-silence"),
        pytest.param({"tie_weights": True}, True, id="weights"),
        pytest.param({"tie_lm_head": True}, True, id="its-head"),
        pytest.param({"embeddings_tied": True}, True, id="the-word-behind"),
        pytest.param({"lm_head_tied": False}, False, id="its-head-is-not"),
        pytest.param({"embeddings_are_untied": True}, False, id="a-no-behind"),
        pytest.param({"tied": True}, True, id="a-bare-word"),
        pytest.param({"untied": True}, False, id="a-bare-no"),
        pytest.param({"tied_word_embeddings": False}, False, id="a-slip"),
        pytest.param({"model": {"vocab_size": 9, "tie_embeddings": True}}, True, id="nested"),
        pytest.param(
            {"a": {"vocab_size": 9, "b": {"vocab_size": 9, "weight_tying": True}}}, True, id="deeper"
        ),
        pytest.param({"tie_encoder_decoder": True}, None, id="halves"),
        pytest.param({"share_encoder_decoder_embeddings": True}, None, id="embeddings-of-halves"),
        pytest.param({"share_layer_weights": True}, None, id="layers"),
        pytest.param({"num_shared_experts": True, "shared_expert_output": True}, None, id="experts"),
        pytest.param({"vision_config": {"vocab_size": 9, "tie_embeddings": True}}, None, id="a-tower"),
        pytest.param({"quantization_config": {"vocab_size": 9, "tie_weights": True}}, None, id="its-packing"),
    ],
)
def test_other_words_for_tying_are_understood(config: dict[str, Any], tied: bool | None) -> None:
    assert stated_tie(config) is tied


@pytest.mark.parametrize("name", ["LlamaModel", "GPT2Model", "BertModel", "T5EncoderModel"])
def test_a_class_without_a_head_is_a_base_model_if_the_config_says_nothing(name: str) -> None:
    config = {"architectures": [name]}
    with pytest.raises(NotThere, match=f"its class is {name}") as caught:
        choose_among(TensorNames(["embed_tokens.weight"], config), "output", "org/model")
    assert caught.value.reason == "no-head"
    assert not choose_among(TensorNames(["embed_tokens.weight"], config), "input", "").tied
    assert choose_among(TensorNames(["embed_tokens.weight"], config | TIED), "output", "").tied
    assert (
        choose_among(TensorNames(["embed_tokens.weight", "lm_head.weight"], config), "output", "").tensor
        == "lm_head.weight"
    )


@pytest.mark.parametrize(
    "architectures",
    [
        pytest.param(["LlamaForCausalLM"], id="causal"),
        pytest.param(["GPT2LMHeadModel"], id="lm-head-model"),
        pytest.param(["T5WithLMHeadModel"], id="with-lm-head-model"),
        pytest.param(["BartForConditionalGeneration"], id="conditional-generation"),
        pytest.param(["MarianMTModel"], id="translation-model"),
        pytest.param(["VisionEncoderDecoderModel"], id="encoder-decoder-model"),
        pytest.param(["SeamlessM4TModel"], id="speech-translation-model"),
        pytest.param(["InternVLChatModel"], id="chat-model"),
        pytest.param(["BertForMaskedLM", "BertModel"], id="the-first-counts"),
        pytest.param([], id="none"),
        pytest.param(None, id="null"),
        pytest.param("LlamaModel", id="a-text"),
        pytest.param([7], id="a-number"),
    ],
)
def test_any_other_class_is_tied_if_the_config_says_nothing(architectures: object) -> None:
    assert choose_among(TensorNames(["wte.weight"], {"architectures": architectures}), "output", "").tied


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


HEADLESS = ["ColPaliForRetrieval", "TvpForVideoGrounding", "GroundingDinoForObjectDetection", "NewForDepthEstimation",
            "VisualBertForVisualReasoning", "BlipForImageTextRetrieval", "OneForSegmentation",
            "HF_ColBERT", "ColQwen2_5", "BiModernVBert", "Qwen3Reranker", "UMT5Encoder", "NewEmbedder",
            "CLIPModel", "CLIPTextModelWithProjection", "SiglipModel", "ClapModel", "VisionTextDualEncoderModel"]  # fmt: skip
WITH_TOKENS = ["BertForPreTraining", "NewForCausalLM", "NewForConditionalGeneration", "NewForImageTextToText",
               "NewForSeq2SeqLM", "RoFormerForMaskedLM", "NewForCaptioning", "GPT2LMHeadModel", "NewChat",
               "ColbyForCausalLM", "BioGptForCausalLM", "BiMambaForMaskedLM", "ClipCapModelForCausalLM",
               "VisionEncoderDecoderModel", "DecoderWithEmbeddings2"]  # fmt: skip


@pytest.mark.parametrize("name", HEADLESS)
def test_a_class_for_another_task_has_no_unembedding_unless_its_files_hold_one(name: str) -> None:
    config = {"architectures": [name], "model_type": "bert"}
    with pytest.raises(NotThere, match=name) as caught:
        choose_among(TensorNames(["embed_tokens.weight"], config), "output", "")
    assert caught.value.reason == "no-head"
    assert (
        choose_among(TensorNames(["embed_tokens.weight", "lm_head.weight"], config), "output", "").tensor
        == "lm_head.weight"
    )


@pytest.mark.parametrize("name", ["HF_ColBERT", "ColQwen2_5", "CLIPModel", "CLIPTextModelWithProjection"])
def test_a_class_that_compares_texts_has_no_unembedding_even_if_its_text_part_says_tied(name: str) -> None:
    config = {"architectures": [name], "text_config": TIED}
    with pytest.raises(NotThere, match=name):
        choose_among(TensorNames(["text_model.embed_tokens.weight"], config), "output", "")
    assert not choose_among(TensorNames(["text_model.embed_tokens.weight"], config), "input", "").tied


@pytest.mark.parametrize("name", WITH_TOKENS)
def test_a_class_for_tokens_is_tied_in_silence(name: str) -> None:
    config = {"architectures": [name], "model_type": "bert"}
    assert choose_among(TensorNames(["embed_tokens.weight"], config), "output", "").tied


@pytest.mark.parametrize("name", ["Wav2Vec2ForCTC", "BeitForMaskedImageModeling"])
def test_the_head_of_what_reads_sound_or_images_is_no_embedding(name: str) -> None:
    names = TensorNames(["lm_head.weight"], {"architectures": [name], "model_type": "wav2vec2"})
    assert not choose_among(names, "output", "").tied
    with pytest.raises(NotThere, match="no embedding"):
        choose_among(names, "input", "")


SCORES = ["discriminator_predictions.dense_prediction.weight", "splinter_qass.end_classifier.weight",
          "flow_head.final_layer.proj.weight", "speech_decoder_postnet.feat_out.weight"]  # fmt: skip


@pytest.mark.parametrize("scores", SCORES)
def test_what_leaves_a_discriminator_or_a_flow_is_no_token(scores: str) -> None:
    with pytest.raises(NotThere, match=f"{scores} scores"):
        choose_among(TensorNames(["embed_tokens.weight", scores], TIED), "output", "")


def test_sentences_may_be_put_in_order_beside_a_tied_head() -> None:
    beside = ["predictions.bias", "sop_classifier.classifier.weight"]
    assert choose_among(
        TensorNames(["albert.embeddings.word_embeddings.weight", *beside], TIED), "output", ""
    ).tied


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
def test_a_headless_multimodal_model_is_tied_if_either_config_says_so(
    outer: bool | None, inner: bool | None, tied: bool
) -> None:
    def said(word: bool | None) -> dict[str, Any]:
        return {} if word is None else {"tie_word_embeddings": word}

    config = {**said(outer), "text_config": said(inner)}
    names = ["language_model.model.embed_tokens.weight"]
    if tied:
        assert choose_among(TensorNames(names, config), "output", "").tied
    else:
        with pytest.raises(NotThere, match="base model"):
            choose_among(TensorNames(names, config), "output", "")


# What transformers assumes if a config does not speak of tying.
@pytest.mark.parametrize(
    ("config", "tied"),
    [
        pytest.param({"model_type": "llama"}, False, id="llama"),
        pytest.param({"model_type": "qwen2"}, False, id="qwen2"),
        pytest.param({"model_type": "gemma"}, True, id="gemma"),
        pytest.param({"model_type": "gpt2"}, True, id="gpt2"),
        pytest.param({"model_type": "of-somebody"}, True, id="remote-code"),
        pytest.param({}, True, id="no-type"),
        pytest.param(
            {"model_type": "llava", "text_config": {"model_type": "llama"}}, False, id="both-untied"
        ),
        pytest.param({"model_type": "llava", "text_config": {"model_type": "gemma"}}, True, id="one-tied"),
        pytest.param(
            {"model_type": "qwen3_vl", "text_config": {"model_type": "qwen3_vl_text"}},
            False,
            id="left-to-the-whole",
        ),
        pytest.param({"model_type": "llama", "tie_embedding": True}, True, id="said"),
    ],
)
def test_silence_is_read_as_transformers_reads_it(config: dict[str, Any], tied: bool) -> None:
    names = ["model.embed_tokens.weight"]
    if tied:
        assert choose_among(TensorNames(names, config), "output", "").tied
    else:
        with pytest.raises(NotThere, match="base model"):
            choose_among(TensorNames(names, config), "output", "")
        assert not choose_among(TensorNames(names, config), "input", "").tied


@pytest.mark.parametrize(("kind", "tied"), [("gpt2", True), ("llama", False)])
def test_a_head_alone_is_tied_in_silence_if_its_type_is(kind: str, tied: bool) -> None:
    assert choose_among(TensorNames(["lm_head.weight"], {"model_type": kind}), "output", "").tied is tied


def test_the_list_of_types_is_that_of_transformers() -> None:
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    said: dict[str, object] = {}
    for kind, name in CONFIG_MAPPING_NAMES.items():
        try:
            said[kind] = getattr(getattr(transformers, name)(), "tie_word_embeddings", None)
        except Exception:  # noqa: BLE001 - foreign code: some defaults contradict themselves
            continue
    known = UNTIED_IN_SILENCE & said.keys()
    assert len(known) > 100
    assert sorted(kind for kind in known if said[kind] is True) == []
    if transformers.__version__ == LISTED_FROM:
        assert {kind for kind, tied in said.items() if tied is False} - UNTIED_IN_SILENCE == set()
