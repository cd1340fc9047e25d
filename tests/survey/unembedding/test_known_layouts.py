"""Checkpoints with known names, in wrappers and adapters, beside parts that only look like a head."""

from __future__ import annotations

import pytest
from support.checkpoints import EMBED, HEAD
from support.layouts import (
    FULL,
    LAYERS,
    LLAMA,
    LLAMA_TIED,
    LLAMA_UNTIED,
    SQUARE,
    VECTOR,
    D,
    Layout,
    V,
    chosen,
)


def below(prefix: str, *names: str) -> dict[str, tuple[int, ...]]:
    """An untied model whose names all begin so."""
    tensors = dict.fromkeys(names, FULL)
    return {prefix + name: shape for name, shape in {**tensors, **LAYERS}.items()}


MEASURED = {
    # wrappers that no list names
    "compiled": Layout(below("_orig_mod.", EMBED, HEAD), LLAMA_UNTIED, f"_orig_mod.{HEAD}", f"_orig_mod.{EMBED}"),
    "distributed": Layout(below("module.", EMBED, HEAD), LLAMA_UNTIED, f"module.{HEAD}", f"module.{EMBED}"),
    "an adapter inside": Layout(
        below("llm.base_model.model.", EMBED, HEAD),
        LLAMA_UNTIED,
        f"llm.base_model.model.{HEAD}",
        f"llm.base_model.model.{EMBED}",
    ),
    "a wrapper that nobody has heard of": Layout(below("zeta.eta.", EMBED, HEAD), LLAMA_UNTIED, f"zeta.eta.{HEAD}", f"zeta.eta.{EMBED}"),
    "moondream": Layout(
        {"model.text.wte": FULL, "model.text.lm_head.weight": FULL, "model.text.blocks.0.attn.qkv.weight": SQUARE, "model.vision.pos_emb": (1, 4, D)},
        {"model_type": "moondream1"},
        "model.text.lm_head.weight",
        "model.text.wte",
    ),
    "ernie's own body": Layout({"ernie.embed_tokens.weight": FULL, HEAD: FULL, "ernie.layers.0.mlp.weight": SQUARE}, LLAMA_UNTIED, HEAD, "ernie.embed_tokens.weight"),
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
        {EMBED: FULL, "lm_head.original_module.weight": FULL, "lm_head.modules_to_save.default.weight": FULL, **LAYERS},
        LLAMA_TIED,
        "lm_head.modules_to_save.default.weight",
    ),
    "the same by another name": Layout({EMBED: FULL, "lm_head.original_module.weight": FULL, "lm_head.modules_to_save.mine.weight": FULL}, LLAMA_UNTIED, "lm_head.modules_to_save.mine.weight"),
    "a head beside which nothing was trained": Layout({EMBED: FULL, "lm_head.base_layer.weight": FULL}, LLAMA_TIED, "lm_head.base_layer.weight"),
    "an embedding beside which nothing was trained": Layout({"model.embed_tokens.base_layer.weight": FULL}, LLAMA_TIED, "model.embed_tokens.base_layer.weight", "model.embed_tokens.base_layer.weight", tied=True),
    "a head that a compiler wrapped": Layout({EMBED: FULL, "lm_head._orig_mod.weight": FULL, **LAYERS}, LLAMA_TIED, "lm_head._orig_mod.weight"),
    "a head that was wrapped twice": Layout({"model.embed_tokens._checkpoint_wrapped_module.weight": FULL, "lm_head._fsdp_wrapped_module.module.weight": FULL, **LAYERS}, LLAMA_UNTIED, "lm_head._fsdp_wrapped_module.module.weight", "model.embed_tokens._checkpoint_wrapped_module.weight"),
    "integers that are made of an embedding": Layout({EMBED: FULL, "model.embed_tokens.weight_integer": FULL, **LAYERS}, LLAMA_TIED, EMBED, tied=True),
    # what looks like a head and is none
    "a table of positions of the same size": Layout({EMBED: FULL, "model.embed_positions.weight": FULL}, LLAMA_TIED, EMBED, tied=True),
    "tables for each layer": Layout({EMBED: FULL, "model.embed_tokens_per_layer.weight": FULL}, LLAMA_TIED, EMBED, tied=True),
    "the head of a draft": Layout({EMBED: FULL, "model.mtp.lm_head.weight": FULL, "medusa_head.0.1.weight": FULL}, LLAMA_TIED, EMBED, tied=True),
    "a second head in a layer": Layout({EMBED: FULL, "model.layers.9.shared_head.head.weight": FULL, "model.layers.9.embed_tokens.weight": FULL}, LLAMA_TIED, EMBED, tied=True),
    "towers": Layout({EMBED: FULL, "vision_tower.head.weight": (10, D), "audio_tower.output.weight": (V, 4), "talker.lm_head.weight": (V // 2, D)}, LLAMA_TIED, EMBED, tied=True),
    "what a head does before": Layout({"bert.embeddings.word_embeddings.weight": FULL, "cls.predictions.transform.dense.weight": SQUARE, "lm_head.dense.weight": SQUARE, "lm_head.layer_norm.weight": VECTOR}, LLAMA | {"model_type": "bert"}, "bert.embeddings.word_embeddings.weight", "bert.embeddings.word_embeddings.weight", tied=True),
    "outputs of attention": Layout({EMBED: FULL, "model.layers.0.attn.output.weight": SQUARE, "model.output_layer_norm.weight": VECTOR}, LLAMA_TIED, EMBED, tied=True),
    "codes of layers": Layout({EMBED: FULL, "model.layers.0.mlp.trellis": (4, 4), "model.layers.0.mlp.svh": VECTOR}, LLAMA_TIED, EMBED, tied=True),
}  # fmt: skip


@pytest.mark.parametrize("layout", MEASURED.values(), ids=MEASURED)
def test_each_matrix_is_chosen(layout: Layout) -> None:
    target = chosen(layout.files())
    assert (target.spec.name, target.identity.tied) == (layout.output, layout.tied)
    assert chosen(layout.files(), "input").spec.name == layout.input
