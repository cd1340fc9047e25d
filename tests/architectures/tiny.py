"""A tiny config of any architecture: its default config, with everything that costs memory made smaller.

All widths are divided by one number, so that sizes that must agree (hidden size, heads × head size, the two
parts of a query) still do. Counts of layers and experts are cut, and with them the lists with an entry for each
layer. The rules name no architecture.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

VOCAB_ROWS = 520
OTHER_ROWS = 512  # of a vocabulary beside it, as of sounds, whose size in the default config is another
LARGEST = 24_000_000  # parameters
_WIDTH = re.compile(
    r"size|dim|rank|d_model|d_kv|d_ff|dff|n_embd|n_inner|width|channels|d_ssm|d_head|_in$|_out$"
)
_NO_WIDTH = re.compile(
    r"vocab|image|patch|window|chunk|kernel|block_size|rate|batch|token|spatial|temporal|crop|base_channels"
)
_LAYERS = re.compile(
    r"(num|n|encoder|decoder)_(\w+_)?layers?$|^(layers|depth|num_blocks|num_layers|n_layers)$"
)
_NO_LAYERS = re.compile(r"nextn|lstm|shared|dense_layers|per_|every|window_layers|residual")
_WHICH_LAYERS = re.compile(r"feature_layers?$|layers?_ids?$|cross_attention_layers$")
_EXPERTS = re.compile(r"experts$")
_TOKEN = re.compile(r"token_(id|index|idx)$|(boi|eoi|boa|eoa)_token|vocab_offset|token_ids?$")
_TABLE = re.compile(r"max_position|n_positions|ngram_vocab_size|hash_byte_group_vocab|max_seq_len|max_source")


ROPE = {"rope_type": "default", "rope_theta": 10_000.0}

# Values that a default config omits, or states in a way from which no model can be built.
MENDED: dict[str, dict[str, Any]] = {
    "aya_vision": {"vision_config": {"num_attention_heads": 12}},
    "chameleon": {"vocabulary_map": {"<image>": 5}, "vq_config": {"base_channels": 32}},
    "cohere_compass": {"text_config": {"rope_parameters": {"full_attention": ROPE}}},
    "cohere_compass_text": {"rope_parameters": {"full_attention": ROPE}},
    "dbrx": {"attn_config": {"rope_theta": 10_000.0}},
    "deepseek_ocr2": {
        "text_config": {
            "mlp_layer_types": ["dense", "sparse"] * 16,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 1408,
        }
    },
    "diffusion_gemma": {"text_config": {"num_experts": 8, "top_k_experts": 2, "moe_intermediate_size": 512}},
    "dots1": {"n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "emu3": {"vocabulary_map": {"<image>": 5, "<|extra_200|>": 6}, "vq_config": {"base_channels": 32}},
    "ernie4_5_vl_moe": {
        "text_config": {"hidden_size": 2048, "num_attention_heads": 1, "num_key_value_heads": 1}
    },
    "falcon_h1": {"mamba_n_heads": 32, "mamba_d_head": 32},
    "florence2": {"vision_config": {"embed_dim": [32, 64, 128, 256]}},
    "gemma4_assistant": {
        "text_config": {
            "model_type": "gemma4_text",
            "hidden_size_per_layer_input": 0,
            "vocab_size_per_layer_input": 0,
        }
    },
    "granite4_vision": {
        "deepstack_layer_map": [[0, 0]],
        "downsample_rate": "4/8",
        "vision_config": {"hidden_size": 1024, "num_attention_heads": 16},
    },
    "janus": {"vq_config": {"base_channels": 32, "latent_channels": 32}},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 16},
    "reformer": {"is_decoder": True, "axial_pos_embds": False},
    "vibevoice_asr": {
        part: {"num_filters": 4, "hidden_size": 16}
        for part in ("acoustic_tokenizer_encoder_config", "semantic_tokenizer_encoder_config")
    },
}


def tiny_configs(kind: type[PretrainedConfig]) -> Iterator[PretrainedConfig]:
    """Candidate configs, the smallest first; some of them cannot be built."""
    mended = MENDED.get(kind.model_type, {})
    try:
        whole = _merged(kind().to_dict(), mended)
    except Exception:  # noqa: BLE001 - a contradictory default
        whole = kind(**mended).to_dict()
    for divisor in (32, 16, 8, 4, 2, 1):
        for layers in (2, 4, 6, 1000):
            try:
                yield kind(**_smaller(whole, divisor, layers))
            except Exception:  # noqa: BLE001 - foreign code: the next candidate may work
                continue


def build_tiny(
    model: type[PreTrainedModel], change: Callable[[PretrainedConfig], None] = lambda config: None
) -> PreTrainedModel:
    """The model with random weights, from the first candidate config that works.

    Raises the error of the last candidate if none works.
    """
    last: Exception = ValueError("its default config cannot be built")
    for config in tiny_configs(model.config_class):
        change(config)
        try:
            with torch.device("meta"):
                size = sum(parameter.numel() for parameter in model(config).parameters())
            if size > LARGEST:
                last = ValueError(f"at its smallest it has {size:,} parameters")
                continue
            return _filled(model(config))
        except Exception as error:  # noqa: BLE001 - as above
            last = error
    raise last


def _filled(model: PreTrainedModel) -> PreTrainedModel:
    """Fill every parameter with random numbers: zeros of an initialiser would make matrices equal."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.normal_()
    return model.eval()


def _merged(config: Mapping[str, Any], mended: Mapping[str, Any]) -> dict[str, Any]:
    parts = {
        name: _merged(config[name], value)
        if isinstance(config.get(name), dict) and "model_type" not in value
        else value
        for name, value in mended.items()
    }
    return {**config, **parts}


def _smaller(config: Mapping[str, Any], divisor: int, layers: int) -> dict[str, Any]:
    counts = {value for key, value in config.items() if _counts_layers(key, value)}
    small = {key: _value(str(key), value, divisor, layers, counts) for key, value in config.items()}
    text = config.get("vocab_size")
    small |= {
        key: min(value, OTHER_ROWS)
        for key, value in config.items()
        if str(key).endswith("vocab_size") and isinstance(value, int) and text not in (None, value)
    }
    heads, hidden = small.get("num_attention_heads"), small.get("hidden_size")
    # Some defaults omit values that follow from the others.
    if small.get("num_key_value_heads", 0) is None:
        small["num_key_value_heads"] = heads
    if small.get("head_dim", 0) is None and isinstance(heads, int) and isinstance(hidden, int):
        small["head_dim"] = hidden // heads
    return small


def _value(key: str, value: Any, divisor: int, layers: int, counts: set[int]) -> Any:
    if key == "mrope_section":
        return [item // divisor for item in value]
    if key == "per_layer_config":
        return {layer: item for layer, item in value.items() if int(layer) < layers} if value else value
    if isinstance(value, dict):
        return _smaller(value, divisor, layers)
    if isinstance(value, list) and len(value) in counts and len(value) > layers:
        return value[:layers]
    if isinstance(value, list) and _WHICH_LAYERS.search(key):
        return [item % layers if isinstance(item, int) and item > 0 else item for item in value]
    if key.endswith("shared_layers"):
        return min(value, layers) if value in counts else 0
    if isinstance(value, list) and _TOKEN.search(key):
        return [item % VOCAB_ROWS if isinstance(item, int) else item for item in value]
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if _TOKEN.search(key):
        return value % VOCAB_ROWS if value > 0 else value
    if _TABLE.search(key):
        return min(value, 1024)
    if "vocab_size" in key:
        return min(value, VOCAB_ROWS)
    if _counts_layers(key, value):
        return min(value, layers)
    if _EXPERTS.search(key):
        return min(value, 16)  # some models route each token to ten
    if _WIDTH.search(key) and not _NO_WIDTH.search(key) and value >= 32 and value % divisor == 0:
        return value // divisor
    return value


def _counts_layers(key: Any, value: Any) -> bool:
    named = isinstance(key, str) and _LAYERS.search(key) and not _NO_LAYERS.search(key)
    return bool(named) and isinstance(value, int) and not isinstance(value, bool)
