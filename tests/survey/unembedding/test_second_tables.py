"""A second tensor of the vocabulary's shape is refused, whatever its name."""

from __future__ import annotations

import pytest
from support.checkpoints import EMBED, HEAD
from support.layouts import FULL, LAYERS, LLAMA_TIED, D, Layout, V, chosen, refused

SECOND_TABLES = """
    tail.1.weight final.1.weight logits.0.weight generator.1.weight model.layers.33.weight
    pipeline.9.linear.weight sequential.45.final_linear.weight model.layers.33.final.weight
    output_projector.weight model.lm_head_projector.weight model.diffusion_head.weight codec_lm_head.weight
    image_text_head.weight lm_head.dense.weight lm_head.transform.weight lm_head_norm.weight
    lm_head.out_norm.weight normhead.weight unbiased_lm_head.weight flora_head.weight dense.weight
    output_dense.weight output_emb.weight logits_emb.weight tgt_emb softmax_embedding.weight
    decoder_embedding.weight target_embed.weight token_out.weight final_w.weight emb_out.weight emb_head.weight
    vocab.weight wte_out.weight model.tok_logits.weight
""".split()  # noqa: SIM905 - words


LISTED_LAYERS = {f"model.layers.{number}.mlp.up_proj.weight": (V, D) for number in range(2)}


@pytest.mark.parametrize("shape", [FULL, (D, V), (1, V, D), (V * D,)], ids=str)
@pytest.mark.parametrize("wrapper", ["", "language_model."], ids=["alone", "wrapped"])
@pytest.mark.parametrize("name", SECOND_TABLES)
def test_a_second_table_is_refused_by_its_shape(name: str, wrapper: str, shape: tuple[int, ...]) -> None:
    tensors = {EMBED: FULL, name: shape, **LAYERS}
    files = Layout({wrapper + key: value for key, value in tensors.items()}, LLAMA_TIED, "").files()
    error = refused(files)
    assert (error.reason, wrapper + name in error.problem) == ("unknown-head", True), error


@pytest.mark.parametrize(
    "name",
    [
        "vision_tower.pooler.dense.weight",
        "audio_codec.codebook.weight",
        "model.layers.9.embed_tokens.weight",
        "model.layers.9.shared_head.head.weight",
        "language_embeddings.weight",
        "model.token_type_embeddings.weight",
    ],
)
def test_other_parts_and_other_tables_have_that_shape_too(name: str) -> None:
    layout = Layout({EMBED: FULL, name: FULL, **LISTED_LAYERS}, LLAMA_TIED, "")
    assert chosen(layout.files()).identity.tied


@pytest.mark.parametrize("shape", [(V + 64, D), (V // 2, D), (D, V // 2)], ids=["padded", "half", "turned"])
@pytest.mark.parametrize("name", ["final_proj.weight", "tail.weight", "fc.weight"])
def test_a_padded_or_cut_table_is_refused(name: str, shape: tuple[int, ...]) -> None:
    error = refused(Layout({EMBED: FULL, name: shape, **LAYERS}, LLAMA_TIED, "").files())
    assert (error.reason, name in error.problem) == ("unknown-head", True)


@pytest.mark.parametrize("wrapper", ["", "language_model."], ids=["alone", "wrapped"])
@pytest.mark.parametrize("name", ["model.wordvecs.weight", "model.word_embed.weight", "model.tail.weight"])
def test_a_head_is_no_embedding_beside_a_second_table(name: str, wrapper: str) -> None:
    tensors = {wrapper + key: shape for key, shape in {HEAD: FULL, name: FULL, **LAYERS}.items()}
    files = Layout(tensors, LLAMA_TIED, "").files()
    error = refused(files, "input")
    assert (error.reason, wrapper + name in error.problem) == ("unknown-head", True)
    assert (chosen(files).spec.name, chosen(files).identity.tied) == (wrapper + HEAD, False)
