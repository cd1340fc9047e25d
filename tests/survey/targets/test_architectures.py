"""Tiny checkpoints of many architectures, as transformers writes them: the right bytes are found.

`get_output_embeddings()` and `get_input_embeddings()` of the model that was saved are the truth.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import PreTrainedModel

import survey
from survey.errors import NotThere

LLAMA = {
    "vocab_size": 80,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
HEADS_OF_16 = {**LLAMA, "head_dim": 16}
GPT = {"vocab_size": 80, "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 32}
TOWER = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}
ROPE = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000.0}


@dataclass(frozen=True)
class Made:
    """An architecture: its class, its config, and whether it can be tied and untied at will."""

    model: str
    config: dict[str, Any]
    ties: tuple[bool, ...] = (True, False)
    text: dict[str, Any] = field(default_factory=dict)

    def build(self, tied: bool) -> PreTrainedModel:
        kind = getattr(transformers, self.model)
        config = {**self.config, "tie_word_embeddings": tied}
        if self.text:
            config["text_config"] = {**self.text, "tie_word_embeddings": tied}
        torch.manual_seed(1)
        with torch.no_grad():
            return kind(kind.config_class(**config)).eval()


ARCHITECTURES = {
    "llama": Made("LlamaForCausalLM", LLAMA),
    "qwen2": Made("Qwen2ForCausalLM", LLAMA),
    "qwen3": Made("Qwen3ForCausalLM", HEADS_OF_16),
    "gemma2": Made("Gemma2ForCausalLM", HEADS_OF_16),
    "gemma3-text": Made("Gemma3ForCausalLM", HEADS_OF_16),
    "mistral": Made("MistralForCausalLM", LLAMA),
    "phi": Made("PhiForCausalLM", LLAMA),
    "phi3": Made("Phi3ForCausalLM", LLAMA),
    "olmo2": Made("Olmo2ForCausalLM", LLAMA),
    "glm4": Made("Glm4ForCausalLM", HEADS_OF_16),
    "gpt2": Made("GPT2LMHeadModel", GPT),
    "gpt-j": Made("GPTJForCausalLM", {**GPT, "rotary_dim": 4}),
    "gpt-neox": Made("GPTNeoXForCausalLM", LLAMA),
    "opt": Made(
        "OPTForCausalLM",
        {
            "vocab_size": 80,
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "ffn_dim": 48,
            "word_embed_proj_dim": 16,
        },
    ),
    "falcon": Made(
        "FalconForCausalLM",
        {"vocab_size": 80, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
    ),
    "bloom": Made("BloomForCausalLM", {"vocab_size": 80, "hidden_size": 32, "n_layer": 1, "n_head": 2}),
    "mpt": Made("MptForCausalLM", {"vocab_size": 80, "d_model": 32, "n_heads": 2, "n_layers": 1}),
    "mamba": Made(
        "MambaForCausalLM",
        {"vocab_size": 80, "hidden_size": 32, "num_hidden_layers": 1, "state_size": 4},
    ),
    "t5": Made(  # since transformers 5 always tied; t5-1.1 has a head in files of version 4
        "T5ForConditionalGeneration",
        {"vocab_size": 80, "d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2},
        ties=(True,),
    ),
    "bart": Made(
        "BartForConditionalGeneration",
        {
            "vocab_size": 80,
            "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
            "max_position_embeddings": 32,
        },
    ),
    "whisper": Made(
        "WhisperForConditionalGeneration",
        {
            "vocab_size": 80,
            "d_model": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
        },
    ),
    "bert": Made("BertForMaskedLM", LLAMA),
    "roberta": Made("RobertaForMaskedLM", LLAMA),
    "electra": Made("ElectraForMaskedLM", {**LLAMA, "embedding_size": 16}),
    "llava": Made(
        "LlavaForConditionalGeneration",
        {
            "vision_config": {**TOWER, "model_type": "clip_vision_model", "projection_dim": 16},
            "image_token_index": 70,
        },
        text={**LLAMA, "model_type": "llama"},
    ),
    "gemma3": Made(
        "Gemma3ForConditionalGeneration",
        {"vision_config": TOWER, "mm_tokens_per_image": 1, "image_token_index": 70},
        text=HEADS_OF_16,
    ),
    "qwen3-vl": Made(
        "Qwen3VLForConditionalGeneration",
        {
            "vision_config": {
                "depth": 1,
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_heads": 2,
                "out_hidden_size": 32,
            }
        },
        text={**HEADS_OF_16, "rope_parameters": ROPE},
    ),
}


def stored_bytes(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().view(torch.uint8).numpy().tobytes()


def streamed(matrix: survey.Matrix) -> bytes:
    return b"".join(bytes(block) for block in matrix.blocks())


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def save(model: PreTrainedModel, shard_size: str = "1GB") -> Path:
        model.save_pretrained(tmp_path, max_shard_size=shard_size)
        return tmp_path

    return save


CASES = [
    pytest.param(made, tied, id=f"{name}-{'tied' if tied else 'untied'}")
    for name, made in ARCHITECTURES.items()
    for tied in made.ties
]


@pytest.mark.parametrize(
    ("shard_size", "files"), [("1GB", "one"), ("11KB", "several")], ids=["single", "sharded"]
)
@pytest.mark.parametrize(("made", "tied"), CASES)
def test_the_streamed_bytes_are_those_of_the_models_own_matrix(
    save: Callable[..., Path], made: Made, tied: bool, shard_size: str, files: str
) -> None:
    model = made.build(tied)
    output, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    assert (output is embedding) is tied
    folder = save(model, shard_size)
    assert (len(list(folder.glob("*.safetensors"))) > 1) is (files == "several")
    for matrix, weight in (("output", output), ("input", embedding)):
        opened = survey.open_matrix(folder, matrix)
        assert streamed(opened) == stored_bytes(weight)
        assert (opened.shape, opened.dtype) == (tuple(weight.shape), "F32")
        identity = opened.target.identity
        assert (identity.tied, identity.tie_stated, identity.matrix) == (tied, tied, matrix)
        assert (identity.architecture, identity.model_type) == (made.model, model.config.model_type)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=["bf16", "f16", "f64"])
def test_every_measured_dtype_is_streamed_as_stored(save: Callable[..., Path], dtype: torch.dtype) -> None:
    model = ARCHITECTURES["qwen3"].build(tied=False).to(dtype)
    assert streamed(survey.open_matrix(save(model))) == stored_bytes(model.get_output_embeddings().weight)


@pytest.mark.parametrize("name", ["gpt-j", "phi", "bart", "bert", "roberta"])
def test_a_head_with_a_bias_is_known(save: Callable[..., Path], name: str) -> None:
    assert survey.open_matrix(save(ARCHITECTURES[name].build(tied=True))).target.identity.head_bias


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3", "mamba"])
def test_a_head_without_a_bias_is_known(save: Callable[..., Path], name: str) -> None:
    assert not survey.open_matrix(save(ARCHITECTURES[name].build(tied=True))).target.identity.head_bias


BASES = ["llama", "qwen3", "gemma2", "gpt2", "gpt-neox", "opt", "bloom", "mamba", "bert", "llava", "gemma3"]


@pytest.mark.parametrize("name", BASES)
def test_an_untied_model_saved_without_its_head_is_refused(save: Callable[..., Path], name: str) -> None:
    base = ARCHITECTURES[name].build(tied=False).base_model
    folder = save(base)
    with pytest.raises(NotThere, match="base model") as caught:
        survey.open_matrix(folder)
    assert caught.value.reason == "no-head"
    embedding = survey.open_matrix(folder, "input")
    assert streamed(embedding) == stored_bytes(base.get_input_embeddings().weight)
    assert not embedding.target.identity.tied


@pytest.mark.parametrize("name", BASES)
def test_a_tied_model_saved_without_its_head_has_its_embedding_for_one(
    save: Callable[..., Path], name: str
) -> None:
    model = ARCHITECTURES[name].build(tied=True)
    opened = survey.open_matrix(save(model.base_model))
    assert streamed(opened) == stored_bytes(model.get_output_embeddings().weight)
    assert opened.target.identity.tied


@pytest.mark.parametrize(("outer", "inner"), [(True, False), (False, True)], ids=["outer-tied", "inner-tied"])
@pytest.mark.parametrize("name", ["llava", "gemma3"])
def test_a_multimodal_model_whose_configs_disagree_is_read_as_it_was_saved(
    save: Callable[..., Path], name: str, outer: bool, inner: bool
) -> None:
    made = ARCHITECTURES[name]
    text = {**made.text, "tie_word_embeddings": inner}
    model = Made(made.model, {**made.config, "text_config": text}).build(tied=outer)
    opened = survey.open_matrix(save(model))
    output = model.get_output_embeddings().weight
    assert streamed(opened) == stored_bytes(output)
    assert opened.target.identity.tied is (output is model.get_input_embeddings().weight)
    assert opened.target.identity.tie_stated is json.loads(
        (opened.target.folder / "config.json").read_text()
    ).get("tie_word_embeddings")


def test_version_4_left_out_what_is_tied(save: Callable[..., Path]) -> None:
    model = ARCHITECTURES["gpt2"].build(tied=True)
    folder = save(model)
    config = json.loads((folder / "config.json").read_text())
    del config["tie_word_embeddings"]
    (folder / "config.json").write_text(json.dumps(config))
    opened = survey.open_matrix(folder)
    assert (opened.target.identity.tied, opened.target.identity.tie_stated) == (True, None)
    assert streamed(opened) == stored_bytes(model.get_output_embeddings().weight)
