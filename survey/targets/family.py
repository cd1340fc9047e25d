"""The family that people speak of: Qwen, Llama, Gemma, …

`model_type` decides if it is unambiguous. Many families share an architecture (`llama`, `mistral`,
`gpt2`, …); then the base model's name, the repository's name and the organisation decide, in this order.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

FamilyBy = Literal["model_type", "base_model", "name", "org"]


class Family(NamedTuple):
    """A family and what decided it; (None, None) if nothing does."""

    name: str | None
    by: FamilyBy | None


# A model type belongs to the family of its longest matching prefix.
MODEL_TYPES: dict[str, str] = {
    "afmoe": "Trinity", "apertus": "Apertus", "arcee": "Arcee", "aya": "Cohere",
    "bamba": "Bamba", "bert": "BERT", "bitnet": "BitNet", "bloom": "BLOOM",
    "chatglm": "GLM", "codegen": "CodeGen", "cohere": "Cohere", "cpm": "MiniCPM",
    "dbrx": "DBRX", "deepseek": "DeepSeek", "electra": "ELECTRA", "ernie": "ERNIE",
    "exaone": "EXAONE", "falcon": "Falcon", "gemma": "Gemma", "glm": "GLM",
    "gpt_bigcode": "StarCoder", "gpt_neo": "GPT-Neo", "gpt_neox_japanese": "GPT-NeoX",
    "gpt_oss": "gpt-oss", "gptj": "GPT-J",
    "granite": "Granite", "hunyuan": "Hunyuan", "internlm": "InternLM", "jamba": "Jamba",
    "kimi": "Kimi", "lfm": "LFM", "mamba": "Mamba", "minicpm": "MiniCPM",
    "minimax": "MiniMax", "ministral": "Mistral", "mistral3": "Mistral", "mllama": "Llama",
    "modernbert": "ModernBERT", "mpt": "MPT", "nemotron": "Nemotron", "olmo": "OLMo",
    "opt": "OPT", "paligemma": "Gemma", "persimmon": "Persimmon", "phi": "Phi",
    "pixtral": "Mistral", "qwen": "Qwen", "qwq": "Qwen", "recurrent_gemma": "Gemma",
    "roberta": "RoBERTa", "rwkv": "RWKV", "seed_oss": "Seed", "shieldgemma": "Gemma",
    "smollm": "SmolLM", "smolvlm": "SmolLM", "stablelm": "StableLM", "starcoder": "StarCoder",
    "t5": "T5", "t5gemma": "Gemma", "mt5": "T5", "umt5": "T5", "vaultgemma": "Gemma", "xglm": "XGLM",
    "xlm-roberta": "RoBERTa", "zamba": "Zamba", "llama4": "Llama", "baichuan": "Baichuan",
}  # fmt: skip

# Types that many families share: they name an architecture, not a family.
SHARED_TYPES = frozenset(
    {"llama", "mistral", "mixtral", "gpt2", "gpt_neox", "llava", "llava_next", "gpt-neox"}
)

# Names as people write them. The first match wins, so families that use Llama's architecture stand
# before "llama".
FAMILY_PATTERNS: tuple[tuple[str, str], ...] = (
    (r"tiny[-_]?llama|open[-_]?llama", "Llama"),
    (r"deepseek", "DeepSeek"),
    (r"smol[-_]?(lm|vlm|llama)", "SmolLM"),
    (r"\byi[-_]", "Yi"),
    (r"qwen|qwq", "Qwen"),
    (r"gemma", "Gemma"),
    (r"mistral|mixtral|ministral|codestral|devstral|magistral|mathstral|zephyr|pixtral", "Mistral"),
    (r"\bphi[-_]?\d", "Phi"),
    (r"olmo", "OLMo"),
    (r"granite", "Granite"),
    (r"falcon", "Falcon"),
    (r"internlm", "InternLM"),
    (r"minicpm", "MiniCPM"),
    (r"stablelm", "StableLM"),
    (r"exaone", "EXAONE"),
    (r"nemotron", "Nemotron"),
    (r"pythia|gpt[-_]?neox|dolly", "Pythia"),
    (r"gpt[-_]?2", "GPT-2"),
    (r"baichuan", "Baichuan"),
    (r"llama|vicuna|alpaca", "Llama"),
)

# Organisations with a single family; they decide only if the architecture is shared or unknown.
ORGS: dict[str, str] = {
    "01-ai": "Yi",
    "deepseek-ai": "DeepSeek",
    "eleutherai": "Pythia",
    "ibm-granite": "Granite",
    "huggingfacetb": "SmolLM",
    "meta-llama": "Llama",
    "mistralai": "Mistral",
    "openai-community": "GPT-2",
    "qwen": "Qwen",
}


def family_of(model_type: str | None, base_model: str | None, repo: str) -> Family:
    """The family of a model, and what decided it."""
    kind = (model_type or "").lower()
    if kind not in SHARED_TYPES:
        prefixes = [prefix for prefix in MODEL_TYPES if kind.startswith(prefix)]
        if prefixes:
            return Family(MODEL_TYPES[max(prefixes, key=len)], "model_type")
    if base_model and (name := _by_name(base_model)):
        return Family(name, "base_model")
    org, _, short = repo.rpartition("/")
    if name := _by_name(short):
        return Family(name, "name")
    is_open = kind in SHARED_TYPES or not kind
    if is_open and (name := ORGS.get(org.rpartition("/")[2].lower())):
        return Family(name, "org")
    return Family(None, None)


def _by_name(repo: str) -> str | None:
    short = repo.rpartition("/")[2]
    for pattern, family in FAMILY_PATTERNS:
        if re.search(pattern, short, re.IGNORECASE):
            return family
    return None
