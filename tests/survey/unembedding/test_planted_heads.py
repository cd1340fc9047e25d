"""Whatever head is planted in a checkpoint, under whatever name: it is measured, or a refusal names it."""

from __future__ import annotations

from time import monotonic
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from support.checkpoints import Stored, single, stored
from support.in_memory_checkpoint import HeldCheckpoint
from support.planted_heads import Planted, passed_over

from survey.errors import NotThere
from survey.targets.layout_reader import lay_out
from survey.targets.locate import locate
from survey.unembedding.tensor_choice import choose_among
from survey.unembedding.tensor_names import TensorNames

V, D = 96, 8
TABLE = stored(V, D)
# Letters of which no tower's, norm's or table's name can be made.
WORDS = st.text("bcdfghjkqrwxz", min_size=1, max_size=8)
# Not by chance the name of a tower, a layer or a table.
NEUTRAL = st.sampled_from(
    ["model", "module", "_orig_mod", "core", "inner", "wrapped", "net", "lm", "nucleus", "x7"]
)
WRAPPER = st.lists(NEUTRAL, max_size=4).map(lambda parts: "".join(f"{part}." for part in parts))
LISTS = st.sampled_from(["layers", "h", "blocks", "layer", "block"])
EMBEDDINGS = st.sampled_from(
    ["embed_tokens.weight", "wte.weight", "tok_embeddings.weight", "word_embeddings.weight", "wte"]
)

SOUNDING = st.sampled_from(
    """
    lm_head unembed unembedding embed_out lm_head_2 my_lm_head LM_Head lmhead unembedder vocab_proj to_logits
    logits_proj output_embedding sequence_head token_head lm_heads
    """.split()  # noqa: SIM905 - words
)
WHOLE = st.sampled_from(
    ["weight", "base_layer.weight", "modules_to_save.default.weight", "original_module.weight"]
)
ANY = st.sampled_from(
    [
        "weight",
        "kernel",
        "w",
        "W_U",
        "proj.weight",
        "linear.weight",
        "0.weight",
        "3.weight",
        "weight_v",
        "weight.0",
    ]
)
CODES = st.sampled_from(
    [
        "qweight",
        "trellis",
        "q_weight",
        "_weight_qdata",
        "weight:qdata",
        "weight_packed",
        "codes",
        "W_q",
        "weight.absmax",
        "SCB",
    ]
)
SHAPES = st.sampled_from([(V, D), (D, V), (V // 2, D), (V // 3, D), (1, D), (V + 32, D)])
TIES = st.sampled_from(
    [
        {"tie_word_embeddings": True},
        {"tie_word_embeddings": False},
        {"architectures": ["NewForCausalLM"]},
        {"tie_embedding": True},
    ]
)
SIZES = st.sampled_from(
    [{"vocab_size": V, "hidden_size": D}, {"vocab_size": V, "n_embd": D}, {"text_config": {"vocab_size": V, "d_model": D}}]
)  # fmt: skip


@st.composite
def models(draw: st.DrawFn) -> tuple[str, str, dict[str, Stored], dict[str, Any]]:
    """What wraps a model, its embedding's name, its tensors without a head, and its config."""
    wrapper, body = draw(WRAPPER), draw(st.sampled_from(["", "model.", "transformer."]))
    embedding = f"{wrapper}{body}{draw(EMBEDDINGS)}"
    layers = draw(LISTS)
    tensors = {embedding: TABLE, f"{wrapper}{body}norm.weight": stored(D)}
    for number in range(draw(st.integers(1, 3))):
        tensors[f"{wrapper}{body}{layers}.{number}.mlp.up.weight"] = stored(D, D)
    return wrapper, embedding, tensors, {**draw(SIZES), **draw(TIES)}


def outcome(tensors: dict[str, Stored], config: dict[str, Any]) -> tuple[str, str]:
    """The tensor that is measured, or the reason and the message."""
    checkpoint = HeldCheckpoint(single(tensors, config))
    try:
        target = locate(lay_out(checkpoint), "output")
    except NotThere as refusal:
        return refusal.reason, str(refusal)
    return "measured", target.spec.name


MANY = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@MANY
@given(models(), SOUNDING, st.one_of(WHOLE, ANY), SHAPES)
def test_a_planted_head_is_measured_whole_or_named(
    model: tuple[str, str, dict[str, Stored], dict[str, Any]], stem: str, rest: str, shape: tuple[int, int]
) -> None:
    wrapper, _, tensors, config = model
    head = f"{wrapper}{stem}.{rest}"
    result, said = outcome({**tensors, head: stored(*shape, seed=1)}, config)
    event(result)
    if result == "measured":
        assert said == head
        assert shape[0] >= V
        assert shape[1] == D
    else:
        assert head in said


@MANY
@given(
    models(), st.one_of(SOUNDING, st.sampled_from(["output", "head", "output_layer", "final_head"])), CODES
)
def test_planted_codes_are_called_quantised(
    model: tuple[str, str, dict[str, Stored], dict[str, Any]], stem: str, rest: str
) -> None:
    wrapper, _, tensors, config = model
    head = f"{wrapper}{stem}.{rest}"
    result, said = outcome({**tensors, head: stored(V, D // 2, dtype="I32")}, config)
    assert (result, head in said) == ("quantised-head", True)


@MANY
@given(models(), WORDS, st.sampled_from([(V, D), (D, V)]))
def test_a_second_table_of_the_vocabulary_is_never_passed_over(
    model: tuple[str, str, dict[str, Stored], dict[str, Any]], word: str, shape: tuple[int, int]
) -> None:
    wrapper, _, tensors, config = model
    planted = f"{wrapper}{word}.weight"
    result, said = outcome({**tensors, planted: stored(*shape, seed=1)}, config)
    event(result)
    assert planted in said if result == "measured" else (result, planted in said) == ("unknown-head", True)


@MANY
@given(models(), SOUNDING, SHAPES)
def test_an_unmerged_update_is_named(
    model: tuple[str, str, dict[str, Stored], dict[str, Any]], stem: str, shape: tuple[int, int]
) -> None:
    wrapper, _, tensors, config = model
    head, update = f"{wrapper}{stem}.base_layer.weight", f"{wrapper}{stem}.lora_A.default.weight"
    result, said = outcome({**tensors, head: stored(*shape), update: stored(2, D)}, config)
    assert result in ("no-head", "unknown-head")
    assert update in said or head in said


@MANY
@given(models())
def test_if_nothing_is_planted_the_config_decides(
    model: tuple[str, str, dict[str, Stored], dict[str, Any]],
) -> None:
    _, embedding, tensors, config = model
    result, said = outcome(tensors, config)
    if config.get("tie_word_embeddings") is False:
        assert (result, "base model" in said) == ("no-head", True)
    else:
        assert (result, said) == ("measured", embedding)


def test_half_a_million_names_take_seconds() -> None:
    names = [
        f"model.layers.{number % 90}.experts.{number}.up_proj.weight_packed" for number in range(500_000)
    ]
    started = monotonic()
    assert choose_among(TensorNames([*names, "model.embed_tokens.weight"], {}), "output", "").tied
    assert monotonic() - started < 60  # 2 s on an idle machine


@pytest.mark.parametrize("first", range(0, 480, 80))
def test_no_part_of_a_head_is_passed_over_whatever_its_name_and_shape(first: int) -> None:
    assert passed_over(range(first, first + 80)) == []


@pytest.mark.parametrize(("shape", "passed"), [((D,), True), ((V // 2, D), False)], ids=["a norm", "a half"])
def test_what_is_measured_in_place_of_a_tensor_passes_it_over(shape: tuple[int, ...], passed: bool) -> None:
    name, config = "output_norm.weight", {"tie_word_embeddings": True, "vocab_size": V, "hidden_size": D}
    tensors = {"embed_tokens.weight": TABLE, name: stored(*shape)}
    assert Planted(tensors, config, name, shape, whole=False).is_passed_over() is passed
