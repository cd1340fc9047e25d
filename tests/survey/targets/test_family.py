"""The family that people speak of, for models as they are called on the Hub."""

import pytest

from survey.targets.family import family_of

# model_type, base_model, repository, family, what decided it
KNOWN = [
    ("qwen2", None, "Qwen/Qwen2.5-3B-Instruct", "Qwen", "model_type"),
    ("qwen3", None, "Qwen/Qwen3-4B-Instruct-2507", "Qwen", "model_type"),
    ("qwen3_moe", None, "Qwen/Qwen3-30B-A3B", "Qwen", "model_type"),
    ("qwen2_5_vl", None, "Qwen/Qwen2.5-VL-3B-Instruct", "Qwen", "model_type"),
    ("QWEN2", None, "me/upper-case", "Qwen", "model_type"),
    ("qwen2", "Qwen/Qwen2.5-Math-1.5B", "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "Qwen", "model_type"),
    ("gemma", None, "google/gemma-2b", "Gemma", "model_type"),
    ("gemma2", None, "google/gemma-2-2b", "Gemma", "model_type"),
    ("gemma3_text", None, "google/gemma-3-1b-it", "Gemma", "model_type"),
    ("gemma3", "google/gemma-3-4b-pt", "google/gemma-3-4b-it", "Gemma", "model_type"),
    ("recurrent_gemma", None, "google/recurrentgemma-2b", "Gemma", "model_type"),
    ("paligemma", None, "google/paligemma-3b-pt-224", "Gemma", "model_type"),
    ("phi", None, "microsoft/phi-2", "Phi", "model_type"),
    ("phi3", None, "microsoft/Phi-4-mini-instruct", "Phi", "model_type"),
    ("phimoe", None, "microsoft/Phi-3.5-MoE-instruct", "Phi", "model_type"),
    ("olmo2", None, "allenai/OLMo-2-1124-7B", "OLMo", "model_type"),
    ("olmoe", None, "allenai/OLMoE-1B-7B-0924", "OLMo", "model_type"),
    ("hf_olmo", None, "allenai/OLMo-7B", "OLMo", "name"),
    ("falcon", None, "tiiuae/falcon-7b", "Falcon", "model_type"),
    ("falcon_h1", None, "tiiuae/Falcon-H1-1B-Base", "Falcon", "model_type"),
    ("falcon_mamba", None, "tiiuae/falcon-mamba-7b", "Falcon", "model_type"),
    ("mamba", None, "state-spaces/mamba-130m-hf", "Mamba", "model_type"),
    ("deepseek_v3", None, "deepseek-ai/DeepSeek-R1", "DeepSeek", "model_type"),
    ("gpt_oss", None, "openai/gpt-oss-20b", "gpt-oss", "model_type"),
    ("gpt_neo", None, "EleutherAI/gpt-neo-125m", "GPT-Neo", "model_type"),
    ("gpt_bigcode", None, "bigcode/starcoder", "StarCoder", "model_type"),
    ("starcoder2", None, "bigcode/starcoder2-3b", "StarCoder", "model_type"),
    ("gptj", None, "EleutherAI/gpt-j-6b", "GPT-J", "model_type"),
    ("opt", None, "facebook/opt-125m", "OPT", "model_type"),
    ("bloom", None, "bigscience/bloom-560m", "BLOOM", "model_type"),
    ("mpt", None, "mosaicml/mpt-7b", "MPT", "model_type"),
    ("glm4", None, "zai-org/GLM-4-9B-0414", "GLM", "model_type"),
    ("chatglm", None, "zai-org/chatglm3-6b", "GLM", "model_type"),
    ("cohere2", None, "CohereLabs/c4ai-command-r7b-12-2024", "Cohere", "model_type"),
    ("granite", None, "ibm-granite/granite-3.1-2b-base", "Granite", "model_type"),
    ("internlm2", None, "internlm/internlm2-7b", "InternLM", "model_type"),
    ("smollm3", None, "HuggingFaceTB/SmolLM3-3B", "SmolLM", "model_type"),
    ("mistral3", None, "mistralai/Mistral-Small-3.1-24B-Base-2503", "Mistral", "model_type"),
    ("ministral3", None, "mistralai/Ministral-3-3B-Base-2512", "Mistral", "model_type"),
    ("mllama", None, "meta-llama/Llama-3.2-11B-Vision", "Llama", "model_type"),
    ("llama4", None, "meta-llama/Llama-4-Scout-17B-16E", "Llama", "model_type"),
    ("bert", None, "google-bert/bert-base-uncased", "BERT", "model_type"),
    ("roberta", None, "FacebookAI/roberta-base", "RoBERTa", "model_type"),
    ("xlm-roberta", None, "FacebookAI/xlm-roberta-base", "RoBERTa", "model_type"),
    ("mt5", None, "google/mt5-small", "T5", "model_type"),
    # `llama`, `mistral`, `gpt2`, `gpt_neox`: the base model decides, then the name, then the organisation
    ("llama", "meta-llama/Llama-3.1-8B", "NousResearch/Hermes-3-Llama-3.1-8B", "Llama", "base_model"),
    ("llama", "meta-llama/Llama-3.1-70B-Instruct", "nvidia/Nemotron-70B-Instruct-HF", "Llama", "base_model"),
    ("llama", "HuggingFaceTB/SmolLM2-135M", "me/tiny-finetune", "SmolLM", "base_model"),
    ("llama", "01-ai/Yi-6B", "me/llama-of-mine", "Yi", "base_model"),
    ("mistral", "mistralai/Mistral-7B-v0.1", "HuggingFaceH4/zephyr-7b-beta", "Mistral", "base_model"),
    ("gpt_neox", "EleutherAI/pythia-12b", "OpenAssistant/oasst-sft-1", "Pythia", "base_model"),
    ("llama", None, "meta-llama/Llama-3.2-1B", "Llama", "name"),
    ("llama", None, "unsloth/Llama-3.2-3B-Instruct", "Llama", "name"),
    ("llama", None, "huggyllama/llama-7b", "Llama", "name"),
    ("llama", None, "codellama/CodeLlama-7b-hf", "Llama", "name"),
    ("llama", None, "lmsys/vicuna-7b-v1.5", "Llama", "name"),
    ("llama", None, "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "Llama", "name"),
    ("llama", None, "01-ai/Yi-34B", "Yi", "name"),
    ("llama", None, "NousResearch/Nous-Hermes-2-Yi-34B", "Yi", "name"),
    ("llama", None, "HuggingFaceTB/SmolLM2-1.7B", "SmolLM", "name"),
    ("llama", None, "deepseek-ai/deepseek-llm-7b-base", "DeepSeek", "name"),
    ("llama", None, "tiiuae/Falcon3-7B-Base", "Falcon", "name"),
    ("llama", None, "ibm-granite/granite-3b-code-base", "Granite", "name"),
    ("llama", None, "cognitivecomputations/dolphin-2.9-llama3-8b", "Llama", "name"),
    ("mistral", None, "mistralai/Mistral-7B-v0.1", "Mistral", "name"),
    ("mistral", None, "mistralai/Codestral-22B-v0.1", "Mistral", "name"),
    ("mixtral", None, "mistralai/Mixtral-8x7B-v0.1", "Mistral", "name"),
    ("llava_next", None, "llava-hf/llava-v1.6-mistral-7b-hf", "Mistral", "name"),
    ("gpt2", None, "openai-community/gpt2-xl", "GPT-2", "name"),
    ("gpt2", None, "distilbert/distilgpt2", "GPT-2", "name"),
    ("gpt_neox", None, "EleutherAI/pythia-70m-deduped", "Pythia", "name"),
    ("gpt_neox", None, "databricks/dolly-v2-3b", "Pythia", "name"),
    ("gpt_neox", None, "stabilityai/stablelm-base-alpha-3b", "StableLM", "name"),
    ("llama", None, "Qwen/an-early-trial", "Qwen", "org"),
    ("mistral", None, "mistralai/Les-Ministres", "Mistral", "org"),
    (None, None, "mistralai/Mistral-Nemo-Base-2407", "Mistral", "name"),
    # a folder has a name and no organisation
    ("llama", None, "Llama-3.2-3B", "Llama", "name"),
    ("qwen3", None, "checkpoint-500", "Qwen", "model_type"),
]


@pytest.mark.parametrize(
    ("model_type", "base_model", "repo", "family", "by"),
    [pytest.param(*row, id=f"{row[2]}-{row[0]}") for row in KNOWN],
)
def test_a_model_belongs_to_the_family_that_people_name(
    model_type: str | None, base_model: str | None, repo: str, family: str, by: str
) -> None:
    assert family_of(model_type, base_model, repo) == (family, by)


@pytest.mark.parametrize(
    ("model_type", "base_model", "repo"),
    [
        pytest.param(None, None, "me/my-model", id="nothing-known"),
        pytest.param("", None, "", id="empty"),
        pytest.param("llama", None, "LLM360/Amber", id="llama-under-a-name-of-its-own"),
        pytest.param("llama", None, "upstage/SOLAR-10.7B-v1.0", id="solar"),
        pytest.param("gpt2", None, "cerebras/Cerebras-GPT-111M", id="cerebras-gpt"),
        pytest.param("gpt_neox", None, "togethercomputer/RedPajama-INCITE-Base-3B-v1", id="red-pajama"),
        pytest.param("mystery", "someone/else", "me/that", id="unknown-base-model"),
        pytest.param("llama", None, "me/dolphin-2.9", id="phi-inside-a-word"),
        pytest.param("llama", None, "me/yield-1b", id="yi-inside-a-word"),
        pytest.param("llama", None, "checkpoint-500", id="a-folder"),
    ],
)
def test_an_unknown_model_has_no_family(model_type: str | None, base_model: str | None, repo: str) -> None:
    assert family_of(model_type, base_model, repo) == (None, None)


@pytest.mark.parametrize(
    ("model_type", "repo"),
    [
        pytest.param("gpt2", "microsoft/DialoGPT-medium", id="dialogpt-is-no-phi"),
        pytest.param("deberta-v2", "microsoft/deberta-v3-base", id="deberta-is-no-phi"),
        pytest.param("biogpt", "microsoft/biogpt", id="biogpt-is-no-phi"),
        pytest.param("pegasus", "google/pegasus-xsum", id="pegasus-is-no-gemma"),
        pytest.param("switch_transformers", "google/switch-base-8", id="switch-is-no-gemma"),
        pytest.param("longformer", "allenai/longformer-base-4096", id="longformer-is-no-olmo"),
    ],
)
def test_an_organisation_of_many_families_decides_nothing(model_type: str, repo: str) -> None:
    assert family_of(model_type, None, repo) == (None, None)


def test_tulu_is_a_llama() -> None:
    assert family_of("llama", None, "allenai/Llama-3.1-Tulu-3-8B") == ("Llama", "name")
