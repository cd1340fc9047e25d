"""What a config says of tying, and what is then the unembedding of a model without a head."""

from typing import Any

import pytest
from checkpoints import TIED

from survey.errors import NotThere
from survey.statements import stated_tie
from survey.unembedding import choose


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
