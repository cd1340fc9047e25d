"""A round or a tiny vocabulary shares divisors with the widths of layers: such shapes alone make no head."""

from __future__ import annotations

import pytest
from support.checkpoints import EMBED, single, stored
from support.layouts import LLAMA_TIED, chosen, refused

Shapes = dict[str, tuple[int, ...]]
UP = "model.layers.{}.mlp.up_proj.weight"

# V, D, and tensors of a tied model beside its embedding
NO_HEAD: dict[str, tuple[int, int, Shapes]] = {
    "two classes, a tiny vocabulary": (16, 64, {"cls.seq_relationship.weight": (2, 64)}),
    "a layer's width before a head": (32, 64, {"predictions.dense.weight": (64, 128)}),
    "the router of the only experts": (32, 64, {"model.layers.1.mlp.router.classifier.weight": (8, 64), UP.format(0): (64, 64)}),
    "an inner width": (1024, 256, {"model.aligner.linear1.weight": (512, 256)}),
    "a width as long as the vocabulary": (256, 64, {UP.format(0): (256, 64), "model.layers.0.mlp.down_proj.weight": (64, 256), "model.layers.0.norm.weight": (64,)}),
    "the same in one dense layer": (256, 64, {"model.layers.0.mlp.down_proj.weight": (64, 256), "model.layers.0.norm.weight": (64,), "model.layers.0.q.weight": (64, 64), UP.format(1): (32, 64)}),
    "learnt queries": (64, 48, {"model.query_tokens": (1, 32, 48)}),
    "positions": (64, 32, {"model.encoder.rel_embeddings.weight": (512, 32)}),
    "rows and columns of patches": (2048, 32, {"model.row_embedder.weight": (1024, 32), "model.column_embedder.weight": (256, 32)}),
    "positions of n-grams": (32, 64, {"model.ngram_embeddings.weight": (2, 64)}),
    "positions under the name of a formula": (4096, 64, {"model.pos_encoder.pe": (2048, 1, 64)}),
    "values in a list": (2048, 64, {f"value_embeds.{number}.weight": (2048, 16) for number in range(2)}),
    "the only mixer": (2048, 64, {"model.layers.3.mixer.out_proj.weight": (64, 128), "model.layers.3.mixer.in_proj.weight": (132, 64), "model.layers.3.norm.weight": (64,)}),
    "a list of another name": (2048, 64, {f"model.ffns.{number}.{name}.weight": (1024, 64) for number in range(2) for name in ("one", "two", "three")}),
    "tables for each layer": (4096, 32, {"model.per_layer_model_projection.weight": (512, 32)}),
}  # fmt: skip
# The same models, with a tensor that no width explains
MAYBE_A_HEAD: dict[str, tuple[int, int, Shapes]] = {
    "half of a tiny head": (32, 64, {"model.output_head.weight": (16, 64)}),
    "a tiny head in a layer": (32, 64, {"model.layers.0.lm_head.weight": (32, 64), UP.format(0): (64, 64)}),
    "a named width of the vocabulary": (256, 64, {"model.layers.0.predictor.weight": (256, 64), UP.format(0): (64, 64), UP.format(1): (64, 64)}),
    "a third table in a list": (2048, 64, {f"model.zeta.{number}.weight": (2048, 64) for number in range(2)}),
    "two names in a list": (2048, 64, {f"model.heads.{number}.proj.weight": (1024, 64) for number in range(2)}),
    "an eighth of a head": (4096, 32, {"model.zeta.weight": (512, 32)}),
    "an output in a layer of its own": (2048, 64, {"model.layers.3.out_proj.weight": (128, 64), UP.format(0): (64, 64), UP.format(1): (64, 64)}),
    "a head among a layer's tensors": (2048, 64, {"model.layers.3.head.weight": (128, 64), UP.format(3): (64, 64), "model.layers.3.norm.weight": (64,), UP.format(4): (64, 64)}),
    "a layer of no width": (4096, 32, {"model.layers.0.zeta.weight": (4096, 32), UP.format(0): (64, 32), UP.format(1): (64, 32)}),
}  # fmt: skip


def tied(rows: int, dims: int, others: Shapes, hidden_size: int | None = None) -> dict[str, bytes]:
    config = LLAMA_TIED | {"vocab_size": rows, "hidden_size": hidden_size or dims, "embedding_size": dims}
    tensors = {EMBED: (rows, dims), **others}
    return single({name: stored(*shape) for name, shape in tensors.items()}, config)


@pytest.mark.parametrize(("rows", "dims", "others"), NO_HEAD.values(), ids=NO_HEAD)
def test_a_shape_that_layers_have_is_no_head(rows: int, dims: int, others: Shapes) -> None:
    target = chosen(tied(rows, dims, others))
    assert (target.spec.name, target.identity.tied) == (EMBED, True)


@pytest.mark.parametrize(("rows", "dims", "others"), MAYBE_A_HEAD.values(), ids=MAYBE_A_HEAD)
def test_a_shape_that_no_layer_explains_is_refused(rows: int, dims: int, others: Shapes) -> None:
    error = refused(tied(rows, dims, others))
    assert (error.reason, next(iter(others)) in str(error)) == ("unknown-head", True), error


def test_a_bias_may_have_as_many_numbers_as_the_narrow_table_of_a_wide_model() -> None:
    mapping: Shapes = {"model.mapping_in.bias": (512,), "model.mapping_in.weight": (512, 16)}
    assert chosen(tied(32, 16, mapping, hidden_size=512)).identity.tied
