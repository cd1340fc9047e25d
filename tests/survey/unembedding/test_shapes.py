"""A tensor that is transposed, cut, or of another vocabulary by its shape is refused."""

from __future__ import annotations

from typing import Any

import pytest
from support.checkpoints import EMBED, HEAD
from support.layouts import FULL, LAYERS, LLAMA, LLAMA_TIED, LLAMA_UNTIED, D, Layout, V, chosen, refused

CONFIGS = {
    "gpt-2": {"vocab_size": V, "n_embd": D},
    "t5": {"vocab_size": V, "d_model": D},
    "mistral's own": {"vocab_size": V, "dim": D},
    "openelm": {"vocab_size": V, "model_dim": D},
    "chatglm": {"padded_vocab_size": V, "hidden_size": D},
    "multimodal": {"text_config": {"vocab_size": V, "hidden_size": D}, "vision_config": {"hidden_size": 4}},
    "internvl": {"llm_config": {"vocab_size": V, "hidden_size": D}},
    "deepseek-vl": {"language_config": {"vocab_size": V, "hidden_size": D}},
    "deeply nested": {"model": {"vocab_size": V, "text_config": {"vocab_size": V, "hidden_size": D}}},
    "width outside": {"hidden_size": D, "text_config": {"vocab_size": V}},
    "nothing": {},
}


SHAPES = {
    "transposed": (D, V),
    "one row": (1, D),
    "half": (V // 2, D),
    "a third": (V // 3, D),
    "three quarters": (3 * V // 4, D),
    "one dimension": (V,),
    "no rows": (0, D),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_shape_that_is_not_the_whole_matrix_is_refused(
    shape: tuple[int, ...], config: dict[str, Any]
) -> None:
    files = Layout({"transformer.wte.weight": FULL, HEAD: shape, **LAYERS}, config, "").files()
    error = refused(files)
    assert (error.reason, HEAD in error.problem) == ("no-head", True)


@pytest.mark.parametrize("config", [LLAMA_TIED, {}], ids=["stated", "nothing"])
@pytest.mark.parametrize("shape", [(0, D), (V, 0)], ids=["no rows", "no columns"])
def test_an_empty_embedding_is_refused_whatever_lies_beside_it(
    shape: tuple[int, ...], config: dict[str, Any]
) -> None:
    beside = {"thing.w": (2 * D, D), "head.parts": (3, 1, 7), "head.empty": (3, 0, 7), **LAYERS}
    error = refused(Layout({EMBED: shape, **beside}, config, "").files())
    assert (error.reason, EMBED in error.problem) == ("no-head", True)


@pytest.mark.parametrize("config", [config for name, config in CONFIGS.items() if name != "nothing"], ids=str)
def test_half_of_the_columns_is_not_enough(config: dict[str, Any]) -> None:
    files = Layout({"transformer.wte.weight": FULL, HEAD: (V, D // 2)}, config, "").files()
    assert "4 columns, the config says 8" in refused(files).problem


@pytest.mark.parametrize(
    ("shape", "config"),
    [
        pytest.param((V + 32, D), LLAMA, id="padding"),
        pytest.param((V, D // 2), LLAMA | {"word_embed_proj_dim": D // 2}, id="a-narrow-embedding"),
        pytest.param((V, D), LLAMA | {"audio_config": {"vocab_size": 9 * V, "hidden_size": D}}, id="a-tower"),
        pytest.param((V, D), {"vocab_size": "many", "hidden_size": [D]}, id="a-config-of-other-types"),
        pytest.param((V // 2, D), LLAMA | {"decoder_vocab_size": V // 2}, id="a-decoder-of-its-own-tokens"),
        pytest.param((V, D), LLAMA | {"decoder_vocab_size": V, "vocab_size": 4 * V}, id="an-encoder-of-more"),
        pytest.param((V - 4, D), {}, id="rows-for-images-in-the-embedding"),
    ],
)
def test_other_shapes_are_measured(shape: tuple[int, ...], config: dict[str, Any]) -> None:
    assert chosen(Layout({EMBED: FULL, HEAD: shape, **LAYERS}, config, "").files()).spec.shape == shape


@pytest.mark.parametrize("key", ["moe_intermediate_size", "head_dim", "max_window_size", "dimensionality"])
def test_only_an_embeddings_width_excuses_fewer_columns(key: str) -> None:
    files = Layout({EMBED: FULL, HEAD: (V, D // 2), **LAYERS}, LLAMA_UNTIED | {key: D // 2}, "").files()
    assert (refused(files).reason, "columns" in refused(files).problem) == ("no-head", True)


@pytest.mark.parametrize("rows", [V + 256, 8 * V])
def test_many_more_rows_than_tokens_are_for_others(rows: int) -> None:
    assert (
        refused(Layout({EMBED: FULL, HEAD: (rows, D), **LAYERS}, LLAMA_UNTIED, "").files()).reason
        == "no-head"
    )
