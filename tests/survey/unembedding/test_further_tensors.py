"""Tensors beside a matrix: more of its rows, updates of it, a second copy, and harmless neighbours."""

from __future__ import annotations

from typing import Any

import pytest
from support.checkpoints import EMBED, HEAD, single, stored
from support.in_memory_checkpoint import HeldCheckpoint
from support.layouts import (
    FULL,
    LAYERS,
    LLAMA_TIED,
    LLAMA_UNTIED,
    SQUARE,
    VECTOR,
    D,
    Layout,
    V,
    chosen,
    refused,
    with_metadata,
)

from survey.onepass.geometry import row_blocks
from survey.records.target import MatrixName
from survey.sharding.pieces import stream_rows


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
@pytest.mark.parametrize(
    ("matrix", "name"),
    [
        ("output", "lm_head.additional_fc.weight"),
        ("output", "lm_head.new_weight"),
        ("input", "model.embed_tokens.additional_embedding.weight"),
        ("input", "model.embed_tokens.new_embedding"),
    ],
)
def test_rows_in_a_tensor_of_their_own_follow_the_others(matrix: MatrixName, name: str, dtype: str) -> None:
    tensors = {EMBED: stored(*FULL), HEAD: stored(*FULL, seed=1), name: stored(2, D, dtype=dtype, seed=2)}
    files = single(tensors, LLAMA_UNTIED)
    if dtype != "F32":  # tensors of two dtypes are not one matrix
        assert refused(files, matrix).reason == "split-head"
        return
    target = chosen(files, matrix)
    first = HEAD if matrix == "output" else EMBED
    assert (target.spec.name, target.spec.shape) == (first, (V + 2, D))
    rows = b"".join(
        bytes(block) for block in stream_rows(HeldCheckpoint(files), target.spec, row_blocks(target.spec))
    )
    assert rows == tensors[first].data + tensors[name].data


INT8 = {
    "quant_method": "compressed-tensors",
    "config_groups": {"a": {"weights": {"num_bits": 8, "type": "int"}}},
}
IN_PARTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "in parts by rows": (
        {"lm_head.weight.0": stored(V // 2, D), "lm_head.weight.1": stored(V // 2, D, seed=1),
         "lm_head.additional_fc.weight": stored(2, D, seed=2)},
        {},
    ),
    "levels and factors": (
        {HEAD: stored(*FULL, dtype="I8"), f"{HEAD}_scale": stored(V, 1),
         "lm_head.additional_fc.weight": stored(2, D, dtype="I8"),
         "lm_head.additional_fc.weight_scale": stored(2, 1)},
        {"quantization_config": INT8},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("tensors", "config"), IN_PARTS.values(), ids=IN_PARTS)
def test_rows_that_follow_a_matrix_in_parts_are_refused(
    tensors: dict[str, Any], config: dict[str, Any]
) -> None:
    """Put together as if it were one tensor, the first rows would be other bytes of the file."""
    files = single({EMBED: stored(*FULL, seed=3), **tensors}, LLAMA_UNTIED | config)
    error = refused(files)
    assert (error.reason, "lie in several tensors" in error.problem) == ("split-head", True)
    alone = {name: tensor for name, tensor in tensors.items() if "additional" not in name}
    files = single({EMBED: stored(*FULL, seed=3), **alone}, LLAMA_UNTIED | config)
    assert chosen(files).spec.shape == FULL


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize(
    "name",
    [
        "lm_head.weight_extra",
        "lm_head.second.weight",
        "new_lm_head.weight",
        "model.embed_tokens.weight_2",
        "model.extra_embeddings.weight",
    ],
)
def test_rows_in_a_tensor_of_their_own_are_never_dropped(name: str, tied: bool) -> None:
    tensors = {EMBED: FULL, name: (2, D), **LAYERS}
    if not tied or "head" in name:
        tensors[HEAD] = FULL
    files = Layout(tensors, LLAMA_TIED if tied else LLAMA_UNTIED, "").files()
    of_head = HEAD in name or "lm_head" in name
    for matrix in ("output", "input"):
        concerned = (tied and HEAD not in tensors) or of_head is (matrix == "output")
        if concerned:
            error = refused(files, matrix)
            assert (error.reason, name in error.problem) == ("split-head", True)
        else:
            assert chosen(files, matrix).spec.name == (HEAD if matrix == "output" else EMBED)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        pytest.param("lm_head.dense.weight", SQUARE, id="a-layer-before"),
        pytest.param("lm_head.bias", (V,), id="a-bias"),
        pytest.param("model.new_norm.weight", VECTOR, id="a-norm"),
        pytest.param("model.embeddings.position_embeddings.weight", (4, D), id="positions"),
        pytest.param("model.new_embeddings.weight", (2, 2 * D), id="another-width"),
        pytest.param("vision_tower.extra_embeddings.weight", (2, D), id="a-tower"),
        pytest.param("model.layers.0.new_embeddings.weight", (2, D), id="a-layer"),
    ],
)
def test_harmless_neighbours_of_a_matrix_add_no_rows(name: str, shape: tuple[int, ...]) -> None:
    files = Layout({EMBED: FULL, HEAD: FULL, name: shape, **LAYERS}, LLAMA_UNTIED, "").files()
    assert [chosen(files, matrix).spec.name for matrix in ("output", "input")] == [HEAD, EMBED]


@pytest.mark.parametrize("rest", ["lora_embedding_A.default", "token_adapter.trainable_tokens_delta.default"])
@pytest.mark.parametrize("matrix", ["output", "input"])
def test_an_update_of_the_embedding_is_refused_on_both_sides(rest: str, matrix: MatrixName) -> None:
    tensors = {"model.embed_tokens.base_layer.weight": FULL, f"model.embed_tokens.{rest}": (2, V), **LAYERS}
    error = refused(Layout(tensors, LLAMA_TIED, "").files(), matrix)
    assert (error.reason, rest in error.problem) == ("no-head", True)


ELSEWHERE = {
    "base_model.model.lm_head.lora_A.weight": "no-head",
    "model.lm_head.lora_B.weight": "no-head",
    "lm_head_lora_A.weight": "no-head",
    "lm_head_adapter.A.weight": "no-head",
    "lm_head_special.weight": "split-head",
    "lm_head_image_tokens.weight": "split-head",
    "model.embed_tokens_lora.A.weight": "no-head",
    "base_model.model.model.embed_tokens.trainable_tokens_delta": "no-head",
    "model.embed_tokens_ext.weight": "split-head",
    "model.embed_tokens2.weight": "split-head",
    "model.special_embeddings.weight": "split-head",
}


@pytest.mark.parametrize(("name", "reason"), ELSEWHERE.items(), ids=ELSEWHERE)
def test_updates_and_further_rows_outside_the_module_are_refused(name: str, reason: str) -> None:
    files = Layout({EMBED: FULL, HEAD: FULL, name: (2, D), **LAYERS}, LLAMA_UNTIED, "").files()
    error = refused(files, "output" if "lm_head" in name else "input")
    assert (error.reason, name in error.problem) == (reason, True), error


@pytest.mark.parametrize(
    ("name", "matrix"),
    [
        ("language_model.lm_head.weight", "output"),
        ("model.lm_head.weight", "output"),
        ("unembed.weight", "output"),
        ("embed_tokens.weight", "input"),
    ],
)
def test_of_two_whole_matrices_none_is_chosen_unless_they_are_one(name: str, matrix: MatrixName) -> None:
    tensors = {EMBED: stored(*FULL), HEAD: stored(*FULL, seed=1), name: stored(*FULL, seed=2)}
    error = refused(single(tensors, LLAMA_UNTIED), matrix)
    assert (error.reason, name in error.problem) == ("unknown-head", True)
    one = HEAD if matrix == "output" else EMBED
    del tensors[name]
    assert chosen(with_metadata(tensors, {name: one}, LLAMA_UNTIED), matrix).spec.shape == FULL
